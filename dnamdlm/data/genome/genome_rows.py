"""Training rows of one genome: which window, how far shifted, which strand.

Shapes: B windows, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.code_batches import batch_of_codes, reverse_complement, weight_of
from dnamdlm.data.genome.record_classes import RecordLabels
from dnamdlm.data.genome.windows import WindowSet
from dnamdlm.data.order import SampleOrder, in_blocks
from dnamdlm.data.stream import TrainingRows
from dnamdlm.diffusion.randomness import row_keys

_JITTER_STREAM, _STRAND_STREAM = 0, 1

Plan = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]
"""Offsets, whether the strand is turned, and noise keys."""


@dataclass(frozen=True)
class GenomeRows(TrainingRows):
    """Windows in the order of a `SampleOrder`; shift, strand and key depend on (seed, position).

    Attributes:
        windows: what to draw from.
        seed: of order, shift, strand and noise keys.
        jitter: move windows by up to half a length within their interval.
        reverse_complement: turn each row over with probability 1/2.
        soft_mask_weight: training weight of soft-masked bases; 1.0 gives `weight` None.
        labels: class of each record, or None without classes.
    """

    windows: WindowSet
    seed: int
    jitter: bool = True
    reverse_complement: bool = True
    soft_mask_weight: float = 1.0
    labels: RecordLabels | None = None
    _blocks: dict[int, Plan] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, positions: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> Batch:
        """The rows at consecutive positions, see `TrainingRows`."""
        starts, is_turned, keys = in_blocks(self.plan, positions, self._blocks)
        codes = self.cut(starts, is_turned)
        weight = None
        if self.soft_mask_weight != 1.0:
            weight = weight_of(codes, self.soft_mask_weight)
        label = None if self.labels is None else self.labels.at(starts)
        return batch_of_codes(codes, starts, keys, rows, size=size, weight=weight, label=label)

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
        codes = self.windows.codes(starts)
        if self.reverse_complement:
            turned = np.flatnonzero(is_turned)
            codes[turned] = reverse_complement(codes[turned])
        return codes
