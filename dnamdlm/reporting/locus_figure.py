"""The picture of a locus: bits per base along it, and genes below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dnamdlm.data.annotation import Feature
from dnamdlm.data.intervals import Interval
from dnamdlm.evaluation.locus import smoothed_bits
from dnamdlm.reporting.drawing import FLOOR, GRID, INK, OURS, REFERENCE, drawn

_POINTS_ACROSS = 160
_MAX_POINTS = 4000


@drawn
def locus_figure(
    where: Interval,
    tracks: Mapping[str, np.ndarray],
    features: Sequence[Feature],
    *,
    markov_label: str,
    place: str,
) -> tuple[str, Figure]:
    """Smoothed bits per base of the model and of the Markov model, and coding exons by strand.

    Args:
        where: the locus.
        tracks: "model" and, if there is one, "markov", (n,) bits per base.
        features: genes and coding exons that overlap it.
        markov_label: name of the Markov model.
        place: the split that the locus lies in.
    """
    width = max(1, round(len(where) / _POINTS_ACROSS))
    figure = Figure(figsize=(9.0, 3.6 if features else 2.9), layout="constrained")
    ratios = [4.2, 1.0] if features else [1.0]
    rows = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )[:, 0]
    axes: Axes = rows[0]
    places = where.start + np.arange(len(where))
    step = max(1, len(where) // _MAX_POINTS)
    styles = {"markov": (FLOOR, 1.1, markov_label), "model": (OURS, 1.5, "This model")}
    for name, (color, weight, label) in styles.items():
        if name in tracks:
            smooth = smoothed_bits(tracks[name], width)
            axes.plot(places[::step], smooth[::step], color=color, linewidth=weight, label=label)
    axes.axhline(2.0, color=INK, linewidth=0.8, linestyle=":", alpha=0.7)
    # room above the curves, so that the legend covers none of them.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.22 * (high - low))
    axes.set_xlim(where.start, where.end)
    axes.set_ylabel(f"bits per base\n(mean of {width} bp)" if width > 1 else "bits per base")
    axes.legend(loc="upper right", ncols=2)
    axes.set_title(f"{where.chrom}:{where.start:,}-{where.end:,}, {place}", fontsize=10.0)
    if features:
        _draw_features(rows[1], features, where)
    rows[-1].set_xlabel(f"position on {where.chrom}, bp")
    rows[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return "locus", figure


def _draw_features(axes: Axes, features: Sequence[Feature], where: Interval) -> None:
    """Genes as lines, coding exons as boxes; forward strand above."""
    for item in features:
        low, high = max(item.interval.start, where.start), min(item.interval.end, where.end)
        forward = item.interval.strand != "-"
        middle, color = (1.0, REFERENCE) if forward else (0.0, OURS)
        if item.kind == "gene":
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
