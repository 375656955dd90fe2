"""The times of samplers: a grid from a few settings, or none where a rule has its own clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float64
from torch import Tensor

from dnamdlm.diffusion.grids import cosine_grid, custom_grid, linear_grid
from dnamdlm.errors import ConfigError

GRIDS = {"linear": linear_grid, "cosine": cosine_grid}
Grid = Literal["linear", "cosine"]


def grid_times(
    num_steps: int, grid: Grid, time_points: Sequence[float] | None = None
) -> Float64[Tensor, " T1"]:
    """Decreasing times from 1 to 0.

    Args:
        num_steps: number of steps.
        grid: spacing of the steps in time, 'linear' or 'cosine'.
        time_points: decreasing times from at most 1, in place of the other two.

    Raises:
        ConfigError: for fewer steps than 1, an unknown grid, or times that do not decrease.
    """
    if num_steps < 1:
        raise ConfigError(f"sampler.num_steps={num_steps} must be at least 1")
    if grid not in GRIDS:
        raise ConfigError(f"sampler.grid={grid} is unknown; choose {', '.join(GRIDS)}")
    return GRIDS[grid](num_steps) if time_points is None else custom_grid(time_points)


@dataclass(frozen=True)
class OnGrid:
    """What samplers have in common that follow a grid of times.

    Attributes:
        num_steps: steps from all masked to none.
        grid: spacing of the steps in time, 'linear' or 'cosine'.
        time_points: decreasing times from at most 1, in place of num_steps and grid.
    """

    num_steps: int = 128
    grid: Grid = "linear"
    time_points: Sequence[float] | None = None

    def __post_init__(self) -> None:
        self.times()

    @property
    def steps(self) -> int:
        """Steps of the grid."""
        return len(self.times()) - 1

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0."""
        return grid_times(self.num_steps, self.grid, self.time_points)


class OwnClock:
    """What samplers have in common whose rule ignores the grid of times."""

    @property
    def steps(self) -> None:
        """Depends on the sequence."""
        return

    def times(self) -> Float64[Tensor, " T1"]:
        """From 1 to 0 in one step."""
        return linear_grid(1)
