"""The batch of a training step and the sweep of an evaluation, whatever the rows are made of.

The batch of a step is a function of (seed, step): neither the number of ranks, of micro steps nor
of processes changes any row. A sweep has every window of a split once, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.data_source import BatchStream, WindowSequence
from dnamdlm.data.order import SampleOrder
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError


class TrainingRows(Protocol):
    """Rows for training, by their positions in the endless order of samples."""

    def at(self, positions: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> Batch:
        """The rows at consecutive positions, each a function of its position alone.

        Args:
            positions: from 0, without end.
            rows: their places in the global batch.
            size: rows of the global batch.
        """
        ...


@dataclass(frozen=True)
class TrainingStream(BatchStream):
    """Endless training batches, indexed by step.

    Row p of the global batch at step s has the position s * global_batch_size + p.

    Attributes:
        source: makes the rows.
        global_batch_size: rows over all ranks and micro steps.
    """

    source: TrainingRows
    global_batch_size: int

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
        size, num_parts = self.global_batch_size, world_size * num_micro_steps
        if size % num_parts:
            raise ConfigError(
                f"a global batch of {size} cannot be shared by {world_size} ranks and "
                f"{num_micro_steps} micro steps; use a multiple of {num_parts}"
            )
        share = size // num_parts
        rows = np.arange(share) + (rank * num_micro_steps + micro_step) * share
        return replace(self.source.at(rows + step * size, rows, size), step=step)


class Windows(Protocol):
    """All windows of a split under one numbering."""

    @property
    def length(self) -> int:
        """Positions per window."""
        ...

    def __len__(self) -> int: ...

    def batch(
        self,
        items: NDArray[np.int64],
        keys: NDArray[np.int64],
        rows: NDArray[np.int64],
        size: int,
    ) -> Batch:
        """Some windows as a batch.

        Args:
            items: their numbers.
            keys: their noise keys.
            rows: their places among all rows.
            size: the number of all rows.
        """
        ...


WindowsT = TypeVar("WindowsT", bound=Windows)


@dataclass(frozen=True)
class SweepPart(Generic[WindowsT]):
    """What a sweep reads of one genome or corpus.

    Attributes:
        windows: all windows of the split.
        seed: of their noise keys.
        count: how many are read, spread evenly over the split.
        base: added to `Batch.start`, so that places in different parts differ.
    """

    windows: WindowsT
    seed: int
    count: int
    base: int = 0


@dataclass(frozen=True)
class Sweep(WindowSequence, Generic[WindowsT]):
    """The windows of a split, of one part after the other; no batch holds two parts.

    Row numbers are a random permutation of the windows, so that stratified times do not follow the
    genome.

    Attributes:
        parts: at least one.
        seed: of the row numbers.
    """

    parts: tuple[SweepPart[WindowsT], ...]
    seed: int

    @classmethod
    def over(cls, windows: WindowsT, *, seed: int = 0, limit: int | None = None) -> Sweep[WindowsT]:
        """All windows of one split, or at most `limit` of them.

        Raises:
            ConfigError: if the limit is below 1.
        """
        if limit is not None and limit < 1:
            raise ConfigError(f"the window limit must be at least 1, got {limit}")
        count = len(windows) if limit is None else min(limit, len(windows))
        return cls((SweepPart(windows, seed, count),), seed)

    @classmethod
    def joined(
        cls, sweeps: Sequence[Sweep[WindowsT]], bases: Sequence[int], seed: int
    ) -> Sweep[WindowsT]:
        """Several sweeps under one numbering, each window with the noise key that it has alone."""
        parts = (
            replace(part, base=base)
            for sweep, base in zip(sweeps, bases, strict=True)
            for part in sweep.parts
        )
        return cls(tuple(parts), seed)

    @property
    def source(self) -> WindowsT:
        """The windows of the split, read or not, of a sweep that has one part."""
        (part,) = self.parts
        return part.windows

    @property
    def length(self) -> int:
        """Positions per window."""
        return self.parts[0].windows.length

    def __len__(self) -> int:
        return sum(part.count for part in self.parts)

    def num_batches(self, batch_size: int) -> int:
        """How many batches there are; the last one of a part may be smaller."""
        return sum(-(-part.count // batch_size) for part in self.parts)

    def batches(self, batch_size: int, *, chosen: Container[int] | None = None) -> Iterator[Batch]:
        """All windows in order, or those of some batches; others are not read.

        Args:
            batch_size: windows of a batch; the last one of a part may be smaller.
            chosen: numbers of batches from 0; None for all.

        Raises:
            ConfigError: if the batch size is below 1.
        """
        if batch_size < 1:
            raise ConfigError(f"the batch size must be at least 1, got {batch_size}")
        order, done, numbers = SampleOrder(len(self), self.seed), 0, count()
        for part in self.parts:
            for first in range(0, part.count, batch_size):
                number = next(numbers)
                if chosen is not None and number not in chosen:
                    continue
                ordinals = np.arange(first, min(first + batch_size, part.count))
                items = ordinals * len(part.windows) // part.count
                keys = row_keys(part.seed, torch.from_numpy(items)).numpy()
                rows = order.indices(ordinals + done)
                batch = part.windows.batch(items, keys, rows, len(self))
                if part.base and batch.start is not None:
                    batch = replace(batch, start=batch.start + part.base)
                yield batch
            done += part.count
