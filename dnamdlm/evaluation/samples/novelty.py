"""How much of a generated sequence is copied: its longest exact match with the training genome.

Both strands are searched. For one length m, the genome is read in pieces and its m-mers are
compared by hash with those of the queries; every hit is verified base by base. A match of length m
implies matches of all shorter lengths, so that the longest one is found by bisection over m. Memory
depends on the queries, not on the genome.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.genome_pieces import Piece, pieces
from dnamdlm.tokens.nucleotide import reverse_complement
from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.hashes import word_hashes
from dnamdlm.words.kmers import has_only_bases

_BASES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Match:
    """The longest exact match of one sequence.

    Attributes:
        length: bases; 0 if not even one base occurs.
        chrom: record of one such match; empty without a match.
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
    queries = [np.asarray(sequence, np.uint8) & CODE_MASK for sequence in sequences]
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
    index = _QueryIndex([queries[member] for member in members], length)
    hits: dict[int, Match] = {}
    names, starts = store.names, list(store.offsets.values())
    for piece in pieces(store, intervals, length):
        if len(hits) == len(members):
            break
        for query, offset, strand in index.new_hits(piece):
            record = bisect_right(starts, offset) - 1
            place = offset - starts[record]
            hits[members[query]] = Match(length, names[record], place, strand)
    return hits


class _QueryIndex:
    """Hashes of all words of one length of the queries and of their reverse complements."""

    def __init__(self, queries: Sequence[np.ndarray], length: int) -> None:
        self._length = length
        texts = [text for query in queries for text in (query, reverse_complement(query))]
        # the two texts of query i are number 2 i and 2 i + 1.
        self._bases = np.concatenate(texts)
        lengths = [len(text) for text in texts]
        owners = np.repeat(np.arange(len(texts)), lengths)
        hashes = word_hashes(self._bases, length)
        is_word = has_only_bases(self._bases, length)
        is_word &= owners[: len(hashes)] == owners[len(owners) - len(hashes) :]
        places = np.flatnonzero(is_word)
        self._places = places[np.argsort(hashes[places], kind="stable")]
        self._hashes = hashes[self._places]
        self._texts = owners[self._places]
        self._is_hit = np.zeros(len(queries), np.bool_)
        bits = min(max(16 * len(places), 1 << 16).bit_length(), 28)
        self._shift = np.uint64(64 - bits)
        self._is_present = np.zeros(1 << bits, np.bool_)
        self._is_present[self._hashes >> self._shift] = True

    def new_hits(self, piece: Piece) -> list[tuple[int, int, str]]:
        """(query, store offset, strand) for each query that has its first hit in this piece."""
        codes = piece.codes
        values = word_hashes(codes, self._length)
        positions = np.flatnonzero(self._is_present[values >> self._shift])
        unique, first = np.unique(values[positions], return_index=True)
        positions = positions[first]
        low = np.searchsorted(self._hashes, unique, side="left")
        num_slots = np.searchsorted(self._hashes, unique, side="right") - low
        pair = np.repeat(np.arange(len(unique)), num_slots)
        before = np.cumsum(num_slots) - num_slots
        slots = low[pair] + np.arange(len(pair)) - before[pair]
        is_wanted = ~self._is_hit[self._texts[slots] // 2]
        pair, slots = pair[is_wanted], slots[is_wanted]
        is_equal = self._verify(codes, positions[pair], self._places[slots])
        texts, positions = self._texts[slots[is_equal]], positions[pair[is_equal]]
        # of several intervals the first that has a hit is the one that counts.
        order = np.argsort(piece.intervals_at(positions), kind="stable")
        texts, positions = texts[order], positions[order]
        queries, first = np.unique(texts // 2, return_index=True)
        offsets = piece.offsets_at(positions)
        self._is_hit[queries] = True
        return [
            (int(query), int(offsets[at]), "-" if texts[at] % 2 else "+")
            for query, at in zip(queries, first, strict=True)
        ]

    def _verify(self, codes: np.ndarray, positions: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Whether the words at these positions and places agree base by base."""
        word = np.arange(self._length)
        step = max(1, _BASES_AT_ONCE // self._length)
        parts = [
            (
                codes[positions[low : low + step, None] + word]
                == self._bases[places[low : low + step, None] + word]
            ).all(axis=1)
            for low in range(0, len(positions), step)
        ]
        return np.concatenate([np.zeros(0, np.bool_), *parts])
