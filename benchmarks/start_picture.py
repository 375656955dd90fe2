"""The mean dependency map around starts, and below it the influence of each position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.start_maps import ORIGIN, SHINE_DALGARNO, StartMaps

_REGIONS: Sequence[tuple[str, range, str]] = (
    ("start codon", range(3), "#c92a2a"),
    ("Shine-Dalgarno region", SHINE_DALGARNO, "#d9822b"),
)
_OTHER, _BOTH = "#9aa3ab", "#1c2126"
_BOXES: Sequence[tuple[str, range, range, str, tuple[float, float]]] = (
    ("start codon", range(3), range(3), _REGIONS[0][2], (8, -2)),
    (
        "Shine-Dalgarno region", SHINE_DALGARNO, SHINE_DALGARNO, _REGIONS[1][2], (-5, -21),
    ),
    ("start codon and\nShine-Dalgarno region", range(3), SHINE_DALGARNO, _BOTH, (8, -14)),
)  # fmt: skip
"""Text, columns, rows and colour of a box, and where the text begins."""
_TICKS = range(-24, 28, 6)


def drawn_maps(maps: StartMaps) -> Figure:
    """The picture of the mean over all stretches."""
    figure = Figure(figsize=(7.4, 8.6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3.4, 1), sharex=True)
    size = maps.norms.shape[1]
    mean = maps.norms.mean(0)
    # the diagonal holds no pairs.
    np.fill_diagonal(mean, np.nan)
    first, last = -ORIGIN - 0.5, size - ORIGIN - 0.5
    image = above.imshow(mean, cmap="Blues", extent=(first, last, last, first), vmin=0)
    figure.colorbar(image, ax=above, label="dependency, nats (mean of genes)", shrink=0.9)
    for name, across, down, color, at in _BOXES:
        corner = across.start - 0.5, down.start - 0.5
        above.add_patch(
            Rectangle(
                corner, len(across), len(down), fill=False, edgecolor=color, linewidth=1.8,
                linestyle="-" if across == down else "--",
            )
        )  # fmt: skip
        above.annotate(
            name, (corner[0] + len(across), corner[1]), at, color=color, va="center",
            arrowprops={"arrowstyle": "-", "color": color},
        )  # fmt: skip
    above.set(
        ylabel="bases from the start", xticks=_TICKS, yticks=_TICKS,
        title=f"Mean dependency map around the starts of {len(maps.texts)} held-out genes",
    )  # fmt: skip
    above.tick_params(labelbottom=True)
    _draw_influences(below, maps)
    return figure


def _draw_influences(axes: Axes, maps: StartMaps) -> None:
    """Bars of the mean influence of each position, with the two regions in their colours."""
    positions = np.arange(maps.influences.shape[1]) - ORIGIN
    heights = maps.influences.mean(0)
    axes.bar(positions, heights, color=_OTHER, width=0.85, label="other positions")
    for name, places, color in _REGIONS:
        is_here = np.isin(positions, places)
        axes.bar(positions[is_here], heights[is_here], color=color, width=0.85, label=name)
    axes.set(xlabel="bases from the start (0 is its first base)",
             ylabel="influence of an\nexchange, nats")  # fmt: skip
    axes.grid(axis="y", color="#d8dde2")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.2)
    axes.legend(loc="upper right", ncols=3, frameon=False, fontsize=8.5)
