"""How the time t of each row is drawn for training.

A sampler is a pure map from one uniform number per row to t, so that the same row of the same step
gets the same time however the global batch is divided over ranks and accumulation steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class TimeSampler(Protocol):
    """Turns uniform numbers into times whose average law is U(0, 1)."""

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """Times in (0, 1].

        Args:
            u: independent uniforms in (0, 1).
            row: place of each row in the global batch, in [0, global_size).
            global_size: rows of the global batch, over all ranks and accumulation steps.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """Independent times."""

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """The uniforms themselves."""
        return u


@dataclass(frozen=True)
class Stratified:
    """One time in each of `global_size` equal strata, which lowers the variance of the loss.

    Source: the low-discrepancy sampler of Kingma et al. 2021 (arXiv:2107.00630), with a separate
    offset in each stratum and the strata spread over the global batch.
    """

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """Time (row + u) / global_size."""
        return (row + u) / global_size
