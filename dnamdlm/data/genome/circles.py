"""Circular records of a genome, round whose origin windows may go.

A window that begins in a circle and is longer than what is left of it goes on with the first bases.
Offsets count bases of the store.

Shapes: B windows, L positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.code_batches import gather
from dnamdlm.data.genome.store import GenomeStore


class Circles:
    """Circles among the spans that windows are cut from.

    Args:
        store: the genome.
        spans: intervals as offsets, shape (intervals, 2); those that are a whole circular record
            are circles.
    """

    def __init__(self, store: GenomeStore, spans: NDArray[np.int64]) -> None:
        self._store = store
        places = {
            (store.offsets[name], store.offsets[name] + store.lengths[name])
            for name in store.circular
        }
        whole = {(low, high) for low, high in spans.tolist() if (low, high) in places}
        self._spans = np.array(sorted(whole), dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        """Number of circles."""
        return len(self._spans)

    def unrolled(self, spans: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """The spans, of which circles end as late as windows that begin in them."""
        is_circle, low, high = self._find(spans[:, 0])
        is_circle &= (spans == np.stack([low, high], axis=1)).all(axis=1)
        return spans + np.stack([np.zeros_like(is_circle), is_circle * (length - 1)], axis=1)

    def moved(
        self, starts: NDArray[np.int64], shifts: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which windows begin in a circle, and where all begin after their shifts round it."""
        is_circle, low, high = self._find(starts)
        size = np.maximum(high - low, 1)
        return is_circle, np.where(is_circle, low + (starts + shifts - low) % size, starts)

    def count_n(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of N of each window."""
        if not len(self):
            return self._store.count_n(starts, ends)
        is_circle, low, high = self._find(starts)
        over = np.where(is_circle, np.maximum(ends - high, 0), 0)
        return self._store.count_n(starts, ends - over) + self._store.count_n(low, low + over)

    def gather(self, starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """Windows copied out of the store, shape (B, length)."""
        codes = self._store.codes
        is_circle, low, high = self._find(starts)
        crosses = np.flatnonzero(is_circle & (starts + length > high))
        if not len(crosses):
            return gather(codes, starts, length)
        # any place in the circle will do for what is written over below.
        windows = gather(
            codes, np.where(is_circle, np.minimum(starts, high - length), starts), length
        )
        size = high[crosses] - low[crosses]
        offsets = starts[crosses, None] - low[crosses, None] + np.arange(length)
        windows[crosses] = codes[low[crosses, None] + offsets % size[:, None]]
        return windows

    def _find(
        self, starts: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Whether each offset lies in a circle, and where that begins and ends; else 0 and 0."""
        if not len(self):
            zero = np.zeros_like(starts)
            return zero.astype(np.bool_), zero, zero
        index = np.maximum(np.searchsorted(self._spans[:, 0], starts, side="right") - 1, 0)
        low, high = self._spans[index].T
        is_circle = (low <= starts) & (starts < high)
        return is_circle, np.where(is_circle, low, 0), np.where(is_circle, high, 0)
