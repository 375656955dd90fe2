"""K-mers: words of DNA packed in base 4, on one strand or both, and how often each occurs.

Sequences are codes of the genome store without the soft mask; a code that is not a base interrupts
every word. Words are packed oldest base first, so that their numbers follow the alphabet. n bases
have n - k + 1 words of k bases, numbered by their first base. The complement of base b is 3 - b.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import CODE_MASK, N_CODE

MAX_KMER = 31
"""Bases of the longest word that fits 64 bits."""

# a word of 15 bases fits 31 bits.
_INT32_ORDER = 14

# the words of one size, and their reverse complements.
_Strands = tuple[NDArray[np.uint64], NDArray[np.uint64]]


def has_only_bases(codes: np.ndarray, length: int) -> NDArray[np.bool_]:
    """True for each start of a word without N, bool (n - k + 1,)."""
    if len(codes) < length:
        return np.zeros(0, np.bool_)
    gaps = np.concatenate([np.zeros(1, np.int64), np.cumsum(codes >= N_CODE)])
    return gaps[length:] == gaps[:-length]


def pack_contexts(
    codes: np.ndarray, max_order: int
) -> tuple[NDArray[np.signedinteger], NDArray[np.int32]]:
    """The word that ends at each position, and how many of its bases are real.

    Args:
        codes: uint8 (n,), store codes; the soft mask is ignored.
        max_order: longest context wanted, at most 30.

    Returns:
        words: int32 (n,), or int64 above order 14, the `max_order + 1` bases ending at each
            position; only the newest `depth` of them have a meaning.
        depth: int32 (n,), number of those bases that are real and contiguous; 0 at N.

    >>> import numpy as np
    >>> words, depth = pack_contexts(np.array([1, 2, 4, 3], np.uint8), 1)
    >>> depth.tolist(), int(words[1])  # CG is 1 * 4 + 2
    ([1, 2, 0, 1], 6)
    """
    bases = codes & CODE_MASK
    is_base = bases < N_CODE
    digits = np.where(is_base, bases, 0).astype(np.int32 if max_order <= _INT32_ORDER else np.int64)
    words = digits.copy()
    for distance in range(1, max_order + 1):
        words[distance:] += digits[:-distance] << (2 * distance)
    position = np.arange(len(codes), dtype=np.int32)
    last_gap = np.maximum.accumulate(np.where(is_base, np.int32(-1), position))
    return words, np.minimum(position - last_gap, max_order + 1).astype(np.int32)


def kmer_counts(
    sequences: Sequence[np.ndarray], max_k: int = 6, *, both_strands: bool = True
) -> list[NDArray[np.int64]]:
    """Counts of all words of 1 to `max_k` bases; none crosses from one sequence to the next.

    Args:
        sequences: arrays of codes, of any lengths.
        max_k: longest word.
        both_strands: add the counts of the reverse complements.

    Returns:
        For k = 1..max_k: int64 (4^k,), words in alphabetical order.

    >>> import numpy as np
    >>> kmer_counts([np.array([0, 0, 1], np.uint8)], 1)[0].tolist()  # AAC and GTT
    [2, 1, 1, 2]
    """
    if not sequences:
        return [np.zeros(4**k, np.int64) for k in range(1, max_k + 1)]
    gap = np.full(1, N_CODE, np.uint8)
    joined = np.concatenate([part for sequence in sequences for part in (sequence, gap)])
    words, depth = pack_contexts(joined, max_k - 1)
    counts: list[NDArray[np.int64]] = []
    for k in range(1, max_k + 1):
        table: NDArray[np.int64] = np.bincount(words[depth >= k] & (4**k - 1), minlength=4**k)
        counts.append(add_reverse_complement(table) if both_strands else table)
    return counts


def words_of_length(k: int) -> list[str]:
    """All 4^k words in alphabetical order, the order of `kmer_counts`."""
    words = [""]
    for _ in range(k):
        words = [word + base for word in words for base in "ACGT"]
    return words


def add_reverse_complement(table: np.ndarray) -> np.ndarray:
    """Counts of both strands from counts of one, of a table with 4^k entries; the shape is kept."""
    num_axes = (table.size.bit_length() - 1) // 2
    word_axes = table.reshape((4,) * num_axes)
    # flipping every axis complements the bases; reversing the order of the axes reverses the word.
    return (word_axes + np.flip(word_axes).transpose()).reshape(table.shape)


def canonical_kmers(codes: np.ndarray, length: int) -> NDArray[np.uint64]:
    """Each word packed in base 4, or its reverse complement where that is smaller; uint64.

    Different words have different numbers. Words with a code that is not a base have no meaning.

    Raises:
        ValueError: unless 1 <= length <= 31.

    >>> import numpy as np
    >>> canonical_kmers(np.array([0, 0, 3, 3], np.uint8), 2).tolist()  # AA, AT, TT = AA
    [0, 3, 0]
    """
    if not 1 <= length <= MAX_KMER:
        raise ValueError(f"a k-mer has 1 to {MAX_KMER} bases, got {length}")
    if len(codes) < length:
        return np.zeros(0, np.uint64)
    # words of 1, 2, 4, ... bases; those that the binary digits of `length` name are joined.
    bases = codes.astype(np.uint64) & np.uint64(3)
    words: _Strands = (bases, bases ^ np.uint64(3))
    joined: _Strands | None = None
    size, done = 1, 0
    while True:
        if length & size:
            joined = words if joined is None else _join(joined, done, words, size)
            done += size
        if done == length:
            break
        words = _join(words, size, words, size)
        size *= 2
    assert joined is not None
    return np.minimum(*joined)


def _join(first: _Strands, first_size: int, second: _Strands, second_size: int) -> _Strands:
    """Words of both sizes end to end, and their reverse complements."""
    num_words = len(second[0]) - first_size
    forward, reverse = (strand[first_size:] for strand in second)
    return (
        first[0][:num_words] << np.uint64(2 * second_size) | forward,
        reverse << np.uint64(2 * first_size) | first[1][:num_words],
    )
