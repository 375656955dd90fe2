"""How the time t of each row is drawn for training.

A sampler is a pure map from one uniform number per row to t, so that a row of a step gets the same
time however the global batch is divided over ranks and accumulation steps. A sampler with a `warp`
draws times from another density; `draw_times` gives t and the density by which a loss is divided to
keep its expectation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.errors import ConfigError


@runtime_checkable
class TimeSampler(Protocol):
    """Maps uniform numbers to times that are U(0, 1) on average over the batch."""

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """Times in (0, 1].

        Args:
            u: independent uniforms in (0, 1).
            row: index of each row in the global batch, in [0, global_size).
            global_size: rows of the global batch, over all ranks and accumulation steps.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """Independent times."""

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """The uniform numbers themselves."""
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


@runtime_checkable
class WarpedTimeSampler(TimeSampler, Protocol):
    """A time sampler whose density depends on the noise schedule."""

    def warp(
        self, place: Float[Tensor, " B"], schedule: Schedule
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Times t, and the factor that the loss at t is divided by.

        Args:
            place: numbers in (0, 1) that are uniform on average over the batch.
            schedule: the noise schedule.
        """
        ...


def draw_times(
    sampler: TimeSampler,
    schedule: Schedule,
    u: Float[Tensor, " B"],
    row: Int[Tensor, " B"],
    global_size: int,
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Times, and the density by which a loss is divided so that its expectation over t is kept.

    Args:
        sampler: how times are drawn.
        schedule: the noise schedule, which warped samplers need.
        u: independent uniforms in (0, 1).
        row: index of each row in the global batch.
        global_size: rows of the global batch.
    """
    place = sampler(u, row, global_size)
    if isinstance(sampler, WarpedTimeSampler):
        return sampler.warp(place, schedule)
    return place, torch.ones_like(place)


def log_uniform(
    place: Float[Tensor, " B"], lowest: float, highest: float
) -> tuple[Float[Tensor, " B"], float]:
    """Mask probabilities whose logarithm is uniform, and the length of the range of logarithms.

    Args:
        place: numbers in (0, 1) that are uniform on average over the batch.
        lowest: smallest mask probability, above 0.
        highest: largest mask probability.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), code of the paper, option change_of_variables.
    """
    length = math.log(highest / lowest)
    return lowest * torch.exp(place * length), length


@dataclass(frozen=True)
class Importance:
    """Stratified times with a density proportional to the weight of the bound.

    The logarithm of the mask probability is uniform, so that the loss has the same weight at every
    time. Below `lowest` the density of the mask probability is constant: the range extends to
    nothing masked, and the loss keeps its expectation. Without this tail the sampler is that of
    mdlm, whose bound lacks the part below `lowest`.

    Attributes:
        lowest: mask probability at which the logarithmic part begins; mdlm uses 9.995e-4, which is
            1 - exp(-0.001).
        tail: draw times below `lowest` too.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), code of the paper, option importance_sampling.
    """

    lowest: float = 1e-3
    tail: bool = True

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 < self.lowest < 1.0:
            raise ConfigError(f"times.lowest must lie in (0, 1), got {self.lowest}")

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """Stratified uniforms, which `warp` turns into times."""
        return (row + u) / global_size

    def warp(
        self, place: Float[Tensor, " B"], schedule: Schedule
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Times, and their density with respect to t."""
        first = 1 - schedule.alpha(torch.zeros_like(place))
        highest = 1 - schedule.alpha(torch.ones_like(place))
        start = first.clamp(min=self.lowest)
        # the density in the mask probability is c / max(probability, start).
        tail = (start - first) / start if self.tail else torch.zeros_like(start)
        c = 1 / (tail + (highest / start).log())
        low = first + place / c * start
        high = start * torch.exp(place / c - tail)
        hidden = torch.where(place < c * tail, low, high)
        hidden_density = c / hidden.clamp(min=start)
        t = schedule.time_of(1 - torch.minimum(hidden, highest))
        return t, hidden_density * -schedule.alpha_rate(t)


@dataclass(frozen=True)
class Clipped:
    """Stratified times at which the mask probability is uniform in [lowest, highest].

    Sequences with few or nearly all tokens masked teach little and add variance. The loss is the
    mean of the integrand of the bound over the range, not the bound; likelihoods do not use this
    sampler.

    Attributes:
        lowest: smallest mask probability, in [0, highest).
        highest: largest mask probability, at most 1.

    Source: Arriola et al. 2025 (arXiv:2503.09573), clipped schedules.
    """

    lowest: float = 0.3
    highest: float = 0.8

    def __post_init__(self) -> None:
        """Check the range."""
        if not (0.0 <= self.lowest < self.highest <= 1.0 and math.isfinite(self.highest)):
            raise ConfigError(
                "times.lowest and times.highest must satisfy 0 <= lowest < highest <= 1, "
                f"got {self.lowest} and {self.highest}"
            )

    def __call__(
        self, u: Float[Tensor, " B"], row: Int[Tensor, " B"], global_size: int
    ) -> Float[Tensor, " B"]:
        """Stratified uniforms, which `warp` turns into times."""
        return (row + u) / global_size

    def warp(
        self, place: Float[Tensor, " B"], schedule: Schedule
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Times, and the slope of the mask probability, proportional to their density."""
        hidden = self.lowest + (self.highest - self.lowest) * place
        t = schedule.time_of(1 - hidden)
        return t, -schedule.alpha_rate(t)
