"""Figures of scores as leaderboards take them: one long CSV file, or the folders of TraitGym."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from dnamdlm.evaluation.resampling import Estimate

_METRIC_FOLDERS = {"AUPRC by chromosome": "AUPRC_by_chrom_weighted_average"}
_NORMAL = 1.96
# scores of the model begin with their sign, reference scores have none.
_SIGNS = ("minus", "absolute")


def write_leaderboard(
    path: Path, model: str, suite: str, found: Mapping[str, Mapping[str, Estimate]]
) -> None:
    """One line per score and figure: model, dataset, score, metric, value, low, high."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("model", "dataset", "score", "metric", "value", "low", "high"))
        for score, figures in found.items():
            for figure, value in figures.items():
                writer.writerow((model, suite, score, figure, value.value, value.low, value.high))


def write_leaderboard_files(
    folder: Path, model: str, suite: str, subset: str, found: Mapping[str, Mapping[str, Estimate]]
) -> None:
    """Files in the layout of TraitGym, one for each score and figure with a known name there."""
    for score, figures in found.items():
        sign, _, kind = score.partition(" ")
        is_ours = sign in _SIGNS
        file = f"{model}_{kind.replace(', ', '_')}.{sign}.score.csv" if is_ours else f"{score}.csv"
        name = model if is_ours else score
        for figure, value in figures.items():
            path = folder / suite / _METRIC_FOLDERS.get(figure, figure.replace(" ", "_")) / subset
            path.mkdir(parents=True, exist_ok=True)
            error = (value.high - value.low) / (2 * _NORMAL)
            with (path / file.replace(" ", "_")).open("w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(("model", "metric", "score", "se"))
                writer.writerow((name, path.parent.name, value.value, error))


def model_name(model: str) -> str:
    """Last part of a path, as it stands in a leaderboard."""
    return Path(model).name


def dataset_name(suite: str, table: Path) -> str:
    """The folder of the table, whose name is that of the set in TraitGym; else the suite."""
    return table.parent.name if suite.startswith("traitgym") else suite
