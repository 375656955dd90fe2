"""Words of DNA: hashes and packed k-mers of every position, computed without a loop over bases.

Codes are those of the genome store without the soft mask: A 0, C 1, G 2, T 3, anything else is no
base. n bases have n - m + 1 words of m bases, numbered by their first base.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.lm.contexts import BASE_BITS

MAX_KMER = 31
CHUNK_BASES = 1 << 18
# odd, so that its powers have inverses modulo 2^64.
_MULTIPLIER = 0x9E3779B97F4A7C15
_WORD = 1 << 64

# the words of one size, and their reverse complements.
_Strands = tuple[np.ndarray, np.ndarray]


def pieces(
    store: GenomeStore,
    intervals: Sequence[Interval],
    length: int,
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Pieces of the intervals that overlap by length - 1, so that no word is cut.

    They are small enough for a processor's cache, and never shorter than a word.

    Yields:
        Record, position of the first base in it, and codes without the soft mask.
    """
    step = max(CHUNK_BASES, length)
    for interval in intervals:
        offset = store.offsets[interval.chrom]
        for first in range(interval.start, interval.end - length + 1, step):
            end = min(first + step + length - 1, interval.end)
            yield interval.chrom, first, store.codes[offset + first : offset + end] & BASE_BITS


def word_hashes(codes: np.ndarray, length: int) -> np.ndarray:
    """Polynomial hash modulo 2^64 of each word: sum of (code + 1) B^place, uint64 (n - m + 1,)."""
    if len(codes) < length:
        return np.zeros(0, np.uint64)
    # rounded up to a power of 4, so that few sizes are kept.
    powers, inverses = _powers(4 ** ((len(codes).bit_length() + 1) // 2))
    # prefix sums of c_j B^j; a word's share, divided by B^start, depends on its bases alone.
    prefix = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers[: len(codes)], out=prefix[1:])
    num_words = len(codes) - length + 1
    return (prefix[length:] - prefix[:num_words]) * inverses[:num_words]


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """`word_hashes` of whole rows of codes (R, m), uint64 (R,)."""
    powers, _ = _powers(4 ** ((rows.shape[1].bit_length() + 1) // 2))
    return ((rows.astype(np.uint64) + np.uint64(1)) * powers[: rows.shape[1]]).sum(
        axis=1, dtype=np.uint64
    )


def has_only_bases(codes: np.ndarray, length: int) -> np.ndarray:
    """True for each start of a word without N, bool (n - m + 1,)."""
    if len(codes) < length:
        return np.zeros(0, np.bool_)
    gaps = np.concatenate([np.zeros(1, np.int64), np.cumsum(codes > 3)])
    return gaps[length:] == gaps[:-length]


def canonical_kmers(codes: np.ndarray, length: int) -> np.ndarray:
    """Each word packed in base 4, or its reverse complement where that is smaller; uint64.

    Different words have different numbers. Words with a code that is no base have no meaning.

    Raises:
        ValueError: unless 1 <= length <= 31.
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


@functools.cache
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """B^0, B^1, ... and B^0, B^-1, ... modulo 2^64, each uint64 (count,)."""
    powers = (
        np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base, np.uint64)]))
        for base in (_MULTIPLIER, pow(_MULTIPLIER, -1, _WORD))
    )
    forward, backward = powers
    return forward, backward
