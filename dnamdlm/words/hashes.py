"""64-bit hashes of words of DNA, computed without a loop over bases.

All arithmetic is modulo 2^64. Sequences are codes of the genome store without the soft mask. n
bases have n - m + 1 words of m bases, numbered by their first base.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from dnamdlm.splitmix import INCREMENT, MULTIPLIERS, SHIFTS

_INCREMENT = np.uint64(INCREMENT)
_FIRST_MULTIPLIER, _SECOND_MULTIPLIER = map(np.uint64, MULTIPLIERS)
# odd, so that its powers have inverses modulo 2^64.
_BASE = INCREMENT
_MIXER = np.uint64(0xD6E8FEB86659FD93)
_OTHER_HASH = np.uint64(0xD1B54A32D192ED03)


def splitmix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit words whose output looks random.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    words = _xor_multiply(words + _INCREMENT, SHIFTS[0], _FIRST_MULTIPLIER)
    words = _xor_multiply(words, SHIFTS[1], _SECOND_MULTIPLIER)
    return words ^ (words >> np.uint64(SHIFTS[2]))


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Another bijection that looks random; it orders the k-mers of minimizers on both strands."""
    words = _xor_multiply(_xor_multiply(words, 32, _MIXER), 32, _MIXER)
    return words ^ (words >> np.uint64(32))


def scattered(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A cheap bijection that orders polynomial hashes, of which those of poly-A words are small."""
    return _xor_multiply(hashes, 29, _FIRST_MULTIPLIER)


def in_share(words: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """True for a fixed share of all words, chosen by a hash of the word.

    The same words are chosen wherever they occur.
    """
    if share >= 1.0:
        return np.ones(len(words), np.bool_)
    return mixed(words ^ _OTHER_HASH) < np.uint64(share * 2.0**64)


def one_in(words: NDArray[np.uint64], density: int) -> NDArray[np.bool_]:
    """True for about one word in `density`, chosen by a hash of the word; all for density 1."""
    if density == 1:
        return np.ones(len(words), np.bool_)
    hashed = words * _INCREMENT
    hashed ^= hashed >> np.uint64(29)
    return hashed % np.uint64(density) == 0


def word_hashes(codes: np.ndarray, length: int) -> NDArray[np.uint64]:
    """Polynomial hash of each word: sum of (code + 1) B^place, uint64 (n - m + 1,).

    The length of a word is not limited, and the cost does not depend on it.

    >>> import numpy as np
    >>> first, _, again = word_hashes(np.array([0, 1, 0, 1], np.uint8), 2)
    >>> bool(first == again)
    True
    """
    if len(codes) < length:
        return np.zeros(0, np.uint64)
    # rounded up to a power of 4, so that few sizes are kept.
    powers, inverses = _powers(4 ** ((len(codes).bit_length() + 1) // 2))
    # prefix sums of c_j B^j; a word's share, divided by B^start, depends on its bases alone.
    prefix = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers[: len(codes)], out=prefix[1:])
    num_words = len(codes) - length + 1
    return (prefix[length:] - prefix[:num_words]) * inverses[:num_words]


def row_hashes(rows: np.ndarray) -> NDArray[np.uint64]:
    """`word_hashes` of whole rows of codes (R, m), uint64 (R,)."""
    powers, _ = _powers(4 ** ((rows.shape[1].bit_length() + 1) // 2))
    return ((rows.astype(np.uint64) + np.uint64(1)) * powers[: rows.shape[1]]).sum(
        axis=1, dtype=np.uint64
    )


def _xor_multiply(words: NDArray[np.uint64], shift: int, factor: np.uint64) -> NDArray[np.uint64]:
    return (words ^ (words >> np.uint64(shift))) * factor


@functools.cache
def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """B^0, B^1, ... and B^0, B^-1, ... modulo 2^64, each uint64 (count,)."""
    powers = (
        np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base, np.uint64)]))
        for base in (_BASE, pow(_BASE, -1, 1 << 64))
    )
    forward, backward = powers
    return forward, backward
