"""Figures of predictions: accuracy, MCC, F1, AUROC, regression scores, and bootstrap intervals.

All figures are of the whole set at once, never means over batches. Outputs are logits for `classes`
and `labels`, and numbers for `regression`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from dnamdlm.data.labelled import Kind
from dnamdlm.errors import ConfigError

METRICS: dict[Kind, tuple[str, ...]] = {
    "classes": ("accuracy", "mcc", "f1", "auroc"),
    "labels": ("accuracy", "f1", "auroc"),
    "regression": ("r2", "pearson", "spearman", "mse"),
}
"""Figures of each kind of task; larger is better but for mse. F1 is that of the second class of
two, else the mean over classes. Accuracy of `labels` is that of single labels."""


def check_metric(kind: Kind, metric: str) -> None:
    """Raise ConfigError unless the kind of task has this figure."""
    if metric not in METRICS[kind]:
        raise ConfigError(
            f"data.metric={metric} does not exist for {kind}; choose {', '.join(METRICS[kind])}"
        )


def probabilities(kind: Kind, outputs: NDArray) -> NDArray[np.float64]:
    """Softmax of classes, logistic function of labels, numbers as they are; shape (N, C)."""
    outputs = np.asarray(outputs, dtype=np.float64)
    if kind == "regression":
        return outputs
    if kind == "labels":
        return 0.5 * (1 + np.tanh(outputs / 2))
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def figures(kind: Kind, targets: NDArray, outputs: NDArray) -> dict[str, float]:
    """All figures of a set of predictions; nan where a figure is not defined.

    Args:
        kind: of the task.
        targets: as in `dnamdlm.data.labelled`.
        outputs: shape (N, C).
    """
    if not len(targets):
        return dict.fromkeys(METRICS[kind], math.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        if kind == "classes":
            return _of_classes(targets, probabilities(kind, outputs))
        if kind == "labels":
            return _of_labels(targets, probabilities(kind, outputs))
        return _of_numbers(targets, np.asarray(outputs, dtype=np.float64))


def bootstrap(
    kind: Kind, targets: NDArray, outputs: NDArray, *, repeats: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of 95 % over resampled rows of the set.

    Args:
        kind: of the task.
        targets: of N rows.
        outputs: of the same rows.
        repeats: resamples; 0 gives no interval.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in METRICS[kind]}
    for _ in range(repeats if len(targets) else 0):
        rows = rng.integers(0, len(targets), size=len(targets))
        for name, value in figures(kind, targets[rows], outputs[rows]).items():
            draws[name].append(value)
    intervals = {}
    for name, values in draws.items():
        known = [value for value in values if not math.isnan(value)]
        if known:
            low, high = np.quantile(known, (0.025, 0.975))
            intervals[name] = (float(low), float(high))
    return intervals


def summary(values: Mapping[int, float]) -> dict[str, float]:
    """Mean and largest minus smallest over seeds, as papers report them, and the deviation."""
    numbers = np.array(list(values.values()), dtype=np.float64)
    return {
        "mean": float(numbers.mean()),
        "max_minus_min": float(numbers.max() - numbers.min()),
        "standard_deviation": float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan,
    }


def confusion(targets: NDArray, outputs: NDArray) -> NDArray[np.int64]:
    """Rows by true class (first axis) and predicted class, shape (C, C)."""
    num_classes = outputs.shape[1]
    found = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(found, (targets, outputs.argmax(axis=1)), 1)
    return found


def _of_classes(targets: NDArray, shares: NDArray) -> dict[str, float]:
    guesses = shares.argmax(axis=1)
    two = shares.shape[1] == 2
    is_complete = len(np.unique(targets)) == shares.shape[1]
    auroc = math.nan
    if is_complete:
        auroc = float(
            metrics.roc_auc_score(targets, shares[:, 1])
            if two
            else metrics.roc_auc_score(targets, shares, multi_class="ovr", average="macro")
        )
    return {
        "accuracy": float((guesses == targets).mean()),
        "mcc": float(metrics.matthews_corrcoef(targets, guesses)),
        "f1": float(
            metrics.f1_score(targets, guesses, average="binary" if two else "macro",
                             zero_division=0.0)
        ),
        "auroc": auroc,
    }  # fmt: skip


def _of_labels(targets: NDArray, shares: NDArray) -> dict[str, float]:
    guesses = shares > 0.5
    mixed = (targets.min(axis=0) == 0) & (targets.max(axis=0) == 1)
    auroc = math.nan
    if mixed.any():
        auroc = float(
            np.mean([metrics.roc_auc_score(targets[:, i], shares[:, i])
                     for i in np.flatnonzero(mixed)])
        )  # fmt: skip
    return {
        "accuracy": float((guesses == (targets > 0.5)).mean()),
        "f1": float(metrics.f1_score(targets > 0.5, guesses, average="macro", zero_division=0.0)),
        "auroc": auroc,
    }


def _of_numbers(targets: NDArray, outputs: NDArray) -> dict[str, float]:
    from scipy import stats

    columns = range(targets.shape[1])
    varies = [i for i in columns if np.ptp(targets[:, i]) > 0 and np.ptp(outputs[:, i]) > 0]
    pairs = [(targets[:, i], outputs[:, i]) for i in varies]
    return {
        "r2": float(metrics.r2_score(targets, outputs)) if len(targets) > 1 else math.nan,
        "pearson": _mean([float(stats.pearsonr(a, b).statistic) for a, b in pairs]),
        "spearman": _mean([float(stats.spearmanr(a, b).statistic) for a, b in pairs]),
        "mse": float(((targets - outputs) ** 2).mean()),
    }


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
