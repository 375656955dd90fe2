"""The nearest stretch of the training genome, and whether a sequence is a copy of it.

Minimizers of the sequences (the smallest of 10 neighbouring words of 15 bases, both strands) are
searched at every position of the genome, which is read in pieces. Positions that fit one alignment
are pooled, and the best are aligned base by base. A sequence without two common words has no
nearest stretch: at such distances all stretches are about equally near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.genome_pieces import pieces
from dnamdlm.tokens.nucleotide import reverse_complement
from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.edits import edit_distance
from dnamdlm.words.hashes import scattered, word_hashes
from dnamdlm.words.kmers import has_only_bases
from dnamdlm.words.minimizers import NO_HASH, is_minimizer

WORD, WINDOW = 15, 10
COPY_IDENTITY = 0.9
COPY_MATCH = 0.5
"""A sequence counts as memorised if it has at least this identity with its nearest stretch, or if
its longest exact match has this share of its bases; sequences below `COPY_LEAST` never count."""
COPY_LEAST = 30
"""Shortest match that is evidence of a copy: by chance genomes share 15 to 20 bases."""
_SLACK, _CANDIDATES, _MAX_PLACES = 32, 3, 200


@dataclass(frozen=True)
class Neighbour:
    """The nearest stretch of one sequence.

    Attributes:
        identity: 1 - edit distance / length, at the best position in the stretch.
        chrom: record; empty without a nearest stretch.
        start: 0-based start of the stretch that was aligned, 32 bases of slack included.
        strand: of the genome, "+" or "-".
    """

    identity: float
    chrom: str = ""
    start: int = -1
    strand: str = "."


def is_memorised(identity: float, longest_match: int, length: int) -> bool:
    """Whether a sequence is a copy of training sequence, by the two thresholds above."""
    return longest_match >= max(COPY_MATCH * length, COPY_LEAST) or (
        length >= COPY_LEAST and identity >= COPY_IDENTITY
    )


def minimizers(codes: np.ndarray) -> np.ndarray:
    """Places of the words whose hash is the smallest of `WINDOW` neighbours, int64, sorted."""
    # the plain hash of a word of A is always small, which `scattered` hides.
    order = np.where(has_only_bases(codes, WORD), scattered(word_hashes(codes, WORD)), NO_HASH)
    return np.flatnonzero(is_minimizer(order, WINDOW, first_of_ties=True))


def nearest_stretches(
    sequences: Sequence[np.ndarray], store: GenomeStore, intervals: Sequence[Interval]
) -> list[Neighbour]:
    """The nearest stretch of each sequence in the intervals, on either strand.

    Args:
        sequences: store codes.
        store: genome store.
        intervals: where to look.
    """
    plain = [
        np.bitwise_and(np.asarray(sequence, np.uint8), CODE_MASK, dtype=np.uint8)
        for sequence in sequences
    ]
    texts = [text for item in plain for text in (item, reverse_complement(item))]
    hits = _hits(texts, store, intervals)
    found = [Neighbour(0.0)] * len(plain)
    if not len(hits):
        return found
    # by text, then by diagonal: hits of one alignment are adjacent.
    hits = hits[np.lexsort((hits[:, 1], hits[:, 0]))]
    new = (hits[1:, 0] != hits[:-1, 0]) | (hits[1:, 1] > hits[:-1, 1] + _SLACK)
    edges = np.concatenate([[0], np.flatnonzero(new) + 1, [len(hits)]])
    groups = [
        (int(hits[low, 0]), high - low, int(np.median(hits[low:high, 1])))
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if high - low >= 2
    ]
    by_sequence: dict[int, list[tuple[int, int, int]]] = {}
    for text, count, diagonal in groups:
        by_sequence.setdefault(text // 2, []).append((count, diagonal, text))
    spans = np.array([store.span(interval) for interval in intervals])
    for number, candidates in by_sequence.items():
        for _, diagonal, text in sorted(candidates, reverse=True)[:_CANDIDATES]:
            # the interval that holds most of the stretch.
            middle = diagonal + len(texts[text]) // 2
            distances = np.maximum(spans[:, 0] - middle, middle - spans[:, 1] + 1)
            interval = intervals[int(np.argmin(np.maximum(distances, 0)))]
            near = _aligned(texts[text], diagonal, store, interval, "-" if text % 2 else "+")
            if near.identity > found[number].identity:
                found[number] = near
    return found


def _hits(
    texts: Sequence[np.ndarray], store: GenomeStore, intervals: Sequence[Interval]
) -> np.ndarray:
    """Text and diagonal (store offset of the start of the text) of each common word, (H, 2)."""
    places = [minimizers(text) for text in texts]
    owners = np.repeat(np.arange(len(texts)), [len(part) for part in places])
    positions = np.concatenate([*places, np.zeros(0, np.int64)])
    hashes = np.concatenate(
        [
            *(word_hashes(text, WORD)[part] for text, part in zip(texts, places, strict=True)),
            np.zeros(0, np.uint64),
        ]
    )
    order = np.argsort(hashes, kind="stable")
    hashes, owners, positions = hashes[order], owners[order], positions[order]
    shift = np.uint64(64 - 20)
    present = np.zeros(1 << 20, np.bool_)
    present[hashes >> shift] = True
    parts = [np.zeros((0, 2), np.int64)]
    for piece in pieces(store, intervals, WORD):
        values = word_hashes(piece.codes, WORD)
        maybe = np.flatnonzero(present[values >> shift] & has_only_bases(piece.codes, WORD))
        low = np.searchsorted(hashes, values[maybe], side="left")
        counts = np.searchsorted(hashes, values[maybe], side="right") - low
        maybe, low, counts = (part[counts > 0] for part in (maybe, low, counts))
        if not len(maybe):
            continue
        # words that fill an interval are repeats of a few bases, which fit many positions.
        kinds = low * len(piece.begins) + piece.intervals_at(maybe)
        _, word, repeats = np.unique(kinds, return_inverse=True, return_counts=True)
        rare = repeats[word] <= _MAX_PLACES
        maybe, low, counts = maybe[rare], low[rare], counts[rare]
        pair = np.repeat(np.arange(len(maybe)), counts)
        slots = low[pair] + np.arange(len(pair)) - (np.cumsum(counts) - counts)[pair]
        diagonals = piece.offsets_at(maybe)[pair] - positions[slots]
        parts.append(np.stack([owners[slots], diagonals], axis=1))
    return np.concatenate(parts)


def _aligned(
    text: np.ndarray,
    diagonal: int,
    store: GenomeStore,
    interval: Interval,
    strand: str,
) -> Neighbour:
    """Align a text around a diagonal, within an interval."""
    low, high = store.span(interval)
    start = max(diagonal - _SLACK, low)
    end = min(diagonal + len(text) + _SLACK, high)
    if end <= start:
        return Neighbour(0.0)
    distance = edit_distance(text, store.codes[start:end] & CODE_MASK, inside=True)
    return Neighbour(
        max(1 - distance / len(text), 0.0), interval.chrom, interval.start + start - low, strand
    )
