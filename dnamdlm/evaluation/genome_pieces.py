"""Intervals of a genome in pieces that fit a processor's cache, for a search that cuts no word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.words.codes import CODE_MASK

CHUNK_BASES = 1 << 18


def pieces(
    store: GenomeStore, intervals: Sequence[Interval], length: int
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Pieces of the intervals that overlap by length - 1, so that each word is in one of them.

    Args:
        store: genome store.
        intervals: where to look; those shorter than a word have no piece.
        length: bases of a word; a piece is never shorter.

    Yields:
        Record, position of the first base in it, and codes without the soft mask.
    """
    step = max(CHUNK_BASES, length)
    for interval in intervals:
        offset = store.offsets[interval.chrom]
        for first in range(interval.start, interval.end - length + 1, step):
            end = min(first + step + length - 1, interval.end)
            yield interval.chrom, first, store.codes[offset + first : offset + end] & CODE_MASK
