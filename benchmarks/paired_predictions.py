"""How much one predictor of `finetune` is ahead of another on the same test rows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import DataError
from dnamdlm.evaluation.correlations import pearson
from dnamdlm.evaluation.resampling import Estimate, interval, resampled_rows

_REPEATS = 1000


def read_predictions(split: Path, column: str) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the test rows, and target and prediction of each (N, 2).

    Args:
        split: a folder of `splits` in a run of `finetune`.
        column: name of the numbers that it predicts.
    """
    with (split / "predictions.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    numbers = [(float(row["target"]), float(row[f"value_{column}"])) for row in rows]
    return [row["name"] for row in rows], np.array(numbers)


def lead(first: Path, second: Path, column: str) -> Estimate:
    """Pearson's r of the first less that of the second, both on the same resamples of rows.

    Args:
        first: folder of a split.
        second: folder of another one, of the same test rows.
        column: name of the numbers that both predict.

    Raises:
        DataError: if they were tested on other rows.
    """
    names, ours = read_predictions(first, column)
    others, theirs = read_predictions(second, column)
    if names != others:
        raise DataError(f"{first} and {second} have other test rows; compare runs of one table")

    def difference(rows: NDArray[np.int64]) -> float:
        return pearson(*ours[rows].T) - pearson(*theirs[rows].T)

    everything = np.arange(len(names))
    draws = resampled_rows([everything], np.random.default_rng(0), _REPEATS)
    return Estimate(difference(everything), *interval(np.array([difference(d) for d in draws])))
