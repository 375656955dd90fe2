"""Training rows of several genomes.

Sample positions are counted over the whole mixture. Consecutive positions are cut into turns of
equal size; each turn contains every genome as many times as its weight says, in a new order given
by a keyed permutation. So the genome of a position, and which of its windows is due, follow from
(seed, position) in constant time, on any rank, after any restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.code_batches import batch_of_codes, weight_of
from dnamdlm.data.genome.genome_rows import GenomeRows
from dnamdlm.data.order import SampleOrder, in_blocks
from dnamdlm.data.stream import TrainingRows
from dnamdlm.diffusion.randomness import row_keys

_MAX_TURN = 1 << 16

# genome, offset, whether the strand is turned, and noise key.
_Plan = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]


@dataclass(frozen=True)
class MixedRows(TrainingRows):
    """Training rows of several genomes.

    Attributes:
        members: the rows of each genome.
        rows_per_turn: how often each comes in a turn.
        seed: of the turns and the noise keys.
        bases: added to the offsets of each genome, so that places in different genomes differ.
    """

    members: tuple[GenomeRows, ...]
    rows_per_turn: tuple[int, ...]
    seed: int
    bases: tuple[int, ...]
    _blocks: dict[int, _Plan] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, positions: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> Batch:
        """The rows at consecutive positions, see `TrainingRows`."""
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
        return batch_of_codes(codes, places, keys, rows, size=size, weight=weight, label=genomes)

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
    """A seed for one genome, so that genomes of equal size are not read in the same order."""
    return int(row_keys(seed, torch.tensor([number]))[0])
