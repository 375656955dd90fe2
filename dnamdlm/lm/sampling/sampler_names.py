"""Samplers as a user gives them: a name, a step rule, or a sampler."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace

from jaxtyping import Float64
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.samplers import (
    AnalyticSampler,
    AncestralSampler,
    BlockSampler,
    ConfidenceSampler,
    EntropyBoundedSampler,
    FirstHittingSampler,
    LeftToRightSampler,
    RemaskSampler,
    RenoiseSampler,
    Sampler,
    SemiAutoregressiveSampler,
)
from dnamdlm.lm.sampling.time_grids import Grid, grid_times

SAMPLERS = {
    sampler.name: sampler
    for sampler in (
        AnalyticSampler,
        AncestralSampler,
        BlockSampler,
        ConfidenceSampler,
        EntropyBoundedSampler,
        FirstHittingSampler,
        LeftToRightSampler,
        RemaskSampler,
        RenoiseSampler,
        SemiAutoregressiveSampler,
    )
}
"""Samplers by the name that `sampler=` gives them."""


@dataclass(frozen=True)
class StepRuleSampler:
    """A step rule as a sampler.

    Attributes:
        step_rule: the rule.
        num_steps: steps from all masked to none, of a rule that follows a grid of times.
        grid: spacing of the steps in time, 'linear' or 'cosine'.
    """

    step_rule: StepRule
    num_steps: int = 128
    grid: Grid = "linear"

    def __post_init__(self) -> None:
        self.times()

    @property
    def name(self) -> str:
        """Name of the class of the rule."""
        return type(self.step_rule).__name__

    @property
    def steps(self) -> int | None:
        """Steps of the grid; None for a rule with its own clock."""
        return self.num_steps if self.step_rule.is_paced else None

    def rule(self, choice: Choice) -> StepRule:
        """The rule, which draws tokens as `choice` says.

        Raises:
            ConfigError: if tokens are to be drawn in another way and the rule has no `choice`.
        """
        rule = self.step_rule
        if choice == UNCHANGED:
            return rule
        if not is_dataclass(rule) or "choice" not in {field.name for field in fields(rule)}:
            raise ConfigError(
                f"temperature, top_p and top_k have no effect on {self.name}, which is not a "
                "dataclass with a field `choice`; leave them out, or add the field"
            )
        return replace(rule, choice=choice)

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0."""
        return grid_times(self.num_steps, self.grid)


def as_sampler(value: object) -> Sampler:
    """The sampler that a user means.

    Args:
        value: a name as in `sampler=NAME`, for the sampler with its default settings; a
            `StepRule`, which runs in 128 steps or on its own clock; or a sampler, which is
            returned.

    Raises:
        ConfigError: for an unknown name, or anything else.

    Example:
        >>> as_sampler("first_hitting")
        FirstHittingSampler()
        >>> from dnamdlm.diffusion.confidence import SurestFirst
        >>> as_sampler(SurestFirst("margin")).steps
        128
    """
    if isinstance(value, str):
        if value not in SAMPLERS:
            raise ConfigError(f"sampler={value} is unknown; choose one of {', '.join(SAMPLERS)}")
        return SAMPLERS[value]()
    if isinstance(value, StepRule):
        return StepRuleSampler(value)
    if isinstance(value, type) or not isinstance(value, Sampler):
        what = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise ConfigError(
            f"sampler must be a name ({', '.join(SAMPLERS)}), a StepRule or a sampler, got {what}"
        )
    return value
