"""Figures of predictions: accuracy, MCC, F1, AUROC, regression scores, and their intervals.

Every figure is computed on the whole set at once, never averaged over batches. Outputs are logits
for `classes` and `labels`, and numbers for `regression`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.labelled import Kind
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.auroc import auroc
from dnamdlm.evaluation.correlations import pearson, spearman
from dnamdlm.evaluation.resampling import interval, resampled_rows

METRICS: dict[Kind, tuple[str, ...]] = {
    "classes": ("accuracy", "mcc", "f1", "auroc"),
    "labels": ("accuracy", "f1", "auroc"),
    "regression": ("r2", "pearson", "spearman", "mse"),
}
"""Figures of each kind of task; larger is better, except for mse. F1 is that of the second class of
two, otherwise the mean over classes. Accuracy of `labels` is that of single labels."""


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
        targets: as in `dnamdlm.data.tasks.labelled`.
        outputs: shape (N, C).
    """
    if not len(targets):
        return dict.fromkeys(METRICS[kind], math.nan)
    if kind == "classes":
        return _of_classes(targets, probabilities(kind, outputs))
    if kind == "labels":
        return _of_labels(targets > 0.5, probabilities(kind, outputs))
    return _of_numbers(targets, np.asarray(outputs, dtype=np.float64))


def figure_intervals(
    kind: Kind, targets: NDArray, outputs: NDArray, *, repeats: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals of 95 % of the figures that `figures` gives, rows being resampled.

    Args:
        kind: of the task.
        targets: of N rows.
        outputs: of the same rows.
        repeats: resamples; 0 gives no interval.
        seed: of the resampling.

    Returns:
        Figure -> (low, high), without figures that no resample defines.
    """
    rng = np.random.default_rng(seed)
    draws = [
        figures(kind, targets[rows], outputs[rows])
        for rows in resampled_rows([np.arange(len(targets))], rng, repeats)
        if len(rows)
    ]
    intervals = {
        name: interval(np.array([drawn[name] for drawn in draws])) for name in METRICS[kind]
    }
    return {name: found for name, found in intervals.items() if not math.isnan(found[0])}


def summary(values: Mapping[int, float]) -> dict[str, float]:
    """Mean, range and standard deviation over seeds."""
    numbers = np.array(list(values.values()), dtype=np.float64)
    return {
        "mean": float(numbers.mean()),
        "max_minus_min": float(numbers.max() - numbers.min()),
        "standard_deviation": float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan,
    }


def confusion(targets: NDArray, outputs: NDArray) -> NDArray[np.int64]:
    """Rows by true class (first axis) and predicted class, shape (C, C)."""
    num_classes = outputs.shape[1]
    cells = targets * num_classes + outputs.argmax(axis=1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def reliability(targets: NDArray, outputs: NDArray, bins: int = 10) -> list[dict[str, float | int]]:
    """Confidence and accuracy of the predicted class, in bins of equal width.

    Args:
        targets: true classes (N,).
        outputs: logits (N, C).
        bins: of the probability of the predicted class, from 0 to 1.

    Returns:
        For each bin `count` and, where it holds rows, mean `confidence` and `accuracy`.

    Source: Niculescu-Mizil and Caruana 2005, "Predicting good probabilities".
    """
    shares = probabilities("classes", outputs)
    sure, is_right = shares.max(axis=1), shares.argmax(axis=1) == targets
    places = np.minimum((sure * bins).astype(int), bins - 1)
    table: list[dict[str, float | int]] = []
    for place in range(bins):
        rows = places == place
        item: dict[str, float | int] = {"count": int(rows.sum())}
        if rows.any():
            item |= {
                "confidence": float(sure[rows].mean()),
                "accuracy": float(is_right[rows].mean()),
            }
        table.append(item)
    return table


def _of_classes(targets: NDArray, shares: NDArray) -> dict[str, float]:
    table = confusion(targets, shares).astype(np.float64)
    hits, true, found = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    total = table.sum()
    scores = _f1(hits, true, found)
    if len(table) == 2:
        f1 = float(scores[1])
        area = auroc(targets == 1, shares[:, 1])
    else:
        f1 = float(scores[(true + found) > 0].mean())
        area = float(np.mean([auroc(targets == i, shares[:, i]) for i in range(len(table))]))
    # Gorodkin 2004: the correlation of K classes from their confusion matrix.
    spread = (total**2 - (found**2).sum()) * (total**2 - (true**2).sum())
    mcc = (hits.sum() * total - (true * found).sum()) / math.sqrt(spread) if spread > 0 else 0.0
    return {"accuracy": float(hits.sum() / total), "mcc": float(mcc), "f1": f1, "auroc": area}


def _of_labels(targets: NDArray, shares: NDArray) -> dict[str, float]:
    guesses = shares > 0.5
    areas = [auroc(targets[:, i], shares[:, i]) for i in range(targets.shape[1])]
    scores = _f1((targets & guesses).sum(axis=0), targets.sum(axis=0), guesses.sum(axis=0))
    return {
        "accuracy": float((guesses == targets).mean()),
        "f1": float(scores.mean()),
        "auroc": _mean(_defined(areas)),
    }


def _of_numbers(targets: NDArray, outputs: NDArray) -> dict[str, float]:
    columns = range(targets.shape[1])
    pairs = [(targets[:, i], outputs[:, i]) for i in columns]
    spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    left = ((targets - outputs) ** 2).sum(axis=0)
    return {
        "r2": _mean([float(1 - left[i] / spread[i]) for i in columns if spread[i] > 0]),
        "pearson": _mean(_defined(pearson(a, b) for a, b in pairs)),
        "spearman": _mean(_defined(spearman(a, b) for a, b in pairs)),
        "mse": float(((targets - outputs) ** 2).mean()),
    }


def _f1(hits: NDArray, true: NDArray, found: NDArray) -> NDArray[np.float64]:
    """F1 of each class; 0 for a class without true or predicted rows."""
    return 2.0 * hits / np.maximum(true + found, 1)


def _defined(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
