"""Fixed-length windows over a genome store: the grid of training, and every base of a split.

Windows never leave their split. Offsets count bases of the store.

Shapes: B windows, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.circles import Circles
from dnamdlm.data.genome.code_batches import batch_of_codes, gather
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.record_classes import PlaceLabels
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.genome.tiles import Tiles
from dnamdlm.errors import DataError


class WindowSet:
    """Training windows: a grid of tiles that covers each interval, without tiles rich in N.

    The last tile of an interval is moved back to end with it, so that every base is reachable. An
    interval that is a whole circular record has no end: its last tile goes round the origin, and
    shifts go round it too.

    Args:
        store: the genome.
        intervals: disjoint intervals of one split.
        length: bases per window.
        max_n_fraction: tiles with a larger share of N are left out.

    Attributes:
        num_too_short: intervals shorter than a window, which are left out.
        num_rich_in_n: tiles left out for their N.

    Raises:
        DataError: if no window is left.
    """

    def __init__(
        self,
        store: GenomeStore,
        intervals: Sequence[Interval],
        length: int,
        *,
        max_n_fraction: float = 0.5,
    ) -> None:
        self.store = store
        self.length = length
        self._max_n = int(max_n_fraction * length)
        spans = _spans(store, intervals)
        sizes = spans[:, 1] - spans[:, 0]
        if not sizes.size or sizes.max() < length:
            raise DataError(
                f"data.length={length} is longer than every interval of the split, of which the "
                f"longest has {sizes.max(initial=0)} bp; use a shorter window"
            )
        self.num_too_short = int((sizes < length).sum())
        spans = spans[sizes >= length]
        num_tiles = -(-(spans[:, 1] - spans[:, 0]) // length)
        self._circles = Circles(store, spans)
        spans = self._circles.unrolled(spans, length)
        self._tiles = Tiles(spans, length, num_tiles, self.allowed, slide_last_back=True)
        self.num_rich_in_n = int(num_tiles.sum()) - len(self._tiles)
        if not len(self._tiles):
            raise DataError(
                f"all {self.num_rich_in_n} windows of {length} bp have more than "
                f"{max_n_fraction:.0%} N; raise data.max_n_fraction or use another split"
            )

    def __len__(self) -> int:
        return len(self._tiles)

    def allowed(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where a window has few enough N."""
        return self._circles.count_n(starts, ends) <= self._max_n

    def starts(
        self, items: NDArray[np.int64], shifts: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Offset of each window, moved by `shifts` where its interval and its N allow that."""
        grid, low, high = self._tiles.locate(items)
        if shifts is None:
            return grid
        is_circle, moved = self._circles.moved(grid, shifts)
        moved = np.where(is_circle, moved, np.clip(grid + shifts, low, high - self.length))
        return np.where(self.allowed(moved, moved + self.length), moved, grid)

    def codes(self, starts: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Windows at these offsets copied out of the store, shape (B, length)."""
        return self._circles.gather(starts, self.length)


class SplitWindows:
    """Every base of a split exactly once, in adjacent windows; the last of an interval is padded.

    Windows without any A, C, G or T are left out, since nothing in them can be scored. No window
    crosses the origin of a circular record, so that each base is scored once.

    Args:
        store: the genome.
        intervals: disjoint intervals of one split; short ones are kept and padded.
        length: positions per window.
        labels: class or numbers of each record, or None without.

    Attributes:
        num_without_bases: windows that were left out.

    Raises:
        DataError: if the split has no base to score.
    """

    def __init__(
        self,
        store: GenomeStore,
        intervals: Sequence[Interval],
        length: int,
        *,
        labels: PlaceLabels | None = None,
    ) -> None:
        self.store = store
        self.length = length
        self._labels = labels
        spans = _spans(store, intervals)
        num_tiles = -(-(spans[:, 1] - spans[:, 0]) // length)
        self._tiles = Tiles(
            spans,
            length,
            num_tiles,
            lambda starts, ends: store.count_n(starts, ends) < ends - starts,
            slide_last_back=False,
        )
        self.num_without_bases = int(num_tiles.sum()) - len(self._tiles)
        if not len(self._tiles):
            raise DataError(
                f"the split has no A, C, G or T in its {len(intervals)} intervals; "
                "choose other records or fractions for it"
            )

    def __len__(self) -> int:
        return len(self._tiles)

    def batch(
        self,
        items: NDArray[np.int64],
        keys: NDArray[np.int64],
        rows: NDArray[np.int64],
        size: int,
    ) -> Batch:
        """Some windows as a batch, see `dnamdlm.data.stream.Windows`."""
        starts, _, high = self._tiles.locate(items)
        sizes = np.minimum(high - starts, self.length)
        codes = gather(self.store.codes, starts, self.length, sizes=sizes)
        label = None if self._labels is None else self._labels.at(starts)
        return batch_of_codes(codes, starts, keys, rows, size=size, label=label)


def _spans(store: GenomeStore, intervals: Sequence[Interval]) -> NDArray[np.int64]:
    spans = [store.span(interval) for interval in intervals]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)
