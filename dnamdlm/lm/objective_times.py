"""Times of objectives, and the times and networks that some of them are not defined for.

Shapes: B sequences.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.times import WarpedTimeSampler, draw_times
from dnamdlm.errors import ConfigError
from dnamdlm.lm.noising import NoiseProcess


def training_times(
    process: NoiseProcess, batch: Batch
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Times, and the density that the loss is divided by."""
    u = RowNoise(batch.key).uniform(Stream.TIMES, 0)
    return draw_times(process.times, process.schedule, u, batch.row, batch.global_size)


def stratified_place(batch: Batch, draw: int, draws: int) -> Float[Tensor, " B"]:
    """One number per row, uniform within stratum `draw` of `draws` of (0, 1)."""
    return (RowNoise(batch.key).uniform(Stream.TIMES, draw) + draw) / draws


def refuse_time(process: NoiseProcess, name: str) -> None:
    """Refuse a network with time conditioning, for the objective of that name."""
    if process.sees_time:
        raise ConfigError(
            f"the objective {name} has no time for a network with time_conditioning=true; "
            "use backbone.time_conditioning=false"
        )


def refuse_warped(process: NoiseProcess, name: str) -> None:
    """Refuse times whose density would be part of the weight."""
    if isinstance(process.times, WarpedTimeSampler):
        raise ConfigError(
            f"times={type(process.times).__name__} does not suit the objective {name}; use "
            "times=stratified or times=uniform"
        )
