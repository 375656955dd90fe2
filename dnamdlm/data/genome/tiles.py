"""Tiles of intervals under one numbering, of which only some are kept.

A genome has far more tiles than runs of kept tiles, so the runs are what is stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_TILES_AT_ONCE = 1 << 20

KeepRule = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
"""Which of the tiles [start, end) to number."""


class Tiles:
    """Tiles of several intervals under one numbering.

    Args:
        spans: intervals as offsets, shape (intervals, 2).
        length: tile length.
        num_tiles: tiles of each interval.
        keep: which tiles to number.
        slide_last_back: the last tile of an interval is moved back to end with it, instead of
            reaching past its end.
    """

    def __init__(
        self,
        spans: NDArray[np.int64],
        length: int,
        num_tiles: NDArray[np.int64],
        keep: KeepRule,
        *,
        slide_last_back: bool,
    ) -> None:
        self._length = length
        self._slide_last_back = slide_last_back
        runs: list[NDArray[np.int64]] = []
        for (low, high), count in zip(spans.tolist(), num_tiles.tolist(), strict=True):
            for first in range(0, count, _TILES_AT_ONCE):
                tiles = np.arange(first, min(first + _TILES_AT_ONCE, count))
                starts = self._starts(tiles, np.int64(low), np.int64(high))
                kept = keep(starts, np.minimum(starts + length, high))
                edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
                if edges.size:
                    begin, end = edges[::2] + first, edges[1::2] + first
                    ones = np.ones_like(begin)
                    runs.append(np.stack([low * ones, high * ones, begin, end - begin], axis=1))
        table = np.concatenate(runs) if runs else np.zeros((0, 4), dtype=np.int64)
        self._low, self._high, self._first, counts = table.T
        self._cumulative = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self._cumulative[-1])

    def locate(
        self, items: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Offset of each tile, and the span [low, high) of its interval."""
        run = np.searchsorted(self._cumulative, items, side="right") - 1
        tile = self._first[run] + items - self._cumulative[run]
        low, high = self._low[run], self._high[run]
        return self._starts(tile, low, high), low, high

    def _starts(
        self,
        tiles: NDArray[np.int64],
        low: NDArray[np.int64] | np.int64,
        high: NDArray[np.int64] | np.int64,
    ) -> NDArray[np.int64]:
        starts = low + tiles * self._length
        return np.minimum(starts, high - self._length) if self._slide_last_back else starts
