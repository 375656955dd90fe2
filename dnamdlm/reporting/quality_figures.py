"""Figures of the quality of generated sequences: all samples, words, composition, infilling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
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

COLORS = {
    "generated": OURS,
    "real": REFERENCE,
    "reference": INK,
    "markov_5": BASELINE,
    "markov_3": BASELINE,
    "shuffled_2": EXTRA,
}
MARKERS = {"generated": "o", "real": "D", "markov_5": "^", "markov_3": "v", "shuffled_2": "s"}
PANELS = (
    ("gc", "GC share"),
    ("cpg", "CpG, obs. / exp."),
    ("low", "low complexity, share"),
    ("js_6", "JS of 6-mers, bits"),
    ("auroc_words", "AUROC, words of 4"),
    ("auroc_network", "AUROC, network"),
    ("frame", "open stretch, codons"),
    ("match", "exact match, bp"),
)


@drawn
def reference_samples_figure(quality: Mapping[str, Any]) -> tuple[str, Figure]:
    """Eight figures of each sample with their intervals, a panel each."""
    rows = {row["name"]: row for row in quality["figures"]}
    columns = quality["columns"]
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    grid = figure.subplots(2, 4, sharey=True)
    for axes, (name, title) in zip(grid.flat, PANELS, strict=True):
        for place, column in enumerate(columns):
            cell = rows[name]["cells"][column["name"]]
            if cell["value"] is None:
                continue
            color = COLORS[column["name"]]
            if cell["low"] is not None:
                axes.plot([cell["low"], cell["high"]], [place] * 2, color=color, linewidth=1.6)
            axes.plot(cell["value"], place, marker="o", markersize=5.0, color=color)
        if name.startswith("auroc"):
            axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=9.5)
        axes.set_ylim(len(columns) - 0.5, -0.5)
        axes.set_yticks(range(len(columns)), [column["label"] for column in columns])
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(axis="both", labelsize=8.5)
    return "reference_samples", figure


@drawn
def rank_figure(quality: Mapping[str, Any]) -> tuple[str, Figure]:
    """Share of the words of k bases from the commonest to the rarest, a panel for each k."""
    labels = {column["name"]: column["label"] for column in quality["columns"]}
    labels["reference"] = "Real, reference"
    styles = {"markov_3": "--", "shuffled_2": ":"}
    panels = list(quality["ranks"].items())
    figure = Figure(figsize=(9.0, 2.9), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (k, ranks) in zip(grid, panels, strict=True):
        for name, shares in ranks["shares"].items():
            values = 1000 * np.asarray(shares)
            shown = values > 0
            axes.plot(
                np.asarray(ranks["ranks"])[shown],
                values[shown],
                color=COLORS[name],
                linestyle=styles.get(name, "-"),
                linewidth=2.0 if name == "generated" else 1.2,
                label=labels[name],
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"k = {k}", fontsize=10.0)
        axes.set_xlabel("rank of the word")
        axes.tick_params(labelsize=8.5)
        axes.set_xticks(powers := [10**power for power in range(int(k)) if 10**power < 4 ** int(k)])
        axes.set_xticklabels([f"{power:,}" for power in powers])
        axes.minorticks_off()
        few_log_ticks(axes, x=False)
    grid[0].set_ylabel("per 1,000 words")
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5)
    return "ranks", figure


@drawn
def odds_figure(quality: Mapping[str, Any]) -> tuple[str, Figure]:
    """Odds of the ten dinucleotides that differ on both strands."""
    words = ["AA", "AC", "AG", "AT", "CA", "CC", "CG", "GA", "GC", "TA"]
    places = ["ACGT".index(word[0]) * 4 + "ACGT".index(word[1]) for word in words]
    labels = {column["name"]: column["label"] for column in quality["columns"]}
    figure, axes = new_figure(7.0, 2.9)
    across = np.arange(len(words))
    names = [name for name in MARKERS if name in quality["odds"] and name != "shuffled_2"]
    for shift, name in zip(np.linspace(-0.24, 0.24, len(names)), names, strict=True):
        odds = [quality["odds"][name][place] for place in places]
        values = [np.nan if value is None else value for value in odds]
        axes.plot(
            across + shift,
            values,
            linestyle="none",
            marker=MARKERS[name],
            markersize=5.0,
            color=COLORS[name],
            label=labels[name],
        )
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xticks(across, [f"{word}/{_opposite(word)}" for word in words])
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_ylabel("observed / expected")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.2 * (high - low))
    axes.legend(loc="upper center", ncols=4)
    return "dinucleotides", figure


@drawn
def infilling_figure(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Figure]:
    """Recovered bases by gap length, drawn and most likely side by side."""
    figure = Figure(figsize=(7.6, 3.1), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, way in zip(panels, ("drawn", "most likely"), strict=True):
        labels = [row["label"] for row in rows if row["label"].endswith(f", {way}")]
        wanted = [*dict.fromkeys(labels), *(["commonest base"] if way == "most likely" else [])]
        for label in wanted:
            own = [row for row in rows if row["label"] == label]
            color = OURS if label.startswith("model") else BASELINE
            color = EXTRA if label.startswith("common") else color
            _line_with_intervals(axes, own, color, label.removesuffix(f", {way}"))
        axes.set_xscale("log", base=2)
        gaps = sorted({row["gap"] for row in rows})
        axes.set_xticks(gaps, [str(gap) for gap in gaps])
        axes.minorticks_off()
        axes.set_title(f"bases {way}", fontsize=10.0)
        axes.set_xlabel("hidden bases in a row")
        axes.legend(loc="upper right")
    panels[0].set_ylabel("share of hidden bases recovered")
    panels[0].set_ylim(0.0, 1.35 * max(row["high"] or row["value"] for row in rows))
    return "infilling", figure


def _line_with_intervals(
    axes: Axes, rows: Sequence[Mapping[str, Any]], color: str, label: str
) -> None:
    gaps = [row["gap"] for row in rows]
    values = [row["value"] for row in rows]
    axes.plot(gaps, values, color=color, marker="o", markersize=4.0, label=label)
    low = [row["value"] if row["low"] is None else row["low"] for row in rows]
    high = [row["value"] if row["high"] is None else row["high"] for row in rows]
    axes.fill_between(gaps, low, high, color=color, alpha=0.15, linewidth=0)


def _opposite(word: str) -> str:
    return word[::-1].translate(str.maketrans("ACGT", "TGCA"))
