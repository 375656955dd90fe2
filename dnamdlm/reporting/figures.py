"""Figures of the report as inline SVG that follows the page's light or dark colours.

Colours are placeholders while matplotlib draws; they become CSS variables in the text of the SVG,
so that one drawing serves both themes. Text is drawn as outlines: it looks alike on any machine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# placeholder in the drawing -> CSS variable of the page.
_INK, _GRID = "#010203", "#040506"
OURS, REFERENCE, FLOOR, EXTRA = "#2f7fc1", "#3a9d6e", "#d9822b", "#8a6fc0"
_VARIABLES = {
    _INK: "var(--ink)",
    _GRID: "var(--line)",
    OURS: "var(--ours)",
    REFERENCE: "var(--reference)",
    FLOOR: "var(--floor)",
    EXTRA: "var(--extra)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "font.size": 10.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}
# more points than this are stored as an image inside the SVG.
_MAX_VECTOR_POINTS = 300


def training_curve(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    lines: Mapping[str, float],
    *,
    x_label: str,
) -> str:
    """Bits per base during training.

    Args:
        train: x and bits per base of training batches, noisy.
        valid: x and bits per base on the validation split.
        lines: label -> bits per base of baselines on the validation split.
        x_label: what x counts.
    """
    with _style("training"):
        figure, axes = _new(5.6, 3.4)
        smooth = smoothed(train[1])
        if len(smooth):
            axes.plot(*train, color=OURS, alpha=0.25, linewidth=0.7)
            axes.plot(train[0], smooth, color=OURS, linewidth=1.4, label="training, smoothed")
        if len(valid[1]):
            axes.plot(*valid, color=REFERENCE, marker="o", markersize=3.5, label="validation")
        for (label, bits), style in zip(lines.items(), ("--", ":", "-."), strict=False):
            axes.axhline(bits, color=FLOOR, linestyle=style, linewidth=1.3, label=label)
        shown = np.concatenate([smooth[len(smooth) // 20 :], valid[1], [*lines.values()]])
        if len(shown):
            low, high = float(shown.min()), float(np.percentile(shown, 98))
            margin = 0.08 * max(high - low, 0.005)
            axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel(x_label)
        axes.set_ylabel("bits per base")
        axes.legend(loc="upper right")
        return _svg(figure)


def smoothed(values: np.ndarray) -> np.ndarray:
    """Running mean over about a twentieth of the curve, at least 5 points; same length."""
    width = min(max(5, len(values) // 20), len(values))
    if width < 2:
        return values
    totals = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (totals[ends] - totals[starts]) / (ends - starts)


def kmer_scatter(k: int, spectrum: Mapping[str, Any]) -> str:
    """Frequency of each word among generated sequences against held-out sequence."""
    with _style(f"kmer{k}"):
        figure, axes = _new(3.4, 3.3)
        x, y = (1000 * np.asarray(spectrum[name], float) for name in ("heldout", "generated"))
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
            axes.plot(ends, ends, color=_INK, linewidth=0.8, alpha=0.7)
            axes.set_xlim(*ends)
            axes.set_ylim(*ends)
        axes.set_title(f"k = {k}", fontsize=10.0)
        axes.set_xlabel("per 1,000 words, held-out")
        axes.set_ylabel("per 1,000 words, generated")
        axes.minorticks_off()
        _few_log_ticks(axes)
        return _svg(figure)


def gc_histogram(edges: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> str:
    """Distribution of the GC share per sequence, one outline per sample."""
    with _style("gc"):
        figure, axes = _new(5.6, 3.0)
        for row, color in zip(rows, (OURS, REFERENCE, FLOOR, EXTRA), strict=False):
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
        # room above the bars, so that the legend covers none of them.
        axes.set_ylim(top=1.5 * axes.get_ylim()[1])
        axes.legend(loc="upper right")
        return _svg(figure)


def _style(salt: str) -> AbstractContextManager[None]:
    """Settings for one drawing; ids inside it depend on `salt`, so that drawings share none."""
    return mpl.rc_context({**_STYLE, "svg.hashsalt": salt})


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _few_log_ticks(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, or fewer of them, as plain numbers."""
    low, high = axes.get_xlim()
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = np.array([digit * power for power in powers for digit in digits])
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= 5:
            break
    labels = [f"{tick:.3f}".rstrip("0").rstrip(".") for tick in ticks]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)


def _svg(figure: Figure) -> str:
    """The drawing as an <svg> element without fixed size, colours replaced by CSS variables."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="svg", transparent=True, dpi=150, metadata={"Date": None, "Creator": None}
    )
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    return text
