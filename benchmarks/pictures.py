"""Pictures of the stored tables of quality, each with its floors, for docs/benchmarks.md.

    python -m benchmarks.pictures [--out docs/benchmarks]

Nothing is measured here: every bar is a number of a table in `results/`. A bar begins at its floor,
which is what one gets without a model (of designs: the same letters in random order), so that its
length is what is gained or lost. An interval is that of the value, and knows nothing of the floor.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.picture_bars import Panel
from benchmarks.picture_curves import curves_of, drawn_curves
from benchmarks.picture_panels import PANELS

COLOURS = {"ours": "#2f7fc1", "simple": "#9aa3ab", "random": "#d9822b",
           "published": "#7a5ea8"}  # fmt: skip
MEANING = {
    "ours": "dnamdlm",
    "simple": "not pre-trained: counts, rules, CNN, mutation, real DNA",
    "random": "the same network with random weights",
    "published": "published by others, not run here",
}
LEARNING = {
    "plant-core-promoters-jores2021": "plant promoters",
    "yeast-gpra-dream2022-demo": "yeast promoters",
    "ecoli-tss-mpra-urtecho": "E. coli promoters",
    "human-lentimpra-agarwal-sample": "human elements",
    "fly-starrseq-deepstarr-sample": "fly enhancers",
}
"""Tables of activities with learning curves, and their titles."""
_INCHES_PER_BAR = 0.27
_FLOOR = "#c92a2a"


def drawn(panel: Panel) -> Figure:
    """Horizontal bars with intervals, and the floor as a line."""
    places: list[float] = []
    titles: list[tuple[float, str]] = []
    place, group = 0.0, ""
    for bar in panel.bars:
        if bar.group != group:
            group = bar.group
            titles.append((place, group))
            place += 1.0
        places.append(place)
        place += 1.0
    figure = Figure(figsize=(7.2, _INCHES_PER_BAR * place + 1.5), layout="constrained")
    axes = figure.subplots()
    # so that a floor at the edge is seen.
    axes.use_sticky_edges = False
    for where, bar in zip(places, panel.bars, strict=True):
        axes.barh(where, bar.value - bar.floor, left=bar.floor, color=COLOURS[bar.kind],
                  height=0.72)  # fmt: skip
        axes.plot([bar.floor, bar.floor], [where - 0.5, where + 0.5], color=_FLOOR, linewidth=1.6)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [where, where], color="#1c2126", linewidth=1.2)
    for where, text in titles:
        axes.text(0.0, where, text, transform=axes.get_yaxis_transform(), fontweight="bold",
                  va="center")  # fmt: skip
    axes.set_yticks(places, [bar.label for bar in panel.bars])
    axes.set(xlabel=panel.axis, title=panel.title, ylim=(place - 0.4, -0.6))
    axes.grid(axis="x", color="#d8dde2")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    kinds = dict.fromkeys(bar.kind for bar in panel.bars)
    handles: list[Any] = [Patch(color=COLOURS[kind], label=MEANING[kind]) for kind in kinds]
    handles.append(Line2D([], [], color=_FLOOR, linewidth=1.6, label=f"floor: {panel.floor}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def main() -> None:
    """Draw every panel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.size": 9.5}):
        for name, make in PANELS.items():
            panel = make()
            drawn(panel).savefig(folder / f"{name}.png", dpi=110, facecolor="white")
            print(f"{folder / name}.png: {panel.table}")
        curves = [curves_of(stem, title) for stem, title in LEARNING.items()]
        drawn_curves(curves, COLOURS, _FLOOR).savefig(folder / "curves.png", dpi=110)
        print(f"{folder / 'curves.png'}: {', '.join(one.table for one in curves)}")


if __name__ == "__main__":
    main()
