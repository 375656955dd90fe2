"""How much of a generated sequence is copied: its longest exact match with the training genome.

Both strands are searched. For one length m, hashes of all m-mers of the queries are looked up while
the genome streams past in pieces; every hit is verified base by base. A match of length m implies
matches of all shorter lengths, so the longest one is found by bisection over m. Memory depends on
the queries, not on the genome.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.data.genome import GenomeStore
from dnamdlm.data.intervals import Interval
from dnamdlm.lm.contexts import BASE_BITS
from dnamdlm.tokens.nucleotide import reverse_complement

_CHUNK_BASES = 1 << 21
# odd, so that its powers have inverses modulo 2^64.
_MULTIPLIER = 0x9E3779B97F4A7C15
_WORD = 1 << 64
_POWER_STEP = 1 << 16


@dataclass(frozen=True)
class Match:
    """The longest exact match of one sequence.

    Attributes:
        length: bases; 0 if not even one base occurs.
        chrom: record of one such match, empty if there is none.
        start: 0-based position of the match on the forward strand.
        strand: "+" if the sequence itself occurs there, "-" if its reverse complement does.
    """

    length: int
    chrom: str = ""
    start: int = -1
    strand: str = "."


def longest_matches(
    sequences: Sequence[np.ndarray], store: GenomeStore, intervals: Sequence[Interval]
) -> list[Match]:
    """The longest exact match of each sequence with the intervals, on either strand.

    Args:
        sequences: uint8 codes; a code that is not a base matches nothing.
        store: genome store.
        intervals: where to look; a match lies within one interval.
    """
    queries = [np.asarray(sequence, np.uint8) & BASE_BITS for sequence in sequences]
    found = [Match(0) for _ in queries]
    pending = {(0, max(map(len, queries), default=0)): list(range(len(queries)))}
    while pending:
        (known, highest), members = pending.popitem()
        if known >= highest:
            continue
        # most answers lie near log4 of the genome: bisect the logarithm, not the length.
        length = min(max(known + 1, math.isqrt((known + 1) * (highest + 1))), highest)
        hits = _find(queries, members, length, store, intervals)
        found_here, rest = list(hits), [member for member in members if member not in hits]
        for member, match in hits.items():
            found[member] = match
        for key, group in (((length, highest), found_here), ((known, length - 1), rest)):
            if group:
                pending.setdefault(key, []).extend(group)
    return found


def _find(
    queries: Sequence[np.ndarray],
    members: Sequence[int],
    length: int,
    store: GenomeStore,
    intervals: Sequence[Interval],
) -> dict[int, Match]:
    """Those members that share a word of `length` bases with the genome, with one place each."""
    index = _QueryIndex(queries, members, length)
    hits: dict[int, Match] = {}
    for chrom, first, codes in _chunks(store, intervals, length):
        if len(hits) == len(members):
            break
        for position, hash_value in index.candidates(codes):
            word = codes[position : position + length]
            for member, strand in index.owners(hash_value, word):
                hits.setdefault(member, Match(length, chrom, first + position, strand))
    return hits


class _QueryIndex:
    """Hashes of all words of one length of the queries and of their reverse complements."""

    def __init__(self, queries: Sequence[np.ndarray], members: Sequence[int], length: int) -> None:
        self._length = length
        self._texts: list[tuple[int, str, np.ndarray]] = []
        hashes, places = [], []
        for member in members:
            forward = queries[member]
            for strand, text in (("+", forward), ("-", reverse_complement(forward))):
                values = _word_hashes(text, length)
                positions = np.flatnonzero(_has_only_bases(text, length))
                hashes.append(values[positions])
                places.append(np.stack([np.full_like(positions, len(self._texts)), positions]))
                self._texts.append((member, strand, text))
        all_hashes = np.concatenate(hashes)
        order = np.argsort(all_hashes, kind="stable")
        self._hashes = all_hashes[order]
        self._places = np.concatenate(places, axis=1)[:, order]
        bits = min(max(16 * len(order), 1 << 16).bit_length(), 28)
        self._shift = np.uint64(64 - bits)
        self._is_present = np.zeros(1 << bits, np.bool_)
        self._is_present[self._hashes >> self._shift] = True
        self._owners_known: set[int] = set()

    def candidates(self, codes: np.ndarray) -> Iterator[tuple[int, int]]:
        """Positions of a piece of genome whose word has a hash that is new and in the index."""
        if not len(self._hashes):
            return
        values = _word_hashes(codes, self._length)
        positions = np.flatnonzero(self._is_present[values >> self._shift])
        slots = np.searchsorted(self._hashes, values[positions])
        slots = np.minimum(slots, len(self._hashes) - 1)
        positions = positions[self._hashes[slots] == values[positions]]
        _, firsts = np.unique(values[positions], return_index=True)
        for position in positions[np.sort(firsts)].tolist():
            value = int(values[position])
            if value not in self._owners_known:
                yield position, value

    def owners(self, hash_value: int, word: np.ndarray) -> list[tuple[int, str]]:
        """Members and strands whose word with this hash equals `word` base by base."""
        low = np.searchsorted(self._hashes, np.uint64(hash_value), side="left")
        high = np.searchsorted(self._hashes, np.uint64(hash_value), side="right")
        owners = []
        for text_number, position in self._places[:, low:high].T.tolist():
            member, strand, text = self._texts[text_number]
            if np.array_equal(text[position : position + self._length], word):
                owners.append((member, strand))
        if owners:
            self._owners_known.add(hash_value)
        return owners


def _chunks(
    store: GenomeStore, intervals: Sequence[Interval], length: int
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Pieces of the intervals that overlap by length - 1, so that no word is cut."""
    for interval in intervals:
        offset = store.offsets[interval.chrom]
        for first in range(interval.start, interval.end - length + 1, _CHUNK_BASES):
            end = min(first + _CHUNK_BASES + length - 1, interval.end)
            yield interval.chrom, first, store.codes[offset + first : offset + end] & BASE_BITS


def _word_hashes(codes: np.ndarray, length: int) -> np.ndarray:
    """Polynomial hash modulo 2^64 of the word that starts at each position, uint64 (n - m + 1,)."""
    if len(codes) < length:
        return np.zeros(0, np.uint64)
    # rounded up, so that few sizes are kept.
    powers, inverses = _powers(-(-len(codes) // _POWER_STEP) * _POWER_STEP)
    # prefix sums of c_j B^j; a word's share, divided by B^start, depends on its bases alone.
    prefix = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers[: len(codes)], out=prefix[1:])
    num_words = len(codes) - length + 1
    return (prefix[length:] - prefix[:num_words]) * inverses[:num_words]


@functools.lru_cache(maxsize=4)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """B^0, B^1, ... and B^0, B^-1, ... modulo 2^64, each uint64 (count,)."""
    powers = (
        np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base, np.uint64)]))
        for base in (_MULTIPLIER, pow(_MULTIPLIER, -1, _WORD))
    )
    forward, backward = powers
    return forward, backward


def _has_only_bases(codes: np.ndarray, length: int) -> np.ndarray:
    """True for each start of a word without N, bool (n - m + 1,)."""
    if len(codes) < length:
        return np.zeros(0, np.bool_)
    gaps = np.concatenate([np.zeros(1, np.int64), np.cumsum(codes > 3)])
    return gaps[length:] == gaps[:-length]
