"""A prepared table of measured sequences, as the source of batches for training and evaluation.

Its rows are records of a genome store; whatever reads a genome reads them: Markov models, figures
of splits, novelty of samples. Batches carry standardised numbers as `Batch.label`, (B, K).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.code_batches import (
    batch_of_codes,
    gather,
    reverse_complement,
    weight_of,
)
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.order import SampleOrder
from dnamdlm.data.stream import Sweep, TrainingRows, TrainingStream
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.diffusion.population import systematic_ancestors
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import DataError

_STRAND_STREAM = 1


@dataclass(frozen=True)
class RecordNumbers:
    """The numbers of every record of a store.

    Attributes:
        scales: of each number.
        offsets: first store offset of each record, increasing; shape (records,).
        values: standardised, nan where one is not known; shape (records, K).
    """

    scales: tuple[NumberScale, ...]
    offsets: NDArray[np.int64] = field(repr=False, compare=False)
    values: NDArray[np.float32] = field(repr=False, compare=False)

    def at(self, starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Numbers of the record that each store offset lies in, (B, K)."""
        return self.values[np.searchsorted(self.offsets, starts, side="right") - 1]


@dataclass(frozen=True)
class RecordWeights:
    """The training weight of every record of a store.

    Attributes:
        offsets: first store offset of each record, increasing; shape (records,).
        values: with mean 1 in each split; shape (records,).
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weight of the record that each store offset lies in, (B,)."""
        return self.values[np.searchsorted(self.offsets, starts, side="right") - 1]


