"""Figures of scores as leaderboards take them: one long CSV file, or the folders of TraitGym."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from dnamdlm.evaluation.resampling import Estimate

_METRIC_FOLDERS = {
    "AUPRC": "AUPRC",
    "AUPRC by chromosome": "AUPRC_by_chrom_weighted_average",
}
_NORMAL = 1.96
# scores of the model begin with their sign, reference scores have none.
_SIGNS = {"minus": ("", "minus"), "absolute": ("abs", "plus")}


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
    """Files in the layout of TraitGym, one for each score and each figure that it has.

    A score of both strands is that of the model, `MODEL_LLR.minus.score.csv` or
    `MODEL_absLLR.plus.score.csv`; of one strand the model is called MODEL-one or MODEL-other.
    """
    for score, figures in found.items():
        name, file = _entry(model, score)
        for figure, value in figures.items():
            if figure not in _METRIC_FOLDERS:
                continue
            path = folder / suite / _METRIC_FOLDERS[figure] / subset
            path.mkdir(parents=True, exist_ok=True)
            error = (value.high - value.low) / (2 * _NORMAL)
            with (path / f"{file}.score.csv").open("w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(("model", "metric", "score", "se"))
                writer.writerow((name, path.parent.name, value.value, error))


def _entry(model: str, score: str) -> tuple[str, str]:
    """Name of the model, and of the file without its end.

    >>> _entry("demo", "absolute llr, both"), _entry("demo", "no CpG transition")
    (('demo', 'demo_absLLR.plus'), ('no_CpG_transition', 'no_CpG_transition.plus'))
    """
    sign, _, rest = score.partition(" ")
    if sign not in _SIGNS:
        name = score.replace(" ", "_")
        return name, f"{name}.plus"
    kind, _, strand = rest.partition(", ")
    name = model if strand == "both" else f"{model}-{strand}"
    before, direction = _SIGNS[sign]
    return name, f"{name}_{before}{kind.upper()}.{direction}"


def model_name(model: str) -> str:
    """Last part of a path, as it stands in a leaderboard."""
    return Path(model).name


def dataset_name(suite: str, table: Path) -> str:
    """The folder of the table, whose name is that of the set in TraitGym; else the suite."""
    return table.parent.name if suite.startswith("traitgym") else suite
