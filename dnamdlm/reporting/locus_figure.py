"""The picture of a locus: bits per base along it, and genes below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dnamdlm.reporting.drawing import BASELINE, GRID, INK, OURS, REFERENCE, drawn

_STYLES = {"markov": (BASELINE, 1.1), "model": (OURS, 1.5)}


@drawn
def locus_figure(record: Mapping[str, Any], *, name: str = "locus") -> tuple[str, Figure]:
    """Smoothed bits per base of the model and of the Markov model, and coding exons by strand.

    Args:
        record: see `dnamdlm.evaluation.likelihood.locus_bits.locus_record`.
        name: of the drawing.
    """
    features, width = record["features"], record["width"]
    figure = Figure(figsize=(9.0, 3.6 if features else 2.9), layout="constrained")
    ratios = [4.2, 1.0] if features else [1.0]
    rows = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )[:, 0]
    axes: Axes = rows[0]
    for key, (color, weight) in _STYLES.items():
        if key in record["tracks"]:
            track = record["tracks"][key]
            bits = [np.nan if value is None else value for value in track["bits"]]
            axes.plot(
                record["positions"], bits, color=color, linewidth=weight, label=track["label"]
            )
    axes.axhline(2.0, color=INK, linewidth=0.8, linestyle=":", alpha=0.7)
    # space above the curves, so that the legend covers none of them.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.22 * (high - low))
    axes.set_xlim(record["start"], record["end"])
    axes.set_ylabel(f"bits per base\n(mean of {width} bp)" if width > 1 else "bits per base")
    axes.legend(loc="upper right", ncols=2)
    axes.set_title(
        f"{record['chrom']}:{record['start']:,}-{record['end']:,}, {record['place']}", fontsize=10.0
    )
    if features:
        _draw_features(rows[1], features, record)
    rows[-1].set_xlabel(f"position on {record['chrom']}, bp")
    rows[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return name, figure


def _draw_features(
    axes: Axes, features: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> None:
    """Genes as lines, coding exons as boxes; forward strand above."""
    for item in features:
        low, high = max(item["start"], record["start"]), min(item["end"], record["end"])
        middle, color = (1.0, REFERENCE) if item["strand"] != "-" else (0.0, OURS)
        if item["kind"] == "gene":
            axes.plot([low, high], [middle, middle], color=color, linewidth=1.0)
        else:
            axes.add_patch(
                Rectangle((low, middle - 0.28), high - low, 0.56, color=color, linewidth=0)
            )
    axes.set_ylim(-0.6, 1.6)
    axes.set_yticks([0.0, 1.0], ["coding -", "coding +"])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x", color=GRID)
