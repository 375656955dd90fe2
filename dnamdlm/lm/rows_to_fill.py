"""What a generation hands to the reverse process of some rows, in any masked diffusion model.

Shapes: B sequences, L positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.network_calls import NetworkCalls


@dataclass(frozen=True)
class RowsToFill:
    """Rows of a generation; see `MaskedDiffusionLM.generate`.

    Attributes:
        noise: of each row.
        initial: ids to start from.
        constraints: tokens that masks may become, or None.
        fill: masks that are filled; None is all.
        aligned: templates, see `Batch.aligned`; None is none.
    """

    noise: RowNoise
    initial: Int[Tensor, "B L"]
    constraints: Constraints | None
    fill: Bool[Tensor, "B L"] | None
    aligned: Int[Tensor, "B L"] | None = None

    def select(self, rows: Int[Tensor, " b"]) -> RowsToFill:
        """Some of the rows."""
        return RowsToFill(
            self.noise.select(rows),
            self.initial[rows],
            None if self.constraints is None else self.constraints.select(rows),
            None if self.fill is None else self.fill[rows],
            None if self.aligned is None else self.aligned[rows],
        )


@dataclass(frozen=True)
class HowToFill:
    """What all rows of a generation share; see `MaskedDiffusionLM.generate`.

    Attributes:
        calls: calls the network, and counts.
        rule: step rule.
        times: time grid.
        guidance: a class or numbers to steer towards, or None.
        watch: called after each step with the number of tokens just filled, or None.
        steering: populations, or None.
    """

    calls: NetworkCalls
    rule: StepRule
    times: Float64[Tensor, " T1"]
    guidance: Guidance | None
    watch: Callable[[int], None] | None
    steering: Steering | None
