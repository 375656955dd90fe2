"""Figures of fine-tuned models: confusion matrices, reliability curves, predicted numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from dnamdlm.reporting.drawing import BASELINE, EXTRA, INK, OURS, REFERENCE, drawn

_MAP = LinearSegmentedColormap.from_list("ours", ["#eef4fa", "#1f6fb3"])
_MAX_NUMBERED = 12
_MAX_DRAWN = 2000
_COLORS = (OURS, REFERENCE, BASELINE, EXTRA, INK)


@drawn
def confusion_figure(
    matrices: Mapping[str, Sequence[Sequence[int]]], names: Sequence[str]
) -> tuple[str, Figure]:
    """A matrix per predictor, rows by true class, as shares of each row.

    Args:
        matrices: predictor -> counts (C, C), summed over splits.
        names: of the C classes.
    """
    size = 2.3 if len(names) <= 4 else 3.2
    figure = Figure(figsize=(size * len(matrices) + 1.0, size + 0.7), layout="constrained")
    grid = figure.subplots(1, len(matrices), squeeze=False)[0]
    is_long = max(map(len, names)) > 3
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if is_long else {}
    for axes, (label, counts) in zip(grid, matrices.items(), strict=True):
        table = np.asarray(counts, float)
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap=_MAP, vmin=0, vmax=1)
        if len(table) <= _MAX_NUMBERED:
            for row, column in np.ndindex(*table.shape):
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{100 * share:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=9.0,
                    # text on a cell has the colour that the cell needs, in both themes.
                    color="#ffffff" if share > 0.6 else "#10202e",
                )
        axes.set_title(label, fontsize=10.0)
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_yticks(range(len(names)), names if axes is grid[0] else [])
        axes.set_xlabel("predicted class")
        axes.tick_params(labelsize=8.5, length=0)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    grid[0].set_ylabel("true class")
    return "confusion", figure


@drawn
def reliability_figure(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, Figure]:
    """How often predictions are right against how sure they are; below, how many there are.

    Args:
        curves: predictor -> bins with the mean confidence, the accuracy and the count.
    """
    figure = Figure(figsize=(5.0, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1.0]})
    upper.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for (label, bins), color in zip(curves.items(), _COLORS, strict=False):
        used = [item for item in bins if item["count"]]
        sure = [item["confidence"] for item in used]
        upper.plot(
            sure,
            [item["accuracy"] for item in used],
            color=color,
            marker="o",
            markersize=4.0,
            label=label,
        )
        total = sum(item["count"] for item in used)
        lower.plot(
            sure, [item["count"] / total for item in used], color=color, marker="o", markersize=3.0
        )
    lowest = min(item["confidence"] for bins in curves.values() for item in bins if item["count"])
    upper.set_xlim(max(lowest - 0.05, 0), 1.02)
    upper.set_ylim(0, 1.04)
    upper.set_ylabel("share of right predictions")
    upper.legend(loc="lower right")
    lower.set_ylabel("share of rows")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("probability of the predicted class")
    return "reliability", figure


@drawn
def numbers_figure(
    points: Mapping[str, Sequence[tuple[float, float]]], notes: Mapping[str, str], name: str
) -> tuple[str, Figure]:
    """Predicted against measured numbers of the test rows, one panel per predictor.

    Args:
        points: predictor -> (measured, predicted) of each row.
        notes: predictor -> its figure with an interval, below the name.
        name: of the number.
    """
    figure = Figure(figsize=(3.1 * len(points) + 0.5, 3.7), layout="constrained")
    grid = figure.subplots(1, len(points), squeeze=False, sharex=True, sharey=True)[0]
    measured = np.concatenate([np.asarray(rows, float)[:, 0] for rows in points.values()])
    ends = [float(measured.min()), float(measured.max())]
    for axes, (label, rows), color in zip(grid, points.items(), _repeated(), strict=False):
        table = np.asarray(rows, float)
        axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
        axes.plot(
            table[:, 0],
            table[:, 1],
            color=color,
            marker="o",
            markersize=2.2,
            linestyle="none",
            alpha=0.5,
            rasterized=len(table) > _MAX_DRAWN,
        )
        axes.set_title(f"{label}\n{notes[label]}", fontsize=9.5)
        axes.set_xlabel(f"measured {name}")
    grid[0].set_ylabel(f"predicted {name}")
    return "numbers", figure


def _repeated() -> Iterator[str]:
    return itertools.cycle(_COLORS)
