"""From a pool of draws that pass to the designs: all of them, tilted, or the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.rewards.tilting import effective_size, systematic_places, tilted_shares


@dataclass(frozen=True)
class Steered:
    """The populations that a pool was drawn from.

    Attributes:
        log_z: log of the estimate of Z of the population of each draw that passes, (M,).
        log_z_of_all: the same of all draws, those that fail among them.
        effective: members that the weights of each of all draws amount to.
    """

    log_z: NDArray[np.float64]
    log_z_of_all: NDArray[np.float64]
    effective: NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """Which draws of a pool are the designs.

    Attributes:
        places: of the designs in the pool, (n,); a place may occur several times.
        distribution: what the designs are draws from, for people.
        effective: how many independent draws the weights are worth; None without weights.
        log_mean_weight: log of the mean of exp(r / a) over the pool, an estimate of log Z with
            Z = E[exp(r / a)] under the model and the constraints; of populations the log of the
            mean of their estimates over all draws, those that fail among them, with Z under the
            model and what is given; None without weights.
        members: how many members the weights of a population are worth, on average over all draws;
            None without populations.
    """

    places: NDArray[np.int64]
    distribution: str
    effective: float | None = None
    log_mean_weight: float | None = None
    members: float | None = None


def selected(
    rewards: NDArray[np.float64], settings: DesignSettings, steered: Steered | None = None
) -> Selection:
    """Choose designs by their rewards as the settings say.

    Args:
        rewards: of the pool, (M,).
        settings: of `design`.
        steered: the populations that the pool was drawn from; None without.
    """
    if steered is not None:
        return _of_populations(rewards, settings, steered)
    count = settings.num_sequences
    model = "the model given the template, motifs and constraints"
    if settings.select == "best":
        return Selection(*_best(rewards, count, f"draws from {model}"))
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


def _best(rewards: NDArray[np.float64], count: int, source: str) -> tuple[NDArray[np.int64], str]:
    """Places of the highest rewards; equal ones keep the order of the draws."""
    order = np.argsort(-rewards, kind="stable")[:count]
    best = f"the {count:,} of highest reward among {len(rewards):,} {source}"
    return order, f"{best}: a selection, not draws"


def _of_populations(
    rewards: NDArray[np.float64], settings: DesignSettings, steered: Steered
) -> Selection:
    """Designs from a pool in which each draw is from a population of its own."""
    count, size = settings.num_sequences, len(rewards)
    tilt = f", tilted by exp(reward / {settings.temperature:g})" if settings.temperature else ""
    held = " and steered to the constraints" if settings.constraints == "steer" else ""
    model = (
        f"the model given the template and motifs{tilt}{held} with populations of "
        f"{settings.population:,}, that pass"
    )
    top = float(steered.log_z_of_all.max())
    log_mean = top + float(np.log(np.exp(steered.log_z_of_all - top).mean()))
    figures = {"log_mean_weight": log_mean, "members": float(steered.effective.mean())}
    if settings.select == "best":
        return Selection(*_best(rewards, count, f"draws from {model}"), **figures)
    if size == count:
        text = f"draws from {model}; exact as the populations grow, with a bias of order 1 / K"
        return Selection(np.arange(count), text, **figures)
    # each draw counts with the estimate of Z of its population, which takes the bias away.
    shares = tilted_shares(steered.log_z, 1.0)
    shift = float(np.random.default_rng([settings.seed, size]).random())
    text = (
        f"draws resampled from {size:,} of {model}, with the estimates of Z of their populations; "
        "exact as the pool grows"
    )
    places = systematic_places(shares, count, shift)
    return Selection(places, text, effective_size(shares), **figures)
