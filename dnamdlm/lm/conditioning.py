"""The time input of a network: -log alpha(t), one number per sequence."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dnamdlm.diffusion.schedules import Schedule

# alpha is kept at or above this, because it reaches 0 at t = 1 and its logarithm does not.
MIN_CONDITIONING_ALPHA = 1e-4


def conditioning_value(schedule: Schedule, time: Float[Tensor, " B"] | None) -> Float[Tensor, " B"]:
    """-log alpha(t) in float32.

    Raises:
        ValueError: if `time` is None.
    """
    if time is None:
        raise ValueError("this network is conditioned on time; give the time of every row")
    alpha = schedule.alpha(time.double())
    return -alpha.clamp(min=MIN_CONDITIONING_ALPHA).log().float()
