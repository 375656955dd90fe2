"""Pictures of the stored tables of quality, each with its floors, for docs/benchmarks.md.

    python -m benchmarks.pictures [--out docs/benchmarks]

Nothing is measured here: every bar is a number of a table in `results/`. A bar begins at its floor,
which is what one gets without a model, so that its length is what is gained or lost.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

RESULTS = Path(__file__).with_name("results")
COLOURS = {"ours": "#2f7fc1", "simple": "#9aa3ab", "random": "#d9822b"}
MEANING = {
    "ours": "dnamdlm",
    "simple": "counts, rules and other models without pre-training",
    "random": "the same network with random weights",
}
_CERTAIN = 1.96  # standard errors of a 95 % interval
_INTERVAL = re.compile(r"(-?[\d.]+) \((-?[\d.]+) to (-?[\d.]+)\)")
_INCHES_PER_BAR = 0.27
_FLOOR = "#c92a2a"


@dataclass(frozen=True)
class Bar:
    """One number.

    Attributes:
        group: what is drawn together, with a heading.
        label: of the bar.
        kind: a key of `COLOURS`.
        floor: what one gets without a model.
        value: the number.
        low: lower end of its interval.
        high: upper end.
    """

    group: str
    label: str
    kind: str
    floor: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """A picture of one quantity.

    Attributes:
        name: of the file.
        title: what is compared.
        axis: quantity and unit, and which way is better.
        floor: what the floor is.
        bars: in order.
        table: the stored table that they are from.
    """

    name: str
    title: str
    axis: str
    floor: str
    bars: tuple[Bar, ...]
    table: str


def stored(theme: str) -> tuple[str, list[list[Any]]]:
    """Name and rows of the stored table of a theme.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = sorted(RESULTS.glob(f"{theme}_*.json"))
    if not found:
        raise FileNotFoundError(f"no table of {theme} in {RESULTS}")
    return found[-1].stem, json.loads(found[-1].read_text(encoding="utf-8"))["rows"]


def spread(cell: str) -> tuple[float, float, float]:
    """Value and ends of the interval of a cell "0.788 (0.747 to 0.829)"."""
    found = _INTERVAL.fullmatch(cell)
    assert found is not None, f"{cell} is no value with an interval"
    value, low, high = map(float, found.groups())
    return value, low, high


def kind_of(label: str) -> str:
    """Whether a row is a model of ours, one with random weights, or something simple."""
    if label.startswith("random"):
        return "random"
    ours = ("model", "network", "minus llr", "minus elbo", "llr", "confidence", "first hitting")
    return "ours" if label.startswith(ours) else "simple"


def _likelihood(name: str, column: int, where: str) -> Panel:
    table, rows = stored("quality-genomes")
    labels = {"ecoli": "E. coli", "fly": "fly, 5 Mb of 2R", "human_chr20": "human chr20"}
    bars = []
    for genome, label, *cells in rows:
        value, error = cells[column], cells[column + 1]
        short = re.sub(r" \(.*\)| of each column.*|, pi = .*| that tolerate.*", "", label)
        reach = _CERTAIN * error
        bars.append(
            Bar(labels[genome], short, kind_of(label), 2.0, value, value - reach, value + reach)
        )
    axis = "bits per base, fewer are better"
    return Panel(name, f"Held-out DNA, {where}", axis, "guessing", tuple(bars), table)


def _shuffles() -> Panel:
    table, rows = stored("quality-shuffled-yeast-feature-windows")
    kept = [row for row in rows if row[0] not in ("constant", "GC", "Markov order 1")]
    bars = tuple(Bar("", label, kind_of(label), 0.5, *spread(cell)) for label, cell, *_ in kept)
    return Panel(
        "shuffles", "Yeast elements against their dinucleotide shuffles",
        "share of pairs in which the real one is preferred", "chance, GC, Markov order 1",
        bars, table,
    )  # fmt: skip


def _clinical() -> Panel:
    table, rows = stored("quality-variants-clinvar")
    names = ("minus llr, both", "minus elbo, both", "transversion", "no CpG transition",
             "Markov order 12", "consequence alone")  # fmt: skip
    by_name = {row[0]: row[1] for row in rows}
    bars = tuple(Bar("", name, kind_of(name), 0.5, *spread(by_name[name])) for name in names)
    title = "Pathogenic against benign variants of BRCA2 (ClinVar)"
    return Panel("clinvar", title, "AUROC", "chance", bars, table)


def _saturation() -> Panel:
    table, rows = stored("quality-saturation")
    names = ("llr, both strands", "minus absolute llr", "transition", "gain of GC",
             "Markov order 12")  # fmt: skip
    *_, mean = rows
    bars = tuple(
        Bar("", name, kind_of(name.removeprefix("minus absolute ")), 0.0, *spread(cell))
        for name, cell in zip(names, mean[2:], strict=True)
    )
    return Panel(
        "saturation", "Measured effects of single bases in 13 human elements",
        "Spearman correlation, mean over elements", "constant", bars, table,
    )  # fmt: skip


