"""The time of each row in a reverse process: on a shared grid, or on a clock of its own.

The loop of `reverse` uses either clock in the same way.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.steps import Step, StepRule


class GridClock:
    """All rows move together along falling times; at time 0 alpha is taken as 1.

    Attributes:
        num_draws: steps after which every row is finished.
    """

    def __init__(self, schedule: Schedule, times: Float64[Tensor, " T1"], *, num_rows: int) -> None:
        self.times = times
        self.alpha = _alpha(schedule, times)
        self.num_rows = num_rows
        self.num_draws = len(times) - 1

    def alphas(self, draw: int) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
        """Probability that a token is visible before and after step `draw`, for all rows."""
        return self.alpha[draw].expand(self.num_rows), self.alpha[draw + 1].expand(self.num_rows)

    def time(self, step: Step, rows: Int[Tensor, " b"]) -> Float64[Tensor, " b"]:
        """Time for which the network is called: that at which the step starts."""
        return self.times[step.draw].repeat(len(rows))

    def after(self, draw: int, rows: Int[Tensor, " b"]) -> Float64[Tensor, " b"]:
        """Time of some rows after step `draw`."""
        return self.times[draw + 1].repeat(len(rows))

    def move(self, ancestors: Int[Tensor, " B"]) -> None:
        """Follow rows that were copied, all of which are at the same time."""


class RowClocks:
    """Each row has a clock that its rule advances at each call, which reveals a token or more.

    Attributes:
        num_draws: steps after which every row is finished.
    """

    def __init__(
        self,
        rule: StepRule,
        schedule: Schedule,
        times: Float64[Tensor, " T1"],
        free: Bool[Tensor, "B L"],
    ) -> None:
        self.rule, self.schedule = rule, schedule
        self.alpha = _alpha(schedule, times)[0].repeat(len(free))
        self.num_draws = int(free.sum(dim=-1).max()) if len(free) else 0

    def alphas(self, draw: int) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
        """The same at the last call of each row, twice: the end of the step is not known yet."""
        return self.alpha, self.alpha

    def time(self, step: Step, rows: Int[Tensor, " b"]) -> Float64[Tensor, " b"]:
        """Advance the clocks of the rows with `StepRule.next_alpha`, and read them."""
        self.alpha[rows] = self.rule.next_alpha(step)
        return self.schedule.time_of(self.alpha[rows]).clamp(0, 1)

    def after(self, draw: int, rows: Int[Tensor, " b"]) -> Float64[Tensor, " b"]:
        """Time of some rows at their last call; when they reveal the next token is not known."""
        del draw
        return self.schedule.time_of(self.alpha[rows]).clamp(0, 1)

    def move(self, ancestors: Int[Tensor, " B"]) -> None:
        """Follow rows that were copied: row i is now what row `ancestors[i]` was."""
        self.alpha = self.alpha[ancestors]


def clock_of(
    rule: StepRule, schedule: Schedule, times: Float64[Tensor, " T1"], free: Bool[Tensor, "B L"]
) -> GridClock | RowClocks:
    """The clock that a rule chooses with `is_paced`.

    Args:
        rule: the step rule.
        schedule: noise schedule.
        times: falling times; rows with clocks of their own start at the first.
        free: tokens to fill.
    """
    if rule.is_paced:
        return GridClock(schedule, times, num_rows=len(free))
    return RowClocks(rule, schedule, times, free)


def _alpha(schedule: Schedule, times: Float64[Tensor, " T1"]) -> Float64[Tensor, " T1"]:
    """Alpha at each time, 1 at time 0 even if the schedule starts below 1."""
    return torch.where(times > 0, schedule.alpha(times), 1.0)
