"""Editing: a sequence is noised to a level and denoised from there.

The level is the probability that a token is noise. A low level stays near the sequence, level 1
forgets it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from dnamdlm.diffusion.masking import mask_tokens
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.errors import ConfigError


def check_level(noise_level: float | int) -> float:
    """The level; a `ConfigError` if it lies outside (0, 1]."""
    if not 0.0 < noise_level <= 1.0:
        raise ConfigError(
            f"noise_level={noise_level} must lie in (0, 1]: the share of the bases that are noised"
        )
    return float(noise_level)


def level_times(
    schedule: Schedule, noise_level: float, times: Float64[Tensor, " T1"]
) -> Float64[Tensor, " T1"]:
    """A grid of times from 1, shrunk to begin where 1 - alpha is the level.

    Example:
        >>> from dnamdlm.diffusion.schedules import LogLinear
        >>> times = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
        >>> level_times(LogLinear(), 0.5, times).tolist()
        [0.5, 0.25, 0.0]
    """
    alpha = torch.tensor(1 - noise_level, dtype=torch.float64, device=times.device)
    return times * schedule.time_of(alpha).clamp(0, 1)


def masked_to_level(
    tokens: Int[Tensor, "B L"],
    keys: Int[Tensor, " B"],
    noise_level: float,
    *,
    real_ids: tuple[int, ...],
    mask_id: int,
) -> Int[Tensor, "B L"]:
    """Sequences whose real tokens are masked with the probability of the level.

    Which are is a function of the key of each row.

    Args:
        tokens: ids; what is not a real token stays.
        keys: noise keys of the rows.
        noise_level: in (0, 1].
        real_ids: ids that may be masked.
        mask_id: id of the mask.
    """
    is_real = torch.isin(tokens, torch.tensor(real_ids, device=tokens.device))
    uniforms = RowNoise(keys).uniform(Stream.MASKS, 0, tokens.shape[1])
    level = torch.full((len(tokens),), noise_level, dtype=torch.float64, device=tokens.device)
    return mask_tokens(tokens, level, is_real, uniforms, mask_id=mask_id)
