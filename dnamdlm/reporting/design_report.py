"""The page of designs: what was asked for, what two oracles say, and what it took."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dnamdlm.reporting.design_figures import agreement_figure, oracle_figure
from dnamdlm.reporting.drawing import Drawing, inline
from dnamdlm.reporting.figures import kmer_scatter
from dnamdlm.reporting.motif_figures import logo_figure, motif_scatter
from dnamdlm.reporting.run_report import environment
from dnamdlm.reporting.tables import flat

PAGE_BEGINS = "<!doctype html>\n<!-- dnamdlm.design -->"
_SHOWN = 50
_COLUMNS = (
    ("sequences", "sequences", "{:,}"), ("reward_mean", "reward", "{:.3f}"),
    ("reward_above_99", "above 99 %", "{:.0%}"), ("reward_above_99.9", "above 99.9 %", "{:.0%}"),
    ("audit_mean", "audit", "{:.3f}"), ("audit_above_99", "above 99 %", "{:.0%}"),
    ("audit_above_99.9", "above 99.9 %", "{:.0%}"),
    ("audit_shuffled", "audit, letters in random order", "{:.3f}"), ("gc", "GC", "{:.3f}"),
    ("nearest_identity", "nearest natural", "{:.3f}"),
    ("distinct", "distinct", "{:,}"), ("pair_distance", "pair distance", "{:.3f}"),
    ("kmer_divergence", "4-mers, bits", "{:.3f}"), ("bits_per_base", "bits per base", "{:.3f}"),
    ("network_calls", "network calls", "{:,}"), ("reward_sequences", "rewards", "{:,}"),
)  # fmt: skip


def design_page(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """One page that needs no other file.

    Args:
        report: of designs, see `dnamdlm.assembly.design.designs.Designs`.
        rows: name, sequence and columns of each design.
        title: of the page.
    """
    drawings = {drawing.name: inline(drawing) for drawing in _drawings(report)}
    shown = [item for item in _COLUMNS if any(item[0] in row for row in report["compared"])]
    return (
        environment()
        .get_template("design.html.j2")
        .render(
            begins=PAGE_BEGINS,
            title=title,
            cards=list(_cards(report)),
            cost=report["cost"],
            refused=[(name, count) for name, count in report["cost"]["refused"].items() if count],
            natural=report["natural"],
            oracles={key: report[key] for key in ("reward", "audit") if key in report},
            columns=[label for _, label, _ in shown],
            compared=[
                {"name": row["name"], "cells": [_cell(row, key, form) for key, _, form in shown]}
                for row in report["compared"]
            ],
            drawings={
                name: drawings.get(name)
                for name in (
                    "oracle_reward",
                    "oracle_audit",
                    "agreement",
                    "kmer4",
                    "motifs",
                    "logos",
                )
            },
            motifs=report["figures"].get("motifs"),
            designs=[_design(row) for row in rows[:_SHOWN]],
            num_designs=len(rows),
            facts=list(_facts(report)),
        )
    )


def _drawings(report: Mapping[str, Any]) -> Iterator[Drawing]:
    figures, natural = report["figures"], report["natural"] or {}
    values = figures["values"]
    for key, sets in values.items():
        yield oracle_figure(key, sets, natural.get(f"predicted_{key}", ()))
    if "audit" in values:
        yield agreement_figure(values)
    if "words" in figures:
        yield kmer_scatter(4, figures["words"])
    if "motifs" in figures:
        yield motif_scatter(figures["motifs"])
        yield logo_figure(figures["motifs"]["most_different"])


def _cards(report: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Headline figures, each with that of the strongest other set."""
    own, *others = report["compared"]
    for key, title in (("reward", "Mean reward"), ("audit", "Mean under the audit")):
        if f"{key}_mean" not in own:
            continue
        notes = [f"{row['name']} {row[f'{key}_mean']:.3f}" for row in others]
        yield {
            "title": title,
            "value": f"{own[f'{key}_mean']:.3f}",
            "note": "; ".join(notes) or "nothing is compared",
        }
    if "nearest_identity" in own:
        yield {
            "title": "Identity with the nearest natural sequence",
            "value": f"{own['nearest_identity']:.2f}",
            "note": "mean over designs; 1 is a copy",
        }
    if "bits_per_base" in own:
        yield {
            "title": "Bits per base under the model",
            "value": f"{own['bits_per_base']:.3f}",
            "note": "upper bound; 2 is random sequence",
        }


def _cell(row: Mapping[str, Any], key: str, form: str) -> str:
    return form.format(row[key]) if key in row else "-"


def _design(row: Mapping[str, Any]) -> dict[str, Any]:
    """The number, the figures and the letters of a design."""
    keys = ("reward", "audit", "gc", "nearest_identity", "bits_per_base")
    words = [f"{key.replace('_', ' ')} {row[key]:.3f}" for key in keys if key in row]
    if "nearest" in row:
        words.append(f"nearest {row['nearest']}")
    return {"name": row["name"], "note": ", ".join(words), "sequence": row["sequence"]}


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "command", shlex.join(map(str, report["command"]))
    for key in ("model_sha256", "length", "seed", "reward", "audit", "versions"):
        yield from flat({key: report[key]} if key in report else {})
