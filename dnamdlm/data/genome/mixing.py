"""Training rows and evaluation windows of several genomes.

Sample positions are counted over the whole mixture. Consecutive positions are cut into turns of
equal size; each turn holds every genome as many times as its weight says, in an order that a keyed
permutation draws anew. So the genome of a position, and which of its windows is due, follow from
(seed, position) in constant time, on any rank, after any restart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.data_source import BatchStream, WindowSequence
from dnamdlm.data.genome.windows import TrainingStream, make_batch, rows_of_share, weight_of
from dnamdlm.data.order import SampleOrder, in_blocks
from dnamdlm.diffusion.randomness import row_keys

_MAX_TURN = 1 << 16

# genome, offset, whether the strand is turned, and noise key.
_Plan = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]


@dataclass(frozen=True)
class MixedStream(BatchStream):
    """Endless training batches of several genomes, indexed by step.

    Attributes:
        members: the stream of each genome.
        rows_per_turn: how often each comes in a turn.
        seed: of the turns and the noise keys.
        global_batch_size: rows over all ranks and micro steps.
        bases: added to the offsets of each genome, so that `Batch.start` tells them apart.
    """

    members: tuple[TrainingStream, ...]
    rows_per_turn: tuple[int, ...]
    seed: int
    global_batch_size: int
    bases: tuple[int, ...]
    _blocks: dict[int, _Plan] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        genomes, starts, is_turned, keys = in_blocks(self._plan, positions, self._blocks)
        length = self.members[0].windows.length
        codes = np.empty((len(rows), length), dtype=np.uint8)
        weight = None
        if any(member.soft_mask_weight != 1.0 for member in self.members):
            weight = torch.ones(codes.shape)
        for number in np.unique(genomes).tolist():
            member, chosen = self.members[number], np.flatnonzero(genomes == number)
            codes[chosen] = member.cut(starts[chosen], is_turned[chosen])
            if weight is not None:
                weight[chosen] = weight_of(codes[chosen], member.soft_mask_weight)
        places = starts + np.array(self.bases)[genomes]
        size = self.global_batch_size
        return make_batch(codes, places, keys, rows, size=size, weight=weight, label=genomes)

    def _plan(self, positions: NDArray[np.int64]) -> _Plan:
        turns, slots = self.turns(positions)
        ends = np.cumsum(self.rows_per_turn)
        genomes = np.searchsorted(ends, slots, side="right")
        counts = np.array(self.rows_per_turn)
        own = turns * counts[genomes] + slots - (ends - counts)[genomes]
        starts, is_turned = np.empty_like(own), np.empty(own.shape, dtype=np.bool_)
        for number in np.unique(genomes).tolist():
            chosen = np.flatnonzero(genomes == number)
            starts[chosen], is_turned[chosen], _ = self.members[number].plan(own[chosen])
        return genomes, starts, is_turned, row_keys(self.seed, torch.from_numpy(positions)).numpy()

    def turns(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The turn of each position, and its place among the rows of that turn."""
        size = sum(self.rows_per_turn)
        return positions // size, SampleOrder(size, seed_of(self.seed, -1)).indices(positions)


@dataclass(frozen=True)
class MixedWindows(WindowSequence):
    """The evaluation windows of several genomes under one numbering.

    Attributes:
        members: windows of each genome, and what is added to their offsets.
        seed: of the row numbers, which are a random permutation of all windows.
    """

    members: tuple[tuple[WindowSequence, int], ...]
    seed: int

    @property
    def length(self) -> int:
        """Positions per window."""
        return self.members[0][0].length

    def __len__(self) -> int:
        return sum(len(windows) for windows, _ in self.members)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """The windows of one genome after the other; no batch holds two genomes."""
        order, done = SampleOrder(len(self), self.seed), 0
        for windows, base in self.members:
            for batch in windows.batches(batch_size):
                assert batch.start is not None
                ordinals = np.arange(done, done + len(batch))
                done += len(batch)
                yield replace(
                    batch,
                    row=torch.from_numpy(order.indices(ordinals)),
                    global_size=len(self),
                    start=batch.start + base,
                )


def whole_numbers(weights: Sequence[Fraction]) -> tuple[int, ...]:
    """Weights as whole numbers in the same proportion, or nearly so where they would be large.

    Args:
        weights: positive.
    """
    scale = math.lcm(*(weight.denominator for weight in weights))
    counts = [int(weight * scale) for weight in weights]
    divisor = math.gcd(*counts)
    counts = [count // divisor for count in counts]
    total = sum(counts)
    if total <= _MAX_TURN:
        return tuple(counts)
    floors = [max(1, count * _MAX_TURN // total) for count in counts]
    by_rest = sorted(range(len(counts)), key=lambda i: (-(counts[i] * _MAX_TURN % total), i))
    left = _MAX_TURN - sum(floors)
    for place in by_rest[: max(0, left)]:
        floors[place] += 1
    return tuple(floors)


def seed_of(seed: int, number: int) -> int:
    """A seed for one genome, so that genomes of equal size are not walked in step."""
    return int(row_keys(seed, torch.tensor([number]))[0])
