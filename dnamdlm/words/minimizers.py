"""Minimizers: a fixed sample of the k-mers of a sequence that two copies of it share.

Among every w neighbouring k-mers the one with the smallest hash is kept, so that an unchanged
stretch of k + w - 1 bases has a minimizer in common with its copy.

Source: Roberts et al. 2004, doi:10.1093/bioinformatics/bth408.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.hashes import mixed
from dnamdlm.words.kmers import canonical_kmers, has_only_bases

NO_HASH = np.uint64(2**64 - 1)
"""Stands for the hash of a word with N; it is never a minimizer."""


def kmer_hashes(codes: np.ndarray, kmer: int) -> NDArray[np.uint64]:
    """A hash of each k-mer that is the same on both strands; `NO_HASH` where the k-mer has an N.

    Args:
        codes: store codes; the soft mask is ignored.
        kmer: bases of a k-mer, 1 to 31.
    """
    codes = codes & CODE_MASK
    hashes = mixed(canonical_kmers(codes, kmer))
    return np.where(has_only_bases(codes, kmer), hashes, NO_HASH)


def is_minimizer(
    hashes: NDArray[np.uint64], window: int, *, first_of_ties: bool = False
) -> NDArray[np.bool_]:
    """Whether each hash is the smallest of some `window` neighbouring hashes.

    Args:
        hashes: of the k-mers of one sequence, `NO_HASH` where there is none.
        window: hashes in a row, of which one is kept; fewer hashes are one window.
        first_of_ties: of equal smallest hashes keep only the first; otherwise keep all, which both
            strands agree on.

    >>> import numpy as np
    >>> np.flatnonzero(is_minimizer(np.array([5, 1, 4, 9, 7, 8], np.uint64), 3)).tolist()
    [1, 2, 4]
    """
    window = min(window, len(hashes))
    if not window:
        return np.zeros(0, np.bool_)
    windows = np.lib.stride_tricks.sliding_window_view(hashes, window)
    if first_of_ties:
        is_least = np.zeros(len(hashes), np.bool_)
        is_least[windows.argmin(axis=1) + np.arange(len(windows))] = True
    else:
        # the largest of the minima of the windows around a hash: its own if it is one of them.
        minima = np.pad(windows.min(axis=1), window - 1)
        around = np.lib.stride_tricks.sliding_window_view(minima, window)
        is_least = around.max(axis=1) == hashes
    return is_least & (hashes != NO_HASH)


def are_minimizers(
    hashes: NDArray[np.uint64], counts: NDArray[np.int64], window: int
) -> NDArray[np.bool_]:
    """`is_minimizer` for several sequences whose hashes stand one after the other.

    Args:
        hashes: of the k-mers of all sequences.
        counts: hashes of each sequence, at least 1.
        window: hashes in a row, as in `is_minimizer`.

    >>> import numpy as np
    >>> hashes = np.array([5, 1, 4, 9, 7, 8, 3, 2], np.uint64)
    >>> np.flatnonzero(are_minimizers(hashes, np.array([6, 2]), 3)).tolist()
    [1, 2, 4, 7]
    """
    owners = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(counts)
    is_least = np.zeros(len(hashes), np.bool_)
    if window <= len(hashes):
        minima = np.lib.stride_tricks.sliding_window_view(hashes, window).min(axis=1)
        minima[np.arange(len(minima)) + window > ends[owners[: len(minima)]]] = 0
        around = np.lib.stride_tricks.sliding_window_view(np.pad(minima, window - 1), window)
        is_least = around.max(axis=1) == hashes
    # fewer hashes than a window has are one window.
    is_short = (counts < window)[owners]
    least = np.minimum.reduceat(hashes, ends - counts)[owners]
    return np.where(is_short, least == hashes, is_least) & (hashes != NO_HASH)
