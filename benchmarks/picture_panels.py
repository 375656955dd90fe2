"""What each picture of the benchmarks shows, read from the stored tables."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.picture_bars import (
    Bar,
    Panel,
    ends,
    kind_of,
    read_table,
    seeds_mean,
    spread,
    stored,
)

_CERTAIN = 1.96  # standard errors of a 95 % interval


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
    names = ("minus llr, both", "minus elbo, both", "transversion", "no CpG transition",
             "Markov order 12", "consequence alone")  # fmt: skip
    title = "Pathogenic against benign variants of BRCA2 (ClinVar)"
    return _ranked("clinvar", "quality-variants-clinvar", names, title)


def _mitochondrial() -> Panel:
    names = ("minus llr, both", "minus elbo, both", "transversion", "no CpG transition",
             "Markov order 12")  # fmt: skip
    title = "Pathogenic against benign variants of the mitochondrial genome (ClinVar)"
    return _ranked("clinvar_mitochondria", "quality-variants-clinvar-chrm", names, title)


def _ranked(name: str, theme: str, names: tuple[str, ...], title: str) -> Panel:
    table, rows = stored(theme)
    by_name = {row[0]: row[1] for row in rows}
    bars = tuple(Bar("", row, kind_of(row), 0.5, *spread(by_name[row])) for row in names)
    return Panel(name, title, "AUROC", "chance", bars, table)


def _saturation() -> Panel:
    table, content = read_table("quality-saturation")
    mean = dict(zip(content["columns"], content["rows"][-1], strict=True))
    bars = tuple(
        Bar("", name, kind_of(name), 0.0, *spread(cell))
        for name, cell in mean.items()
        if name not in ("element", "exchanges", "constant")
    )
    return Panel(
        "saturation", "Measured effects of single bases in 13 human elements",
        "Spearman correlation, mean over elements", "constant", bars, table,
    )  # fmt: skip


def _tasks() -> Panel:
    table, content = read_table("quality-genomic-benchmarks-chr20")
    titles = {
        "demo_human_or_worm": "human or worm",
        "human_enhancers_ensembl": "enhancer or not",
        "human_ocr_ensembl": "open chromatin or not",
        "human_ensembl_regulatory": "kind of regulatory element",
    }
    bars = tuple(_area(titles[row[0]], content, row) for row in content["rows"])
    title = "Genomic Benchmarks on chr20, test rows without copies in train"
    return Panel("tasks", title, "area under the ROC curve", "chance", bars, table)


def _promoters(theme: str, name: str, what: str) -> Panel:
    """Areas under the ROC curve, and those that others published for larger models."""
    table, content = read_table(theme)
    bars = tuple(_area("", content, row) for row in content["rows"])
    title = f"GUE promoters {what}, rows without copies in train"
    return Panel(name, title, "area under the ROC curve", "chance", bars, table)


def _area(group: str, content: Mapping[str, Any], row: list[Any]) -> Bar:
    """The area under the ROC curve in a row of a table of tasks."""
    cells = dict(zip(content["columns"], row, strict=True))
    published = cells.get("published AUROC, all test rows")
    if published is not None:
        label = f"{cells['predictor']}, frozen, all rows"
        return Bar(group, label, "published", 0.5, published)
    label = _predictor(cells["predictor"], cells["method"])
    area, reach = cells["AUROC without leaked rows"], cells["mean of the 95 % intervals of rows"]
    return Bar(group, label, kind_of(cells["predictor"]), 0.5, area, *ends(reach))


def _predictor(name: str, method: str) -> str:
    """How a row of a table of tasks is labelled: what learns, and how."""
    names = {"kmer": "6-mers", "cnn": "CNN", "random_weights": "random weights"}
    return ", ".join(filter(None, (names.get(name, name), method.partition(" ")[0])))


def _stems() -> Panel:
    """Each stem of tRNAs: what strengths of pairs find of it."""
    table, content = read_table("quality-stems")
    *rows, (_, _, *chance) = content["rows"]
    bars = [
        Bar(title.partition(" (")[0], row[0], kind_of(row[0]), float(floor), *spread(row[place]))
        for place, (title, floor) in enumerate(zip(content["columns"][2:], chance, strict=True), 2)
        for row in rows
    ]
    title = "Stems of yeast tRNAs, learned from other species"
    axis = "share of its pairs among the strongest pairs of positions"
    return Panel("stems", title, axis, "chance", tuple(bars), table)


def _infilling() -> Panel:
    table, rows = stored("quality-infilling")
    names = {
        "confidence, one per step, most likely": "confidence, one base a step",
        "all at once, most likely": "model, all at once",
        "Markov order 7, most likely": "Markov order 7",
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
    """Predictors that learned from all rows."""
    table, rows = stored(f"quality-activity-{stem}")
    found = {tuple(row[1:3]): row for row in rows if row[0] == "all"}
    floor = found["composition", ""][3]
    bars = []
    for (weights, method), row in found.items():
        if weights in ("composition", "kmer"):
            continue
        label = ", ".join(filter(None, (weights.replace(", genome", ""), method)))
        low, high = ends(row[5])
        kind = "ours" if weights.endswith(", genome") else kind_of(weights)
        bars.append(Bar("", label, kind, floor, row[3], low, high))
    title = f"Measured activity of {what}"
    return Panel(name, title, "Pearson's r", "composition", tuple(bars), table)


def _pretraining(name: str, ending: str, title: str) -> Panel:
    """The largest prefix of a sweep, and single changes."""
    table, rows = stored(f"quality-pretraining-ecoli-tss-mpra-urtecho{ending}")
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
        heading = {"sweep": "whole genome", "change": "one change", "floor": "no training"}[group]
        bars.append(Bar(heading, label, kind, floor, cells[5], *ends(cells[6])))
    return Panel(name, title, "Pearson's r", "composition", tuple(bars), table)


def _classes(stem: str, name: str, what: str) -> Panel:
    """Mean over six classes."""
    table, content = read_table(f"quality-class-samples-{stem}")
    (mean,) = (row for row in content["rows"] if row[0] == "mean")
    cells = dict(zip(content["columns"], mean, strict=True))
    names = {
        "real": ("real", "simple"),
        "shuffled": ("shuffled", "simple"),
        "Markov": ("Markov, one for each class", "simple"),
        "g = 1": ("given the class", "ours"),
        "g = 2": ("given the class, guidance 2", "ours"),
        "no class": ("class left open", "ours"),
    }
    bars = tuple(
        Bar("", label, kind, 0.167, *spread(cells[column]))
        for column, (label, kind) in names.items()
    )
    axis = "share that an independent judge gives the class asked for"
    return Panel(name, f"Samples of {what}", axis, "chance", bars, table)


def _designs(stem: str, name: str, what: str) -> Panel:
    """What both held-out oracles say; a bar begins at the same letters in random order."""
    table, rows = stored(f"quality-designs-{stem}")
    left_out = ("rejection", "mutation, natural", "fine-tuned, populations")
    simple = ("mutation", "lines, natural", "most active", "random")
    names = {
        "lines, natural": "mutation, natural, in lines", "most active": "most active natural",
        "random": "random natural", "number": "guided by a number", "class": "guided by a class",
        "fine-tuned": "fine-tuned on the reward",
    }  # fmt: skip
    bars = []
    # columns of the mean, and of the mean with the letters in random order.
    for oracle, mean, shuffled in (
        ("regression on words", 4, 7),
        ("network of convolutions", 8, 10),
    ):
        for row in rows:
            if (way := row[0]) not in left_out:
                value, *ends = seeds_mean(row[mean])
                floor, *_ = seeds_mean(row[shuffled])
                kind = "simple" if way in simple else "ours"
                bars.append(Bar(oracle, names.get(way, way), kind, floor, value, *ends))
    title = f"Designed {what} under two held-out oracles"
    named = "the same letters in random order"
    return Panel(name, title, "predicted activity", named, tuple(bars), table)


def _genes() -> Panel:
    table, rows = stored("quality-gene-finding")
    bars = tuple(
        Bar("", label, kind_of(label), 0.0, *spread(cell)) for label, cell, *_ in rows[:-1]
    )
    title = "Genes, introns and their ends in yeast, base by base"
    axis = "Matthews correlation over nine classes"
    return Panel("genes", title, axis, "commonest class", bars, table)


_DESIGNS = {
    "designs_plant": ("plant-core-promoters-jores2021", "plant core promoters"),
    "designs_yeast": ("yeast-gpra-dream2022-demo", "yeast promoters"),
    "designs_ecoli": ("ecoli-tss-mpra-urtecho", "E. coli promoters"),
}
_CLASSES = {
    "classes": ("yeast-feature-windows", "six classes of yeast windows"),
    "classes_species": ("epdnew-tata-promoters-by-species", "promoters of six species"),
}
_PROMOTERS = {
    "promoters": ("quality-gue", "with a TATA box"),
    "promoters_without": ("quality-gue-notata", "without a TATA box"),
}
_ACTIVITIES = {
    "activity_ecoli": ("ecoli-tss-mpra-urtecho", "E. coli promoters"),
    "activity_plant": ("plant-core-promoters-jores2021", "plant core promoters"),
    "activity_human": ("human-lentimpra-agarwal-sample", "human elements"),
    "activity_fly": ("fly-starrseq-deepstarr-sample", "fly enhancers"),
    "activity_yeast": ("yeast-gpra-dream2022-demo", "random promoters in yeast"),
}

PANELS: Mapping[str, Callable[[], Panel]] = {
    "likelihood": lambda: _likelihood("likelihood", 4, "all windows"),
    "likelihood_unique": lambda: _likelihood(
        "likelihood_unique", 0, "windows without a 20-mer of training"
    ),
    "shuffles": _shuffles,
    "infilling": _infilling,
    "stems": _stems,
    "tasks": _tasks,
    **{
        name: functools.partial(_promoters, theme, name, what)
        for name, (theme, what) in _PROMOTERS.items()
    },
    **{
        name: functools.partial(_activity, stem, name, what)
        for name, (stem, what) in _ACTIVITIES.items()
    },
    **{
        name: functools.partial(_designs, stem, name, what)
        for name, (stem, what) in _DESIGNS.items()
    },
    "pretraining": lambda: _pretraining(
        "pretraining", "", "Activity of E. coli promoters from frozen states"
    ),
    "changes": lambda: _pretraining(
        "changes", "-changes", "Activity of E. coli promoters: one thing changed"
    ),
    "genes": _genes,
    **{
        name: functools.partial(_classes, stem, name, what)
        for name, (stem, what) in _CLASSES.items()
    },
    "clinvar": _clinical,
    "clinvar_mitochondria": _mitochondrial,
    "saturation": _saturation,
}
