"""Intervals of a genome in pieces that fit a processor's cache, for a search that cuts no word.

A piece is a part of a long interval, or holds several short intervals with an N between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.words.codes import CODE_MASK, N_CODE

CHUNK_BASES = 1 << 18
_SHORT_SHARE = 16


@dataclass(frozen=True)
class Piece:
    """Bases of one or more intervals.

    Attributes:
        codes: without the soft mask, (n,).
        begins: where each interval begins in them, (intervals,).
        offsets: store offset of the first base of each interval, (intervals,).
    """

    codes: NDArray[np.uint8]
    begins: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def intervals_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the interval that each place lies in."""
        return np.searchsorted(self.begins, places, side="right") - 1

    def offsets_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Store offset of each place."""
        owners = self.intervals_at(places)
        return self.offsets[owners] + places - self.begins[owners]


def pieces(store: GenomeStore, intervals: Sequence[Interval], length: int) -> Iterator[Piece]:
    """Pieces of the intervals in order, so that each word is in one of them.

    Those of one interval overlap by length - 1.

    Args:
        store: genome store.
        intervals: where to look; those shorter than a word have no piece.
        length: bases of a word; an interval of a piece is never shorter.
    """
    step = max(CHUNK_BASES, length)
    held: list[tuple[int, int]] = []
    num_bases = 0
    for interval in intervals:
        if len(interval) < length:
            continue
        start = store.offsets[interval.chrom] + interval.start
        is_short = is_short_interval(interval)
        if held and (not is_short or num_bases + len(interval) > step):
            yield joined(store, held)
            held, num_bases = [], 0
        if is_short:
            held.append((start, start + len(interval)))
            num_bases += len(interval) + 1
            continue
        for first in range(0, len(interval) - length + 1, step):
            end = min(first + step + length - 1, len(interval))
            yield joined(store, [(start + first, start + end)])
    if held:
        yield joined(store, held)


def is_short_interval(interval: Interval) -> bool:
    """Whether so little is done for an interval that it is better done for several at once."""
    return _SHORT_SHARE * len(interval) < CHUNK_BASES


def joined(store: GenomeStore, spans: Sequence[tuple[int, int]]) -> Piece:
    """One piece of intervals that are given as store offsets [start, end)."""
    offsets = np.array([start for start, _ in spans])
    if len(spans) == 1:
        ((start, end),) = spans
        return Piece(store.codes[start:end] & CODE_MASK, np.zeros(1, np.int64), offsets)
    gap = np.full(1, N_CODE, np.uint8)
    parts = [part for start, end in spans for part in (store.codes[start:end], gap)]
    sizes = np.array([end - start + 1 for start, end in spans])
    return Piece(np.concatenate(parts) & CODE_MASK, np.cumsum(sizes) - sizes, offsets)
