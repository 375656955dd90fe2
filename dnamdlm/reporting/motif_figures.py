"""Figures of motifs: matches in generated against real sequence, and sequence logos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from dnamdlm.reporting.drawing import INK, OURS, drawn, new_figure

BASE_COLORS = {"A": "#2a8a5e", "C": "#1f6fb3", "G": "#c97a14", "T": "#b8403b"}
_LOGOS = 6


@drawn
def motif_scatter(motifs: Mapping[str, Any]) -> tuple[str, Figure]:
    """Matches per 1,000 bases of each motif, generated against reference."""
    figure, axes = new_figure(3.8, 3.6)
    rates = motifs["per_kilobase"]
    x, y = (np.asarray(rates[name], float) for name in ("reference", "generated"))
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=3.6,
        alpha=0.55,
        color=OURS,
        markeredgewidth=0,
    )
    top = 1.08 * max(x.max(), y.max(), 1e-9)
    axes.plot([0, top], [0, top], color=INK, linewidth=0.8, alpha=0.7)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_xlabel("matches per 1,000 bases, real")
    axes.set_ylabel("matches per 1,000 bases, generated")
    axes.locator_params(nbins=5)
    return "motifs", figure


@drawn
def logo_figure(motifs: Sequence[Mapping[str, Any]]) -> tuple[str, Figure]:
    """Logos of the motifs whose matches differ most, with the ratio to real sequence."""
    shown = motifs[:_LOGOS]
    columns = 3
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(9.0, 1.75 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, motif in zip(grid.flat, shown, strict=False):
        draw_logo(axes, np.asarray(motif["counts"], float))
        fold = 2.0 ** motif["log2_fold"]["generated"]["value"]
        axes.set_title(f"{motif['name']}: {fold:.2f} x real", fontsize=9.5)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("bits")
    for axes in grid[-1]:
        axes.set_xlabel("position in the motif")
    return "logos", figure


def draw_logo(axes: Axes, counts: np.ndarray) -> None:
    """Letters stacked by their share of the information at each position.

    Args:
        axes: where to draw.
        counts: (width, 4) counts or shares of A, C, G, T.

    Source: Schneider and Stephens 1990, "Sequence logos", without the small-sample correction.
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    information = 2 + (shares * logs).sum(axis=1)
    for place, row in enumerate(shares * information[:, None]):
        bottom = 0.0
        for base in np.argsort(row, kind="stable").tolist():
            height = float(row[base])
            if height > 0.005:
                _letter(axes, "ACGT"[base], place + 0.5, bottom, height)
            bottom += height
    axes.set_xlim(0.5, len(shares) + 0.5)
    axes.set_ylim(0.0, 2.0)
    axes.set_yticks([0, 1, 2])
    axes.set_xticks(range(5, len(shares) + 1, 5))
    axes.tick_params(labelsize=8.5)
    axes.grid(visible=False)


def _letter(axes: Axes, base: str, left: float, bottom: float, height: float) -> None:
    """One letter that fills a box of width 1."""
    path = TextPath((0, 0), base, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    move = (
        Affine2D()
        .translate(-box.x0, -box.y0)
        .scale(0.94 / box.width, height / box.height)
        .translate(left + 0.03, bottom)
    )
    axes.add_patch(PathPatch(path.transformed(move), color=BASE_COLORS[base], linewidth=0))
