"""Learning curves of measured activities, from the stored tables: one panel for each table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.picture_bars import kind_of, read_table

# line of the picture -> weights and method of the table, and how it is drawn
_LINES: Mapping[str, tuple[str, str, Literal["-", "--", ":"]]] = {
    "MLM, probe": ("mlm, genome", "probe", "-"),
    "MLM, all weights": ("mlm, genome", "full", "--"),
    "random weights, probe": ("random", "probe", "-"),
    "random weights, all weights": ("random", "full", "--"),
    "words of six bases": ("kmer", "", "-"),
    "CNN": ("cnn", "", ":"),
}


@dataclass(frozen=True)
class Curves:
    """The learning curves of one table.

    Attributes:
        title: what was measured.
        table: the stored table.
        rows: how many rows each point learned from.
        floor: what composition has, from all rows.
        lines: name -> r at each number of rows, nan where it was not measured.
    """

    title: str
    table: str
    rows: tuple[int, ...]
    floor: float
    lines: dict[str, tuple[float, ...]]


def curves_of(stem: str, title: str) -> Curves:
    """The curves of the table of activities of this name.

    Raises:
        FileNotFoundError: if there is no such table.
    """
    table, content = read_table(f"quality-activity-{stem}")
    (note,) = (note for note in content["notes"] if note.startswith("rows: train "))
    found = re.match(r"rows: train ([\d,]+)", note)
    assert found is not None
    every = int(found[1].replace(",", ""))
    values = {tuple(row[:3]): float(row[3]) for row in content["rows"]}
    counts = [row[0] for row in content["rows"]]
    names = list(dict.fromkeys(counts))
    missing = float("nan")
    lines = {
        label: tuple(values.get((count, weights, method), missing) for count in names)
        for label, (weights, method, _) in _LINES.items()
    }
    sizes = tuple(every if count == "all" else int(count) for count in names)
    return Curves(title, table, sizes, values["all", "composition", ""], lines)


def _kind(weights: str) -> str:
    return "ours" if weights.endswith(", genome") else kind_of(weights)


def drawn_curves(curves: list[Curves], colours: dict[str, str], floor: str) -> Figure:
    """One panel for each table, with the floor as a line."""
    figure = Figure(figsize=(9.6, 3.7), layout="constrained")
    axes = figure.subplots(1, len(curves))
    for place, one in zip(axes, curves, strict=True):
        for label, values in one.lines.items():
            weights, _, style = _LINES[label]
            color = colours[_kind(weights)]
            place.plot(one.rows, values, style, color=color, marker="o", markersize=3.5)
        place.axhline(one.floor, color=floor, linewidth=1.2)
        place.set(xscale="log", title=one.title, xlim=(70, 15_000))
        place.set_xticks([100, 1000, 10_000], ["100", "1,000", "10,000"])
        place.minorticks_off()
        place.grid(axis="y", color="#d8dde2")
        place.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("Pearson's r, test rows")
    axes[len(curves) // 2].set_xlabel("rows that are learned from")
    handles = [
        Line2D([], [], linestyle=style, marker="o", markersize=3.5, label=label,
               color=colours[_kind(weights)])
        for label, (weights, _, style) in _LINES.items()
    ]  # fmt: skip
    handles.append(Line2D([], [], color=floor, linewidth=1.2, label="floor: composition"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure
