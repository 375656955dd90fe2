"""Draws of the model that designs are compared with: without the reward, guided, rejected.

All of them pass the constraints. Rejection may make as many network calls as the designs took, and
accepts a draw with probability exp((r - r_max) / a), where r_max is the best of these draws: the
true maximum is not known, so that what is accepted follows the tilted distribution only as far as
these draws reach.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnamdlm.assembly.design.candidates import Pool
from dnamdlm.assembly.design.design_draws import Drawing
from dnamdlm.assembly.sample.generating import Generation
from dnamdlm.errors import DataError
from dnamdlm.rewards.reward import CountedReward

logger = logging.getLogger(__name__)

PLAIN, GUIDED = "draws that pass, no reward", "guidance alone, no reward"
REJECTED = "rejection sampling"


@dataclass(frozen=True)
class Compared:
    """Sequences that came about otherwise, and what they took.

    Attributes:
        sequences: at least one.
        network_calls: of the network, per sequence of a batch.
        rewards: sequences that the reward read to choose them.
    """

    sequences: Sequence[str]
    network_calls: int = 0
    rewards: int = 0


def accepted(rewards: ArrayLike, temperature: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws that rejection sampling accepts, int64 (n,), at least the best one.

    Args:
        rewards: of the draws, (M,).
        temperature: a in exp(reward / a).
        rng: one uniform number for each draw.

    >>> rng = np.random.default_rng(0)
    >>> accepted([1.0, 2.0, 2.0, -50.0], 0.5, rng).tolist()
    [1, 2]
    """
    values = np.asarray(rewards, dtype=np.float64)
    return np.flatnonzero(rng.random(len(values)) < np.exp((values - values.max()) / temperature))


def drawn_baselines(
    drawing: Drawing, run: Generation, pool: Pool, reward: CountedReward
) -> dict[str, Compared]:
    """Name -> draws; none where the reward does not choose, for the designs are such draws then.

    Args:
        drawing: how designs are drawn.
        run: that of the designs.
        pool: what it gave.
        reward: of the designs, which reads the draws that are to be accepted.
    """
    settings = drawing.settings
    count = settings.num_sequences
    if not settings.chooses:
        return {}
    found: dict[str, Compared] = {}
    own = PLAIN if drawing.guidance is None else GUIDED
    if run.steering is None:
        share = (pool.numbers[count - 1] + 1) / pool.draws
        found[own] = Compared(pool.sequences[:count], round(run.network_calls * share))
        candidates = Compared(pool.sequences, run.network_calls)
    elif settings.baselines:
        candidates = _as_many_calls(drawing, run.network_calls)
        if candidates is None:
            return {}
        share = min(1.0, count / len(candidates.sequences))
        calls = round(candidates.network_calls * share)
        found[own] = Compared(candidates.sequences[:count], calls)
    else:
        return {}
    if settings.temperature is not None and settings.baselines:
        values = reward.batch(candidates.sequences)
        rng = np.random.default_rng([settings.seed, len(values), 1])
        taken: set[int] = set(accepted(values, settings.temperature, rng)[:count].tolist())
        kept = [text for place, text in enumerate(candidates.sequences) if place in taken]
        found[REJECTED] = Compared(kept, candidates.network_calls, len(values))
    if drawing.guidance is not None and settings.baselines:
        unguided = _draws(replace(drawing, guidance=None), count)
        found |= {} if unguided is None else {PLAIN: unguided}
    return found


def _as_many_calls(drawing: Drawing, network_calls: int) -> Compared | None:
    """Draws without the reward that take about as many calls as given, and enough to compare."""
    count = drawing.settings.num_sequences
    first = _draws(drawing, count)
    if first is None:
        return None
    wanted = int(network_calls / max(first.network_calls / count, 1))
    return first if wanted <= count else _draws(drawing, wanted) or first


def _draws(drawing: Drawing, count: int) -> Compared | None:
    """Draws without the reward that pass; None where too few do."""
    run = drawing.generation(None)
    try:
        pool = drawing.pool(run, count)
    except DataError as error:
        logger.warning("nothing is compared without the reward: %s", error)
        return None
    return Compared(pool.sequences, run.network_calls)
