"""Time grids for sampling: falling times that end at exactly 0, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    """Times sin(pi s / 2) on a linear grid s: short steps near 1, where few tokens are visible.

    Raises:
        ConfigError: if `num_steps` is below 1.

    Source: Shi et al. 2024 (arXiv:2406.04329), cosine sampling grid.
    """
    return torch.sin(math.pi / 2 * _fractions(num_steps))


def custom_grid(times: Sequence[float]) -> Float64[Tensor, " T1"]:
    """The times of a list; a final 0 is added if it is missing.

    Raises:
        ConfigError: if the times do not fall from at most 1 to 0.
    """
    values = [*times] if times and times[-1] == 0 else [*times, 0.0]
    grid = torch.tensor(values, dtype=torch.float64)
    check_times(grid)
    return grid


def holding_grid(
    num_steps: int, *, begin: float = 0.55, end: float = 0.05, hold: float = 0.1
) -> Float64[Tensor, " T1"]:
    """Fall to the time `hold`, stay there, then fall to 0, with equal steps in each fall.

    The stay takes the fraction begin - end of the steps, in which a rule that reopens tokens
    corrects what it wrote.

    Args:
        num_steps: steps in total.
        begin: fraction of the steps that remain when the stay begins.
        end: fraction of the steps that remain when it ends.
        hold: the time of the stay; at 0.1, 90 % of the tokens are visible (log-linear schedule).

    Raises:
        ConfigError: if a number is out of range.

    Source: the loop strategy of Wang et al. 2025 (arXiv:2503.00307), section 4.2.
    """
    if not 0.0 < end <= begin < 1.0 or not 0.0 < hold < 1.0:
        raise ConfigError(
            f"sampler.begin, sampler.end and sampler.hold must satisfy 0 < end <= begin < 1 and "
            f"0 < hold < 1, got begin={begin}, end={end}, hold={hold}"
        )
    share = _fractions(num_steps)
    falling = 1 - (1 - share) / (1 - begin) * (1 - hold)
    finishing = share / end * hold
    return torch.where(share > begin, falling, torch.where(share > end, hold, finishing))


def check_times(times: Float64[Tensor, " T1"], *, may_wait: bool = False) -> None:
    """Refuse times that do not fall from at most 1 to exactly 0.

    Args:
        times: the grid.
        may_wait: a time may be repeated.

    Raises:
        ConfigError: if they do not fall, or if there is no step.
    """
    steps = times.diff()
    falls = bool(((steps <= 0) if may_wait else (steps < 0)).all())
    if len(times) < 2 or times[0] > 1 or times[-1] != 0 or not falls:
        raise ConfigError(
            "sampling times must fall strictly from at most 1 to exactly 0 in at least one step, "
            f"got {[float(time) for time in times]}"
        )


def _fractions(num_steps: int) -> Float64[Tensor, " T1"]:
    if num_steps < 1:
        raise ConfigError(f"sampler.num_steps must be at least 1, got {num_steps}")
    return torch.arange(num_steps, -1, -1, dtype=torch.float64) / num_steps
