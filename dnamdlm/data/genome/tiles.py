"""Tiles of intervals under one numbering, of which only some are kept.

A genome has far more tiles than runs of kept tiles, so the runs are what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.ragged import places_within

_TILES_AT_ONCE = 1 << 15

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
        runs = [np.zeros((0, 4), dtype=np.int64)]
        for part, tiles in _some_at_a_time(num_tiles):
            low, high = spans[part].T
            starts = self._starts(tiles, low, high)
            kept = keep(starts, np.minimum(starts + length, high))
            # the run of a tile begins anew where the tile before is not kept, or of another span.
            joins = (part[1:] == part[:-1]) & kept[1:] & kept[:-1]
            begin = np.flatnonzero(kept & ~np.concatenate([[False], joins]))
            end = np.flatnonzero(kept & ~np.concatenate([joins, [False]])) + 1
            runs.append(np.stack([low[begin], high[begin], tiles[begin], end - begin], axis=1))
        self._low, self._high, self._first, counts = np.concatenate(runs).T
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
        self, tiles: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        starts = low + tiles * self._length
        return np.minimum(starts, high - self._length) if self._slide_last_back else starts


def _some_at_a_time(
    num_tiles: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
    """Number of the span of each tile, and number of the tile in it, in order, in bounded parts."""
    num_parts = -(-num_tiles // _TILES_AT_ONCE)
    spans = np.repeat(np.arange(len(num_tiles)), num_parts)
    first = places_within(num_parts) * _TILES_AT_ONCE
    counts = np.minimum(num_tiles[spans] - first, _TILES_AT_ONCE)
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(spans):
        before = int(ends[begin] - counts[begin])
        end = max(begin + 1, int(np.searchsorted(ends, before + _TILES_AT_ONCE, side="right")))
        some = slice(begin, end)
        tiles = np.repeat(first[some], counts[some]) + places_within(counts[some])
        yield np.repeat(spans[some], counts[some]), tiles
        begin = end
