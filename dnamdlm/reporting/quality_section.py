"""The section of the report on generated sequences: cards, drawings, rows of the table, CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnamdlm.evaluation.samples.quality_lines import sequence_count, short
from dnamdlm.reporting.drawing import Drawing, inline
from dnamdlm.reporting.figures import gc_histogram, kmer_scatter
from dnamdlm.reporting.motif_figures import logo_figure, motif_scatter
from dnamdlm.reporting.quality_figures import (
    infilling_figure,
    odds_figure,
    rank_figure,
    reference_samples_figure,
)
from dnamdlm.reporting.tables import csv_text

_NAMES = ("reference_samples", "ranks", "gc", "dinucleotides", "motifs", "logos", "infilling")


def quality_drawings(quality: Mapping[str, Any]) -> list[Drawing]:
    """All figures of a section "quality"; older sections have no shares of words."""
    found = [
        reference_samples_figure(quality),
        rank_figure(quality),
        *(kmer_scatter(int(k), shares) for k, shares in quality.get("words", {}).items()),
        gc_histogram(quality["gc"]["edges"], quality["gc"]["rows"]),
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


def quality_cards(quality: Mapping[str, Any]) -> list[dict[str, str]]:
    """Headline figures of the generated sequences, each with that of real sequence."""
    rows = {row["name"]: row["cells"] for row in quality["figures"]}
    cards = []
    if "js_6" in rows:
        ours, real = rows["js_6"]["generated"], rows["js_6"]["real"]
        cards.append(
            {
                "title": "Divergence of 6-mers",
                "value": short(ours["value"]),
                "note": f"bits, {_cell(ours)['note'] or 'no interval'}; "
                f"real sequence compared with itself gives {short(real['value'])}",
            }
        )
    if "match_max" in rows:
        longest, median = rows["match_max"], rows["match_median"]
        cards.append(
            {
                "title": f"Longest copy from {quality['copies']['looked_in']}",
                "value": f"{longest['generated']['value']:.0f} bp",
                "note": f"median {median['generated']['value']:.0f} bp; "
                f"real sequence {median['real']['value']:.0f} bp",
            }
        )
    return cards


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
    scatters = [(k, drawings[f"kmer{k}"]) for k in quality.get("words", {})]
    motifs = quality["motifs"] or {}
    copies = quality["copies"]
    return {
        "sequences": sequence_count(quality),
        "reference": quality["reference"],
        "columns": quality["columns"],
        "rows": rows,
        "drawings": {name: inline(drawings.get(name)) for name in _NAMES},
        "scatters": [{"k": k, "svg": inline(drawing)} for k, drawing in scatters],
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
        "longest": copies.get("longest"),
        "left_out": quality["left_out"],
    }


def quality_files(quality: Mapping[str, Any]) -> dict[str, str]:
    """Name -> CSV text of the numbers behind the section."""
    edges, rows = quality["gc"]["edges"], quality["gc"]["rows"]
    texts = {
        "quality.csv": _quality_csv(quality),
        "gc.csv": csv_text(
            ("from", "to", *(row["name"] for row in rows)),
            zip(edges[:-1], edges[1:], *(row["counts"] for row in rows), strict=True),
        ),
    }
    for k, shares in quality.get("words", {}).items():
        names = ("words", "generated", "reference")
        texts[f"kmers_{k}.csv"] = csv_text(
            ("word", *names[1:]), zip(*(shares[name] for name in names), strict=True)
        )
    if "match_lengths" in quality["copies"]:
        texts["longest_match.csv"] = csv_text(
            ("sample", "length"),
            (
                (sample, length)
                for sample, lengths in quality["copies"]["match_lengths"].items()
                for length in lengths
            ),
        )
    return texts


def _quality_csv(quality: Mapping[str, Any]) -> str:
    """Every figure of every sample with its interval."""
    header = ("group", "figure", "label", "unit", "sample", "value", "low", "high")
    rows = []
    for row in quality["figures"]:
        for sample, cell in row["cells"].items():
            numbers = (cell["value"], cell["low"], cell["high"])
            shown = ("" if number is None else f"{number:.6g}" for number in numbers)
            rows.append((row["group"], row["name"], row["label"], row["unit"], sample, *shown))
    return csv_text(header, rows)


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
