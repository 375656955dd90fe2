"""Figures of designs that were made in several ways, and the rows of their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.design_runs import Runs
from benchmarks.results_table import Cell
from dnamdlm.assembly.design.audits import Audit
from dnamdlm.assembly.design.baseline_draws import Compared
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.natural_sequences import Natural
from dnamdlm.evaluation.tasks.kmer_oracle import KmerOracle
from dnamdlm.rewards.reward import CountedReward, Reward

_FIGURES = (
    "reward_mean", "reward_above_99", "reward_above_99.9", "audit_mean", "audit_above_99",
    "audit_above_99.9", "audit_shuffled", "network_mean",
    "network_above_99", "network_shuffled", "pair_distance", "nearest_identity", "bits_per_base",
    "gc", "network_calls", "reward_sequences", "seconds",
)  # fmt: skip
COLUMNS = (
    "sequences by", "reward", "> 99 %", "> 99.9 %", "audit", "> 99 %", "> 99.9 %",
    "letters in random order", "network audit", "> 99 %", "letters in random order",
    "pair distance", "nearest natural (identity)",
    "bits per base", "GC", "network calls", "rewards", "seconds",
)  # fmt: skip


def figures(
    runs: Runs, made: Mapping[str, tuple[Compared, float]], reward: Reward, audit: KmerOracle,
    seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row of figures for each way."""
    rows = runs.halves.design
    names = [f"row_{number + 1}" for number in range(len(rows))]
    natural = Natural("design half", names, rows.texts, rows.values)
    settings = DesignSettings("x", "x", "x", baselines=False, seed=seed, natural="x")
    judge = Audit(runs.numbers, settings, {"reward": reward, "audit": audit}, natural)
    (first, (own, _)), *others = made.items()
    columns = {"reward": CountedReward(reward).batch(own.sequences).tolist()}
    found = judge.compared(
        columns | judge.columns(own.sequences), own, {name: item for name, (item, _) in others}
    )
    for row, (name, (_, seconds)) in zip(found, made.items(), strict=True):
        row |= {"name": name, "seconds": seconds}
    assert found[0]["name"] == first
    return found


def table_rows(seeds: Sequence[dict[str, Any]]) -> list[tuple[Cell, ...]]:
    """Mean over the seeds of each figure, with the standard deviation of the seeds."""
    rows: list[tuple[Cell, ...]] = []
    for number, row in enumerate(seeds[0]["rows"]):
        cells: list[Cell] = [row["name"]]
        for key in _FIGURES:
            values = [float(one["rows"][number].get(key, np.nan)) for one in seeds]
            values = [value for value in values if np.isfinite(value)]
            if not values or (key in _FIGURES[-3:] and not any(values)):
                cells.append(None)
                continue
            digits = 0 if key in _FIGURES[-3:] else 3
            spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
            shown = f"{np.mean(values):,.{digits}f}"
            cells.append(shown if digits == 0 else f"{shown} +- {spread:.{digits}f}")
        rows.append(tuple(cells))
    return rows