@dataclass(frozen=True)
class TableRows(TrainingRows):
    """Whole sequences in the order of a `SampleOrder`, padded; strand and key depend on the place.

    Attributes:
        store: the sequences.
        spans: first offset and end of each, shape (records, 2).
        length: positions per row.
        seed: of order, strand and noise keys.
        numbers: of each record, or None.
        weights: of each record, or None where all weigh 1.
        turns: turn each row over with probability 1/2.
        soft_mask_weight: training weight of soft-masked bases; 1.0 gives `weight` None.
    """

    store: GenomeStore
    spans: NDArray[np.int64]
    length: int
    seed: int
    numbers: RecordNumbers | None
    weights: RecordWeights | None
    turns: bool
    soft_mask_weight: float

    def at(self, positions: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> Batch:
        """The rows at consecutive positions, see `TrainingRows`."""
        order = SampleOrder(len(self.spans), self.seed)
        starts, ends = self.spans[order.indices(positions)].T
        sizes = ends - starts
        codes = gather(self.store.codes, starts, self.length, sizes=sizes)
        if self.turns:
            is_turned = order.uniforms(positions, _STRAND_STREAM) < 0.5
            for row in np.flatnonzero(is_turned):
                codes[row, : sizes[row]] = reverse_complement(codes[row : row + 1, : sizes[row]])
        weight = None if self.soft_mask_weight == 1.0 else weight_of(codes, self.soft_mask_weight)
        keys = row_keys(self.seed, torch.from_numpy(positions)).numpy()
        if self.weights is not None:
            of_rows = torch.from_numpy(self.weights.at(starts)).float()
            of_rows = of_rows[:, None].expand(-1, self.length)
            weight = of_rows.contiguous() if weight is None else weight * of_rows
        label = None if self.numbers is None else self.numbers.at(starts)
        return batch_of_codes(codes, starts, keys, rows, size=size, weight=weight, label=label)


class ResampledWindows(SplitWindows):
    """Sequences of a split, each as often as its weight says, by systematic resampling.

    Args:
        store: the sequences.
        intervals: of the split, each no longer than a window.
        length: positions per window.
        weights: of each record.
    """

    def __init__(
        self,
        store: GenomeStore,
        intervals: Sequence[Interval],
        length: int,
        *,
        weights: RecordWeights,
    ) -> None:
        kept = [item for item in intervals if _has_bases(store, item)]
        super().__init__(store, kept, length)
        middle = torch.full((1,), 0.5, dtype=torch.float64)
        starts = np.array([store.span(item)[0] for item in kept])
        log_weights = torch.from_numpy(weights.at(starts)).log()[None]
        self._places = systematic_ancestors(log_weights, middle)[0].numpy()

    def batch(
        self,
        items: NDArray[np.int64],
        keys: NDArray[np.int64],
        rows: NDArray[np.int64],
        size: int,
    ) -> Batch:
        """Some windows as a batch, see `dnamdlm.data.stream.Windows`."""
        return super().batch(self._places[items], keys, rows, size)


def _has_bases(store: GenomeStore, interval: Interval) -> bool:
    start, end = store.span(interval)
    return int(store.count_n(np.array([start]), np.array([end]))[0]) < end - start


@dataclass(frozen=True)
class OpenTable(OpenGenome):
    """A table with its splits.

    Attributes:
        numbers: measured numbers of each row, or None.
        weights: of each row, for training on them as draws from another distribution; None where
            all weigh 1.
    """

    numbers: RecordNumbers | None = field(default=None, kw_only=True)
    weights: RecordWeights | None = field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def scales(self) -> tuple[NumberScale, ...]:
        """Name, unit and scale of each number."""
        return () if self.numbers is None else self.numbers.scales

    def training_stream(self, seed: int, global_batch_size: int) -> TrainingStream:
        """Endless training batches of `global_batch_size` rows, a function of (seed, step)."""
        rows = TableRows(
            self.store,
            np.array([self.store.span(interval) for interval in self.splits.train]),
            self.length,
            seed,
            self.numbers,
            self.weights,
            self.settings.reverse_complement,
            self.settings.soft_mask_weight,
        )
        return TrainingStream(rows, global_batch_size)

    def evaluation_windows(
        self, split: str, length: int | None = None, limit: int | None = None, seed: int = 0
    ) -> Sweep[SplitWindows]:
        """Every sequence of a split once, in windows of `length` (None: the training length).

        Where rows have weights those of the valid split are resampled by them, so that the figure
        is that of the distribution that is trained for; a sequence may occur several times.

        Raises:
            DataError: if the split is empty or all N.
        """
        intervals = self.splits[split]
        if not intervals:
            raise DataError(
                f"the {split} split is empty; set data.{split}_fraction, or name its rows in "
                "data.split_column"
            )
        length = self.length if length is None else length
        windows = SplitWindows(self.store, intervals, length, labels=self.numbers)
        if self.weights is not None and split == "valid" and length >= self.length:
            windows = ResampledWindows(self.store, intervals, length, weights=self.weights)
        return Sweep.over(windows, seed=seed, limit=limit)

    def fingerprint(self) -> str:
        """Hash of everything that decides which batches come out, but not of where files lie."""
        arrays = [] if self.numbers is None else [self.numbers.values]
        arrays += [] if self.weights is None else [self.weights.values]
        digests = [hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() for a in arrays]
        scales = [scale.record() for scale in self.scales]
        content = json.dumps([super().fingerprint(), digests, scales], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Facts for a report: source, hashes, counts, splits, numbers."""
        numbers = [
            {key: value for key, value in scale.record().items() if key != "quantiles"}
            | {"low": scale.low, "high": scale.high}
            for scale in self.scales
        ]
        return {
            **super().describe(),
            "source": {"name": Path(self.settings.fasta).name},
            "numbers": numbers,
            **({} if self.weights is None else {"effective_size": self.effective_size}),
        }

    def window_facts(self) -> dict[str, int]:
        """Each sequence is a window, padded where it is shorter."""
        return {
            "window_length": self.length,
            "num_training_windows": len(self.splits.train),
            "num_intervals_too_short": 0,
            "num_windows_rich_in_n": 0,
        }

    @property
    def effective_size(self) -> float:
        """How many independent draws the weighted rows of the train split are worth."""
        assert self.weights is not None
        starts = [self.store.span(interval)[0] for interval in self.splits.train]
        weights = self.weights.at(np.array(starts))
        # Kong, Liu and Wong 1994.
        return float(weights.sum() ** 2 / np.square(weights).sum())
