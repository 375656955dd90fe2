"""What a network that is conditioned on time is told."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dnamdlm.diffusion.schedules import Schedule

# the conditioning value -log alpha is capped here, because alpha reaches 0 at t = 1.
MIN_CONDITIONING_ALPHA = 1e-4


def conditioning_value(schedule: Schedule, time: Float[Tensor, " B"] | None) -> Float[Tensor, " B"]:
    """-log alpha(t) in float32.

    Raises:
        ValueError: if there is no time.
    """
    if time is None:
        raise ValueError("this network is conditioned on time; give the time of every row")
    alpha = schedule.alpha(time.double())
    return -alpha.clamp(min=MIN_CONDITIONING_ALPHA).log().float()
