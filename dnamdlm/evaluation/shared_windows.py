"""Which windows share a word with the training split, on either strand.

A window without any such word cannot be copied from training; the others are repeats. Words lie
inside the windows. Memory follows the windows, up to 2^25 words at a time; the training split is
read in pieces, once for each so many words, at about 0.1 microseconds a base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.code_batches import gather
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import DataError
from dnamdlm.evaluation.genome_pieces import pieces
from dnamdlm.evaluation.window_scores import starts_of
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.kmers import canonical_kmers, has_only_bases
from dnamdlm.words.near_copies import WordLookup

_WORDS_AT_ONCE = 1 << 25
_WINDOWS_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class SharedWindows:
    """The windows of a split by their place in the genome.

    Attributes:
        length: bases of a word.
        starts: int64 (W,), store offsets in increasing order.
        is_shared: bool (W,), True where a word of the window occurs in training.
    """

    length: int
    starts: NDArray[np.int64]
    is_shared: NDArray[np.bool_]

    def at(self, starts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each window shares a word, bool (B,).

        Raises:
            DataError: for a window that was not looked at.
        """
        places = np.minimum(np.searchsorted(self.starts, starts), len(self.starts) - 1)
        if not np.array_equal(self.starts[places], starts):
            raise DataError("these windows were not compared with training; compare them first")
        return self.is_shared[places]


def shared_windows(
    windows: Sweep[SplitWindows], train: Sequence[Interval], length: int
) -> SharedWindows:
    """Compare windows with the training split.

    Args:
        windows: of a held-out split.
        train: intervals of the training split.
        length: bases of a word, 1 to 31; a window with fewer has none.
    """
    store = windows.source.store
    starts: list[NDArray[np.int64]] = []
    is_shared: list[NDArray[np.bool_]] = []
    held: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
    num_windows, num_words = 0, 0
    for batch in windows.batches(_WINDOWS_AT_ONCE):
        start = starts_of(batch)
        codes = gather(store.codes, start, windows.length, sizes=batch.present.numpy().sum(axis=1))
        words, rows = _words_of(codes & CODE_MASK, length)
        starts.append(start)
        held.append((words, rows + num_windows))
        num_windows, num_words = num_windows + len(start), num_words + len(words)
        if num_words >= _WORDS_AT_ONCE:
            is_shared.append(_found(held, num_windows, store, train, length))
            held, num_windows, num_words = [], 0, 0
    if held:
        is_shared.append(_found(held, num_windows, store, train, length))
    every, flags = np.concatenate(starts), np.concatenate(is_shared)
    order = np.argsort(every)
    return SharedWindows(length, every[order], flags[order])


def _words_of(
    codes: NDArray[np.uint8], length: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The words of windows (B, L), and the row of each."""
    # a column that is not a base, so that no word crosses from one window to the next.
    flat = np.pad(codes, ((0, 0), (0, 1)), constant_values=N_CODE).reshape(-1)
    places = np.flatnonzero(has_only_bases(flat, length))
    return canonical_kmers(flat, length)[places], places // (codes.shape[1] + 1)


def _found(
    held: Sequence[tuple[NDArray[np.uint64], NDArray[np.int64]]],
    num_windows: int,
    store: GenomeStore,
    train: Sequence[Interval],
    length: int,
) -> NDArray[np.bool_]:
    """Which windows have a word that training has."""
    lookup = WordLookup(np.concatenate([words for words, _ in held]))
    rows = np.concatenate([rows for _, rows in held])
    is_found = np.zeros(len(lookup.slots), np.bool_)
    if len(lookup.slots):
        for piece in pieces(store, train, length):
            words = canonical_kmers(piece.codes, length)[has_only_bases(piece.codes, length)]
            is_found[lookup.hits(words)[0]] = True
    is_shared = np.zeros(num_windows, np.bool_)
    is_shared[rows[is_found[lookup.slot_of]]] = True
    return is_shared
