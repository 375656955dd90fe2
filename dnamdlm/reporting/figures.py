"""Figures of a training run: the curve, words of generated sequences, their GC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dnamdlm.reporting.drawing import (
    BASELINE,
    EXTRA,
    INK,
    OURS,
    REFERENCE,
    drawn,
    few_log_ticks,
    new_figure,
)

# more points than this are stored as an image inside the SVG.
_MAX_VECTOR_POINTS = 300


@drawn
def training_curve(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    lines: Mapping[str, float],
    *,
    x_label: str,
    y_label: str = "bits per base",
) -> tuple[str, Figure]:
    """Bits per base during training.

    Args:
        train: x and bits per base of training batches, noisy.
        valid: x and bits per base on the validation split.
        lines: label -> bits per base of baselines on the validation split.
        x_label: what x counts.
        y_label: what is read off the curves.
    """
    figure, axes = new_figure(5.6, 3.4)
    smooth = smoothed(train[1])
    if len(smooth):
        axes.plot(*train, color=OURS, alpha=0.25, linewidth=0.7)
        axes.plot(train[0], smooth, color=OURS, linewidth=1.4, label="training, smoothed")
    if len(valid[1]):
        axes.plot(*valid, color=REFERENCE, marker="o", markersize=3.5, label="validation")
    for (label, bits), style in zip(lines.items(), ("--", ":", "-."), strict=False):
        axes.axhline(bits, color=BASELINE, linestyle=style, linewidth=1.3, label=label)
    shown = np.concatenate([smooth[len(smooth) // 20 :], valid[1], [*lines.values()]])
    if len(shown):
        low, high = float(shown.min()), float(np.percentile(shown, 98))
        extent = max(high - low, 0.005)
        # space above the curves, so that the legend covers none of them.
        axes.set_ylim(low - 0.08 * extent, high + 0.5 * extent)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(loc="upper right")
    return "training", figure


def smoothed(values: np.ndarray) -> np.ndarray:
    """Running mean over about a twentieth of the curve, at least 5 points; same length."""
    width = min(max(5, len(values) // 20), len(values))
    if width < 2:
        return values
    totals = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (totals[ends] - totals[starts]) / (ends - starts)


@drawn
def kmer_scatter(k: int, shares: Mapping[str, Any]) -> tuple[str, Figure]:
    """Share of each word among generated sequences against real sequence.

    Args:
        k: bases of a word.
        shares: `reference` and `generated`, one share for each word.
    """
    figure, axes = new_figure(3.4, 3.3)
    x, y = (1000 * np.asarray(shares[name], float) for name in ("reference", "generated"))
    seen = (x > 0) & (y > 0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(
        x[seen],
        y[seen],
        linestyle="none",
        marker="o",
        markersize=3.2 if k < 5 else 2.0,
        markeredgewidth=0,
        alpha=0.6 if k < 5 else 0.35,
        color=OURS,
        rasterized=len(x) > _MAX_VECTOR_POINTS,
    )
    both = np.concatenate([x[seen], y[seen]])
    if len(both):
        ends = [both.min() * 0.85, both.max() * 1.15]
        axes.plot(ends, ends, color=INK, linewidth=0.8, alpha=0.7)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
    axes.set_title(f"k = {k}", fontsize=10.0)
    axes.set_xlabel("per 1,000 words, real")
    axes.set_ylabel("per 1,000 words, generated")
    axes.minorticks_off()
    few_log_ticks(axes)
    return f"kmer{k}", figure


@drawn
def gc_histogram(edges: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> tuple[str, Figure]:
    """Distribution of the GC share per sequence, one outline per sample."""
    figure, axes = new_figure(5.6, 3.0)
    for row, color in zip(rows, (OURS, REFERENCE, BASELINE, EXTRA), strict=False):
        shares = np.asarray(row["counts"], float) / max(sum(row["counts"]), 1)
        is_ours = row["name"] == "generated"
        if is_ours:
            axes.stairs(shares, edges, color=color, fill=True, alpha=0.25)
        axes.stairs(
            shares, edges, color=color, linewidth=1.8 if is_ours else 1.3, label=row["label"]
        )
    used = np.flatnonzero(np.sum([row["counts"] for row in rows], axis=0))
    if len(used):
        axes.set_xlim(edges[max(used[0] - 1, 0)], edges[min(used[-1] + 2, len(edges) - 1)])
    axes.set_xlabel("share of G and C in a sequence")
    axes.set_ylabel("share of sequences")
    # space above the bars, so that the legend covers none of them.
    axes.set_ylim(top=1.5 * axes.get_ylim()[1])
    axes.legend(loc="upper right")
    return "gc", figure
