"""Noise schedules: the probability alpha(t) that a token is still visible at time t.

Time t runs from 0 (clean) to 1 (masked); alpha falls monotonically. A training bound is exact only
where alpha(0) = 1 and alpha(1) = 0, which is the default wherever the family allows it. A positive
`floor` reproduces the schedules of the original mdlm code (floor = 1e-3), whose bound is too low by
the part of the integral beyond the largest mask probability.

Every method maps elementwise and keeps the dtype of its argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dnamdlm.errors import ConfigError

_HALF_PI = math.pi / 2


@runtime_checkable
class Schedule(Protocol):
    """A noise schedule: the probability of being visible, its slope and its inverse."""

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability that a token is visible at time t."""
        ...

    def alpha_rate(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha with respect to t; never positive."""
        ...

    def time_of(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which `alpha` is reached; the inverse of `alpha`."""
        ...


def nelbo_weight(schedule: Schedule, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Factor of the masked cross-entropy at time t: -alpha'(t) / (1 - alpha(t)).

    Zero where alpha(t) is 1 to machine precision: nothing is masked there, and an infinite factor
    would turn the zero gradient of the visible tokens into nan.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 11.
    """
    mask_probability = 1 - schedule.alpha(t)
    possible = mask_probability > 0
    safe = torch.where(possible, mask_probability, 1.0)
    return torch.where(possible, -schedule.alpha_rate(t) / safe, 0.0)


@dataclass(frozen=True)
class LogLinear:
    """alpha(t) = 1 - (1 - floor) t: tokens are masked at a constant rate.

    Attributes:
        floor: alpha at time 1, in [0, 1); the likelihood bound is exact for 0.

    Example:
        >>> import torch
        >>> from dnamdlm.diffusion import LogLinear, nelbo_weight
        >>> schedule, t = LogLinear(), torch.tensor([0.1, 0.5, 1.0])
        >>> schedule.alpha(t)
        tensor([0.9000, 0.5000, 0.0000])
        >>> nelbo_weight(schedule, t)
        tensor([10.0000,  2.0000,  1.0000])
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        """Check the floor."""
        _check_floor(self.floor)

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability that a token is visible at time t."""
        return 1 - (1 - self.floor) * t

    def alpha_rate(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha: the constant floor - 1."""
        return torch.full_like(t, self.floor - 1)

    def time_of(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which `alpha` is reached."""
        return (1 - alpha) / (1 - self.floor)


@dataclass(frozen=True)
class Cosine:
    """alpha(t) = floor + (1 - floor) cos(pi t / 2): slow at first, fast at the end."""

    floor: float = 0.0

    def __post_init__(self) -> None:
        """Check the floor."""
        _check_floor(self.floor)

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability that a token is visible at time t."""
        # the sine of the complement is exactly 0 at t = 1; cos(pi / 2) is not.
        return self.floor + (1 - self.floor) * torch.sin(_HALF_PI * (1 - t))

    def alpha_rate(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha."""
        return -(1 - self.floor) * _HALF_PI * torch.sin(_HALF_PI * t)

    def time_of(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which `alpha` is reached."""
        return torch.acos((alpha - self.floor) / (1 - self.floor)) / _HALF_PI


@dataclass(frozen=True)
class CosineSquared:
    """alpha(t) = floor + (1 - floor) cos(pi t / 2)^2: slow at both ends."""

    floor: float = 0.0

    def __post_init__(self) -> None:
        """Check the floor."""
        _check_floor(self.floor)

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability that a token is visible at time t."""
        return self.floor + (1 - self.floor) * torch.sin(_HALF_PI * (1 - t)).square()

    def alpha_rate(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha."""
        product = torch.sin(_HALF_PI * t) * torch.sin(_HALF_PI * (1 - t))
        return -(1 - self.floor) * math.pi * product

    def time_of(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which `alpha` is reached."""
        return torch.acos(((alpha - self.floor) / (1 - self.floor)).sqrt()) / _HALF_PI


@dataclass(frozen=True)
class Linear:
    """alpha = exp(-sigma) with sigma linear in t, from sigma_min to sigma_max.

    The end points are exp(-sigma_min) and exp(-sigma_max); a large sigma_max comes close to 0.
    """

    sigma_min: float = 0.0
    sigma_max: float = 10.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 <= self.sigma_min < self.sigma_max < math.inf:
            raise ConfigError(_range_message(self.sigma_min, self.sigma_max, "0 <="))

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability that a token is visible at time t."""
        return torch.exp(-self.sigma_min - (self.sigma_max - self.sigma_min) * t)

    def alpha_rate(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha."""
        return -(self.sigma_max - self.sigma_min) * self.alpha(t)

    def time_of(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which `alpha` is reached."""
        return (-alpha.log() - self.sigma_min) / (self.sigma_max - self.sigma_min)


@dataclass(frozen=True)
class Geometric:
    """alpha = exp(-sigma) with sigma = sigma_min^(1 - t) sigma_max^t.

    The end points are exp(-sigma_min) and exp(-sigma_max), as in the original code, whose default
    sigma_max = 1 leaves 37 % of the tokens visible at t = 1.
    """

    sigma_min: float = 1e-3
    sigma_max: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 < self.sigma_min < self.sigma_max < math.inf:
            raise ConfigError(_range_message(self.sigma_min, self.sigma_max, "0 <"))

    def _sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability that a token is visible at time t."""
        return torch.exp(-self._sigma(t))

    def alpha_rate(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha."""
        sigma = self._sigma(t)
        return -math.log(self.sigma_max / self.sigma_min) * sigma * torch.exp(-sigma)

    def time_of(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which `alpha` is reached."""
        ratio = -alpha.log() / self.sigma_min
        return ratio.log() / math.log(self.sigma_max / self.sigma_min)


def _check_floor(floor: float) -> None:
    if not 0.0 <= floor < 1.0:
        raise ConfigError(f"noise.floor must lie in [0, 1), got {floor}")


def _range_message(sigma_min: float, sigma_max: float, lower: str) -> str:
    return (
        f"noise.sigma_min and noise.sigma_max must satisfy {lower} sigma_min < sigma_max < inf, "
        f"got {sigma_min} and {sigma_max}"
    )
