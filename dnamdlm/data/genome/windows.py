"""Fixed-length windows over a genome store: training stream and evaluation sweep.

A training batch is a pure function of (seed, step): neither the number of ranks, of micro steps nor
of processes changes any row. Windows never leave their split. Offsets count bases of the store.

Shapes: B windows, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.fasta import CODE_MASK, N_CODE, SOFT_MASK
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.record_classes import RecordLabels
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.order import SampleOrder, in_blocks
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.nucleotide import COMPLEMENT_OF_CODES, IDS_OF_CODES, NUCLEOTIDE_VOCABULARY

_JITTER_STREAM, _STRAND_STREAM = 0, 1
_TILES_AT_ONCE = 1 << 20
_PADDING_CODE = 5

# offsets, whether the strand is turned, and noise keys.
Plan = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]
KeepRule = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


class _Tiles:
    """Tiles of several intervals under one numbering; only runs of kept tiles are stored.

    Args:
        spans: intervals as offsets, shape (intervals, 2).
        length: tile length.
        num_tiles: tiles of each interval.
        keep: which of the tiles [start, end) to number.
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


class WindowSet:
    """Training windows: a grid of tiles that covers each interval, without tiles rich in N.

    The last tile of an interval is moved back to end with it, so that every base is reachable.

    Args:
        store: the genome.
        intervals: disjoint intervals of one split.
        length: bases per window.
        max_n_fraction: tiles with a larger share of N are left out.

    Attributes:
        num_too_short: intervals shorter than a window, which are left out.
        num_rich_in_n: tiles that the N policy left out.

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
        self._tiles = _Tiles(spans, length, num_tiles, self.allowed, slide_last_back=True)
        self.num_rich_in_n = int(num_tiles.sum()) - len(self._tiles)
        if not len(self._tiles):
            raise DataError(
                f"all {self.num_rich_in_n} windows of {length} bp have more than "
                f"{max_n_fraction:.0%} N; raise data.max_n_fraction or use another split"
            )

    def __len__(self) -> int:
        return len(self._tiles)

    def allowed(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where a window obeys the N policy."""
        return self.store.count_n(starts, ends) <= self._max_n

    def starts(
        self, items: NDArray[np.int64], shifts: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Offset of each window, moved by `shifts` where that stays in its interval and policy."""
        grid, low, high = self._tiles.locate(items)
        if shifts is None:
            return grid
        moved = np.clip(grid + shifts, low, high - self.length)
        return np.where(self.allowed(moved, moved + self.length), moved, grid)


@dataclass(frozen=True)
class TrainingStream:
    """Endless training batches, indexed by step.

    Row p of the global batch at step s is sample position s * global_batch_size + p of a
    `SampleOrder`. Its shift, strand and noise key depend on (seed, position) only.

    Attributes:
        windows: what to draw from.
        seed: of order, shift, strand and noise keys.
        global_batch_size: rows over all ranks and micro steps.
        jitter: move windows by up to half a length within their interval.
        reverse_complement: turn each row over with probability 1/2.
        soft_mask_weight: training weight of soft-masked bases; 1.0 gives `weight` None.
        labels: class of each record, or None without classes.
    """

    windows: WindowSet
    seed: int
    global_batch_size: int
    jitter: bool = True
    reverse_complement: bool = True
    soft_mask_weight: float = 1.0
    labels: RecordLabels | None = None
    _blocks: dict[int, Plan] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.global_batch_size < 1:
            raise ConfigError(
                f"the global batch size must be at least 1, got {self.global_batch_size}"
            )

    def batch(
        self,
        step: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_step: int = 0,
        num_micro_steps: int = 1,
    ) -> Batch:
        """Rows of one rank and micro step; together they are the global batch, each row once.

        Raises:
            ConfigError: if ranks and micro steps do not divide the global batch.
        """
        rows = rows_of_share(
            self.global_batch_size,
            rank=rank,
            world_size=world_size,
            micro_step=micro_step,
            num_micro_steps=num_micro_steps,
        )
        positions = rows + step * self.global_batch_size
        starts, is_turned, keys = in_blocks(self.plan, positions, self._blocks)
        codes = self.cut(starts, is_turned)
        weight = None
        if self.soft_mask_weight != 1.0:
            weight = weight_of(codes, self.soft_mask_weight)
        label = None if self.labels is None else self.labels.at(starts)
        size = self.global_batch_size
        return make_batch(codes, starts, keys, rows, size=size, weight=weight, label=label)

    def plan(self, positions: NDArray[np.int64]) -> Plan:
        """Offset, strand and noise key at sample positions."""
        order = SampleOrder(len(self.windows), self.seed)
        shifts = None
        if self.jitter:
            half = self.windows.length // 2
            shifts = order.integers(positions, _JITTER_STREAM, 2 * half + 1) - half
        starts = self.windows.starts(order.indices(positions), shifts)
        is_turned = order.uniforms(positions, _STRAND_STREAM) < 0.5
        return starts, is_turned, row_keys(self.seed, torch.from_numpy(positions)).numpy()

    def cut(self, starts: NDArray[np.int64], is_turned: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Windows copied out of the genome and turned over where that is wanted, (B, length)."""
        codes = gather(self.windows.store.codes, starts, self.windows.length)
        if self.reverse_complement:
            turned = np.flatnonzero(is_turned)
            codes[turned] = _translate(codes[turned, ::-1], _COMPLEMENT)
        return codes


def rows_of_share(
    global_batch_size: int, *, rank: int, world_size: int, micro_step: int, num_micro_steps: int
) -> NDArray[np.int64]:
    """Rows of the global batch that one rank sees in one micro step.

    Raises:
        ConfigError: if ranks and micro steps do not divide the global batch.
    """
    num_parts = world_size * num_micro_steps
    if global_batch_size % num_parts:
        raise ConfigError(
            f"a global batch of {global_batch_size} cannot be shared by {world_size} "
            f"ranks and {num_micro_steps} micro steps; use a multiple of {num_parts}"
        )
    size = global_batch_size // num_parts
    return np.arange(size) + (rank * num_micro_steps + micro_step) * size


def weight_of(codes: NDArray[np.uint8], soft_mask_weight: float) -> torch.Tensor:
    """Training weight of each position: less than 1 where the genome is soft-masked."""
    return torch.where(torch.from_numpy(codes >= SOFT_MASK), soft_mask_weight, 1.0)


class EvaluationWindows:
    """Every base of a split exactly once, in windows side by side; the last one is padded.

    Windows without any A, C, G or T are left out, since nothing in them can be scored. Row numbers
    are a random permutation of the windows, so that stratified times do not follow the genome.

    Args:
        store: the genome.
        intervals: disjoint intervals of one split; short ones are kept and padded.
        length: positions per window.
        seed: of the noise keys and row numbers.
        limit: use at most this many windows, spread evenly over the split.
        labels: class of each record, or None without classes.

    Raises:
        DataError: if the split holds no base to score.
    """

    def __init__(
        self,
        store: GenomeStore,
        intervals: Sequence[Interval],
        length: int,
        *,
        seed: int = 0,
        limit: int | None = None,
        labels: RecordLabels | None = None,
    ) -> None:
        self.store = store
        self.length = length
        self.seed = seed
        self._labels = labels
        spans = _spans(store, intervals)
        num_tiles = -(-(spans[:, 1] - spans[:, 0]) // length)
        self._tiles = _Tiles(
            spans,
            length,
            num_tiles,
            lambda starts, ends: store.count_n(starts, ends) < ends - starts,
            slide_last_back=False,
        )
        self.num_without_bases = int(num_tiles.sum()) - len(self._tiles)
        if not len(self._tiles):
            raise DataError(
                f"the split holds no A, C, G or T in its {len(intervals)} intervals; "
                "choose other records or fractions for it"
            )
        if limit is not None and limit < 1:
            raise ConfigError(f"the window limit must be at least 1, got {limit}")
        self._num_used = len(self._tiles) if limit is None else min(limit, len(self._tiles))

    def __len__(self) -> int:
        return self._num_used

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All windows in genome order; the last batch may be smaller.

        Raises:
            ConfigError: if the batch size is below 1.
        """
        if batch_size < 1:
            raise ConfigError(f"the batch size must be at least 1, got {batch_size}")
        order = SampleOrder(len(self), self.seed)
        for first in range(0, len(self), batch_size):
            ordinals = np.arange(first, min(first + batch_size, len(self)))
            items = ordinals * len(self._tiles) // len(self)
            starts, _, high = self._tiles.locate(items)
            codes = gather(
                self.store.codes, starts, self.length, sizes=np.minimum(high - starts, self.length)
            )
            rows = order.indices(ordinals)
            keys = row_keys(self.seed, torch.from_numpy(items)).numpy()
            label = None if self._labels is None else self._labels.at(starts)
            yield make_batch(codes, starts, keys, rows, size=len(self), label=label)


def gather(
    codes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    length: int,
    *,
    sizes: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """Windows copied out of a store, shape (B, length); 5 stands after the first `sizes` bases."""
    if sizes is None or (sizes == length).all():
        return np.lib.stride_tricks.sliding_window_view(codes, length)[starts]
    windows = np.full((len(starts), length), _PADDING_CODE, dtype=np.uint8)
    for window, start, size in zip(windows, starts.tolist(), sizes.tolist(), strict=True):
        window[:size] = codes[start : start + size]
    return windows


def _spans(store: GenomeStore, intervals: Sequence[Interval]) -> NDArray[np.int64]:
    spans = [store.span(interval) for interval in intervals]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def make_batch(
    codes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    keys: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    size: int,
    weight: torch.Tensor | None = None,
    label: NDArray[np.int64] | None = None,
) -> Batch:
    """Rows of store bytes as a batch.

    Args:
        codes: bytes of the store, 5 at padding; shape (B, L).
        starts: store offset of each row.
        keys: noise key of each row.
        rows: place of each row in the global batch.
        size: rows of the global batch.
        weight: training weights, or None.
        label: class of each row, or None.
    """
    plain = codes & np.uint8(CODE_MASK)
    return Batch(
        tokens=torch.from_numpy(_translate(plain, _IDS)).long(),
        present=torch.from_numpy(plain != _PADDING_CODE),
        valid=torch.from_numpy(plain < N_CODE),
        weight=weight,
        key=torch.from_numpy(keys),
        row=torch.from_numpy(rows),
        global_size=size,
        start=torch.from_numpy(starts),
        label=None if label is None else torch.from_numpy(label),
    )


def _translate(codes: NDArray[np.uint8], table: bytes) -> NDArray[np.uint8]:
    # bytes.translate is several times faster than indexing a numpy table with bytes.
    return np.frombuffer(bytearray(codes.tobytes()).translate(table), np.uint8).reshape(codes.shape)


def _complement_table() -> bytes:
    table = np.arange(256, dtype=np.uint8)
    table[: len(COMPLEMENT_OF_CODES)] = COMPLEMENT_OF_CODES
    table[SOFT_MASK : SOFT_MASK + len(COMPLEMENT_OF_CODES)] = COMPLEMENT_OF_CODES | SOFT_MASK
    return table.tobytes()


def _id_table() -> bytes:
    table = np.full(256, NUCLEOTIDE_VOCABULARY.pad_id, dtype=np.uint8)
    table[: len(IDS_OF_CODES)] = IDS_OF_CODES
    return table.tobytes()


_COMPLEMENT = _complement_table()
_IDS = _id_table()