def _tasks() -> Panel:
    table, rows = stored("quality-genomic-benchmarks-chr20")
    label = {"kmer": "6-mers", "cnn": "CNN", "random_weights": "random weights"}
    tasks = {
        "demo_human_or_worm": ("human or worm", 2),
        "human_enhancers_ensembl": ("enhancer or not", 2),
        "human_ocr_ensembl": ("open chromatin or not", 2),
        "human_ensembl_regulatory": ("kind of regulatory element", 3),
    }
    bars = []
    for task, predictor, *cells in rows:
        title, classes = tasks[task]
        shown = label.get(predictor, "model, probe")
        bars.append(Bar(title, shown, kind_of(predictor), 1 / classes, cells[5]))
    title = "Genomic Benchmarks on chr20, test rows without copies in train"
    return Panel("tasks", title, "accuracy", "a fair guess", tuple(bars), table)


def _infilling() -> Panel:
    table, rows = stored("quality-infilling")
    names = {
        "confidence, one per step, most likely": "confidence, one base a step",
        "all at once, most likely": "model, all at once",
        "Markov order 12, interpolated, most likely": "Markov order 12",
    }
    by_name = {row[0]: row for row in rows}
    floor, bars = by_name["commonest base"][1], []
    for name, short in names.items():
        value, error = by_name[name][1:3]
        reach = _CERTAIN * error
        bars.append(Bar("", short, kind_of(short), floor, value, value - reach, value + reach))
    title = "Hidden spans of 30 % of yeast windows"
    return Panel(
        "infilling", title, "bases that come back, %", "commonest base", tuple(bars), table
    )


def _activity(stem: str, name: str, what: str) -> Panel:
    """Predictors that learned from all rows; of ours the probe and the fit of all weights."""
    table, rows = stored(f"quality-activity-{stem}")
    found = {tuple(row[1:3]): row for row in rows if row[0] == "all"}
    floor = found["composition", ""][3]
    bars = []
    for (weights, method), row in found.items():
        if weights in ("composition", "kmer") or method == "lora":
            continue
        label = ", ".join(filter(None, (weights.replace(", genome", ""), method)))
        low, high = map(float, row[5].split(" to "))
        kind = "ours" if weights.endswith(", genome") else kind_of(weights)
        # the interval is that of the first seed, the value a mean.
        bars.append(Bar("", label, kind, floor, row[3], min(low, row[3]), max(high, row[3])))
    title = f"Measured activity of {what}"
    return Panel(name, title, "Pearson's r", "composition", tuple(bars), table)


def _pretraining() -> Panel:
    """The largest prefix of the sweep, and single changes."""
    table, rows = stored("quality-pretraining-ecoli-tss-mpra-urtecho")
    floor = next(row[9] for row in rows if row[1] == "composition")
    largest = max(row[3] for row in rows)
    bars = []
    for group, network, objective, bases, *cells in rows:
        random = network.endswith("random weights")
        if network == "composition" or (group == "sweep" and bases < largest):
            continue
        kind = "random" if random else "simple" if group == "floor" else "ours"
        short = network.partition(", ")[2] if group == "change" else network
        label = ", ".join(filter(None, (short, objective)))
        low, high = map(float, cells[6].split(" to "))
        heading = {"sweep": "whole genome", "change": "one change", "floor": "no training"}[group]
        bars.append(Bar(heading, label, kind, floor, cells[5], low, high))
    title = "Activity of E. coli promoters from frozen states"
    return Panel("pretraining", title, "Pearson's r", "composition", tuple(bars), table)


def _classes() -> Panel:
    """Mean over six classes of yeast windows."""
    table, rows = stored("quality-class-samples-yeast-feature-windows")
    (mean,) = (row for row in rows if row[0] == "mean")
    names = {"real": "simple", "shuffled": "simple", "Markov, one for each class": "simple",
             "given the class": "ours", "given the class, guidance 2": "ours",
             "class left open": "ours"}  # fmt: skip
    bars = tuple(
        Bar("", name, kind, 0.167, *spread(cell))
        for (name, kind), cell in zip(names.items(), mean[2:], strict=True)
    )
    title = "Samples of six classes of yeast windows"
    axis = "share that an independent judge gives the class asked for"
    return Panel("classes", title, axis, "chance", bars, table)


_ACTIVITIES = {
    "activity_ecoli": ("ecoli-tss-mpra-urtecho", "E. coli promoters"),
    "activity_plant": ("plant-core-promoters-jores2021", "plant core promoters"),
    "activity_human": ("human-lentimpra-agarwal-sample", "human elements"),
    "activity_fly": ("fly-starrseq-deepstarr-sample", "fly enhancers"),
}

PANELS: Mapping[str, Callable[[], Panel]] = {
    "likelihood": lambda: _likelihood("likelihood", 4, "all windows"),
    "likelihood_unique": lambda: _likelihood(
        "likelihood_unique", 0, "windows without a 20-mer of training"
    ),
    "shuffles": _shuffles,
    "infilling": _infilling,
    "tasks": _tasks,
    **{
        name: functools.partial(_activity, stem, name, what)
        for name, (stem, what) in _ACTIVITIES.items()
    },
    "pretraining": _pretraining,
    "classes": _classes,
    "clinvar": _clinical,
    "saturation": _saturation,
}


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


if __name__ == "__main__":
    main()
