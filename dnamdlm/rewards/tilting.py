"""Draws from p(x) to draws from p(x) exp(r(x) / a): importance weights and resampling.

The pool holds M draws from p. A finite pool makes the result approximate: what p never drew is
never chosen, and the bias vanishes as 1 / M. The effective size says how many independent draws the
weights are worth.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.diffusion.population import systematic_ancestors
from dnamdlm.errors import ConfigError


def tilted_shares(rewards: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Normalised weights exp(r / a) / sum exp(r / a), float64 (M,).

    Args:
        rewards: finite (M,), M at least 1.
        temperature: a, in the unit of the rewards, above 0.

    Raises:
        ConfigError: for a temperature that is not above 0.

    >>> tilted_shares(np.log([1.0, 2.0, 5.0]), 1.0).round(3).tolist()
    [0.125, 0.25, 0.625]
    """
    if not temperature > 0:
        raise ConfigError(f"temperature={temperature} must be above 0")
    weights = np.exp((rewards - rewards.max()) / temperature)
    return weights / weights.sum()


def effective_size(shares: NDArray[np.float64]) -> float:
    """1 / sum w^2 of normalised weights: M for equal ones, 1 where one has everything.

    Source: Kong, Liu and Wong 1994.
    """
    return float(1.0 / np.square(shares).sum())


def systematic_places(shares: NDArray[np.float64], count: int, shift: float) -> NDArray[np.int64]:
    """Indices of `count` resampled draws, int64 (count,), in the order of the pool.

    Draw i is taken floor(count w_i) times or once more, and count w_i times in the mean over
    `shift`, which is uniform on [0, 1): an unbiased scheme for every weight.

    Args:
        shares: normalised weights (M,).
        count: how many are wanted.
        shift: the one random number.

    >>> systematic_places(np.array([0.1, 0.6, 0.3]), 5, 0.25).tolist()
    [0, 1, 1, 1, 2]
    """
    log_weights = torch.from_numpy(shares).double().log()[None]
    shifts = torch.tensor([shift], dtype=torch.float64)
    return systematic_ancestors(log_weights, shifts, count)[0].numpy()
