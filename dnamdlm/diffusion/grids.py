"""Time grids for sampling: decreasing times from exactly 1 to exactly 0, in float64."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from dnamdlm.errors import ConfigError


def linear_grid(num_steps: int) -> Float64[Tensor, " T1"]:
    """`num_steps` steps of equal length; the result has num_steps + 1 times.

    Raises:
        ConfigError: if `num_steps` is below 1.
    """
    return _fractions(num_steps)


def cosine_grid(num_steps: int) -> Float64[Tensor, " T1"]:
    """Times sin(pi s / 2) on a linear grid s: short steps near 1, where little is known yet.

    Raises:
        ConfigError: if `num_steps` is below 1.

    Source: Shi et al. 2024 (arXiv:2406.04329), cosine sampling grid.
    """
    return torch.sin(math.pi / 2 * _fractions(num_steps))


def _fractions(num_steps: int) -> Float64[Tensor, " T1"]:
    if num_steps < 1:
        raise ConfigError(f"sampler.num_steps must be at least 1, got {num_steps}")
    return torch.arange(num_steps, -1, -1, dtype=torch.float64) / num_steps
