"""From a pool of draws that pass to the designs: all of them, tilted, or the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.rewards.tilting import effective_size, systematic_places, tilted_shares


@dataclass(frozen=True)
class Selection:
    """Which draws of a pool are the designs.

    Attributes:
        places: of the designs in the pool, (n,); a place may occur several times.
        distribution: what the designs are draws from, for people.
        effective: how many independent draws the weights are worth; None without weights.
        log_mean_weight: log of the mean of exp(r / a) over the pool, an estimate of log Z with
            Z = E[exp(r / a)] under the model and the constraints; None without weights.
    """

    places: NDArray[np.int64]
    distribution: str
    effective: float | None = None
    log_mean_weight: float | None = None


def selected(rewards: NDArray[np.float64], settings: DesignSettings) -> Selection:
    """Choose designs by their rewards as the settings say.

    Args:
        rewards: of the pool, (M,).
        settings: of `design`.
    """
    count = settings.num_sequences
    model = "the model given the template, motifs and constraints"
    if settings.select == "best":
        # equal rewards keep the order of the draws.
        order = np.argsort(-rewards, kind="stable")[:count]
        best = f"the {count:,} of highest reward among {len(rewards):,} draws from {model}"
        return Selection(order, f"{best}: a selection, not draws")
    if settings.temperature is None:
        return Selection(np.arange(count), f"draws from {model}; the reward chose none of them")
    scaled = rewards / settings.temperature
    shares = tilted_shares(rewards, settings.temperature)
    shift = float(np.random.default_rng([settings.seed, len(rewards)]).random())
    places = systematic_places(shares, count, shift)
    top = float(scaled.max())
    distribution = (
        f"draws resampled from {len(rewards):,} of {model}, with weights exp(reward / "
        f"{settings.temperature:g}); as the pool grows this becomes the tilted distribution"
    )
    log_mean = top + float(np.log(np.exp(scaled - top).mean()))
    return Selection(places, distribution, effective_size(shares), log_mean)
