"""The `sampler` group of a config: a step rule with its time grid, as the user names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from jaxtyping import Float64
from torch import Tensor

from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.grids import cosine_grid, linear_grid
from dnamdlm.diffusion.steps import Ancestral, StepRule
from dnamdlm.errors import ConfigError

GRIDS = {"linear": linear_grid, "cosine": cosine_grid}


class Sampler(Protocol):
    """What a sampler setting gives to `MaskedDiffusionLM.generate`."""

    name: str

    @property
    def num_steps(self) -> int:
        """Steps of the reverse process."""
        ...

    def rule(self, *, temperature: float, top_p: float) -> StepRule:
        """The step rule, sharpened as asked."""
        ...

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0."""
        ...


@dataclass(frozen=True)
class AncestralSampler:
    """The reverse process itself (Sahoo et al. 2024, arXiv:2406.07524, eq. 6).

    Attributes:
        num_steps: steps from all masked to none.
        grid: spacing of the steps in time, 'linear' or 'cosine'.
    """

    num_steps: int = 256
    grid: Literal["linear", "cosine"] = "linear"
    name = "ancestral"

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ConfigError(f"sampler.num_steps={self.num_steps} must be at least 1")
        if self.grid not in GRIDS:
            raise ConfigError(f"sampler.grid={self.grid} is unknown; choose {', '.join(GRIDS)}")

    def rule(self, *, temperature: float, top_p: float) -> StepRule:
        """Reveal each hidden token independently."""
        return Ancestral(Choice(temperature=temperature, top_p=top_p))

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0."""
        return GRIDS[self.grid](self.num_steps)
