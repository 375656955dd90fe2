"""What designs took: draws, network calls, rewards, and what the selection is worth."""

from __future__ import annotations

from typing import Any

from dnamdlm.assembly.design.candidates import Pool
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.selecting import Selection
from dnamdlm.rewards.reward import CountedReward

# designs that have fewer independent draws behind them than this share are warned of.
_LEAST_SHARE = 0.5


def cost_of(
    pool: Pool,
    chosen: Selection,
    settings: DesignSettings,
    *,
    network_calls: int,
    reward: CountedReward,
    values: int = 0,
    seconds: float,
) -> dict[str, Any]:
    """What the designs took, for the report."""
    return {
        "designs": settings.num_sequences,
        "distinct": len(set(chosen.places.tolist())),
        "distribution": chosen.distribution,
        "pool": len(pool.sequences),
        "draws": pool.draws,
        "acceptance": pool.acceptance,
        "refused": pool.refused,
        "effective_size": chosen.effective,
        "log_mean_weight": chosen.log_mean_weight,
        "population": settings.population,
        "population_effective_size": chosen.members,
        "network_calls": network_calls,
        "reward_sequences": reward.sequences,
        "reward_calls": reward.calls,
        "value_sequences": values,
        "seconds": seconds,
        "warning": _warning(chosen, settings),
    }


def _warning(chosen: Selection, settings: DesignSettings) -> str:
    """What is wrong with a tilt that few draws carry; empty if nothing is."""
    if chosen.effective is None or chosen.effective >= _LEAST_SHARE * settings.num_sequences:
        return ""
    return (
        "few draws have nearly all of the weight, so the designs are far from independent draws of "
        "the tilted distribution; give a larger pool or a higher temperature"
    )
