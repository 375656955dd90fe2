"""The section of the report on generated sequences: drawings, rows of the table, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from dnamdlm.evaluation.samples.quality_lines import sequence_count, short
from dnamdlm.reporting.drawing import Drawing, inline
from dnamdlm.reporting.figures import gc_histogram
from dnamdlm.reporting.motif_figures import logo_figure, motif_scatter
from dnamdlm.reporting.quality_figures import (
    floors_figure,
    infilling_figure,
    odds_figure,
    rank_figure,
)

_NAMES = ("floors", "ranks", "quality_gc", "dinucleotides", "motifs", "logos", "infilling")


def quality_drawings(quality: Mapping[str, Any]) -> list[Drawing]:
    """All figures of a section "quality"."""
    found = [
        floors_figure(quality),
        rank_figure(quality),
        gc_histogram(quality["gc"]["edges"], quality["gc"]["rows"], name="quality_gc"),
        odds_figure(quality),
    ]
    if quality["motifs"]:
        found += [
            motif_scatter(quality["motifs"]),
            logo_figure(quality["motifs"]["most_different"]),
        ]
    if quality.get("infilling"):
        found.append(infilling_figure(quality["infilling"]))
    return found


def quality_content(quality: Mapping[str, Any], drawings: Mapping[str, Drawing]) -> dict[str, Any]:
    """What the template of the section shows."""
    names = [column["name"] for column in quality["columns"]]
    rows, group = [], ""
    for row in quality["figures"]:
        rows.append(
            {
                "group": row["group"] if row["group"] != group else "",
                "label": row["label"],
                "unit": row["unit"],
                "cells": [_cell(row["cells"][name]) for name in names],
            }
        )
        group = row["group"]
    shown = {name.removeprefix("quality_"): inline(drawings.get(name)) for name in _NAMES}
    motifs = quality["motifs"] or {}
    copies = quality["copies"]
    return {
        "sequences": sequence_count(quality),
        "reference": quality["reference"],
        "columns": quality["columns"],
        "rows": rows,
        "drawings": shown,
        "lengths": _lengths(quality["lengths"]),
        "enrichment": [
            {"name": motif["name"], "matches": motif["matches"], "expected": motif["expected"]}
            | {"cells": [_fold(motif["log2_fold"][name]) for name in names]}
            for motif in motifs.get("most_different", ())
        ],
        "num_motifs": motifs.get("num_motifs", 0),
        "match_probability": motifs.get("match_probability", 0),
        "looked_in": copies["looked_in"],
        "rule": copies["rule"],
        "memorised": copies["memorised"],
        "left_out": quality["left_out"],
    }


def quality_csv(quality: Mapping[str, Any]) -> str:
    """Every figure of every sample with its interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("group", "figure", "label", "unit", "sample", "value", "low", "high"))
    for row in quality["figures"]:
        for sample, cell in row["cells"].items():
            numbers = (cell["value"], cell["low"], cell["high"])
            shown = ("" if number is None else f"{number:.6g}" for number in numbers)
            writer.writerow((row["group"], row["name"], row["label"], row["unit"], sample, *shown))
    return text.getvalue()


def _lengths(lengths: Mapping[str, list[float]]) -> str:
    """Lengths in words: of what was generated, and of the records of the reference if those count.

    Args:
        lengths: sample -> least, quartiles and largest.
    """
    texts = [
        f"{label} {low:,.0f} bp"
        if low == high
        else f"{label} {low:,.0f} to {high:,.0f} bp, half of them {first:,.0f} to {third:,.0f}"
        for label, (low, first, _, third, high) in (
            ({"generated": "generated", "real": "records of the reference"}[name], values)
            for name, values in lengths.items()
        )
    ]
    return "; ".join(texts)


def _fold(cell: Mapping[str, float | None]) -> dict[str, str]:
    """An enrichment as a ratio with its interval."""
    ratios = {name: None if number is None else 2.0**number for name, number in cell.items()}
    return _cell(ratios)


def _cell(cell: Mapping[str, float | None]) -> dict[str, str]:
    note = "" if cell["low"] is None else f"{short(cell['low'])} to {short(cell['high'])}"
    return {"value": short(cell["value"]), "note": note}
