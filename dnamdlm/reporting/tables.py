"""Rows and sentences of the report, as plain values ready for the template."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dnamdlm.reporting.run_files import RunFiles

_CERTAIN = 1.96  # standard errors of a 95 % interval
_UNIQUE_WINDOWS = "unique windows"
_EXAMPLES, _EXAMPLE_BASES, _LINE, _GROUP = 5, 600, 60, 10


def headline(split: str, likelihood: Mapping[str, Any]) -> dict[str, Any]:
    """The headline numbers, and what they mean in plain words."""
    rows = {row["name"]: row for row in likelihood["rows"]}
    model = rows["model"]
    bits = model["classes"]["all"]
    gaps = {entry["baseline"]: entry["classes"]["all"] for entry in likelihood["differences"]}
    cards = [
        {
            "title": f"Bits per base, {split} split",
            "value": f"{bits['bits_per_base']:.4f}",
            "note": f"{_plus_minus(bits['standard_error'], 4)}{_bound(model['kind'])}",
        }
    ]
    strongest = likelihood["best_markov"]
    for name in dict.fromkeys([strongest, likelihood["best_additive_markov"]]):
        if name in rows:
            gap = gaps[name]
            cards.append(
                {
                    "title": f"Against {rows[name]['label']}",
                    "value": f"{gap['bits_per_base']:+.4f}",
                    "note": f"{_plus_minus(gap['standard_error'], 4)} bits per base; that model "
                    f"has {rows[name]['classes']['all']['bits_per_base']:.4f}",
                }
            )
    meaning = (
        f"On sequence it never saw, the model needs {_at_most(model['kind'])}"
        f"{bits['bits_per_base']:.3f} bits to name a base, where blind guessing needs 2."
    )
    if strongest in rows:
        meaning += " " + _verdict(gaps[strongest], rows[strongest]["label"])
    if (unique := _on_unique_windows(likelihood, rows)) is not None:
        cards = [*unique["cards"], *cards]
        meaning = f"{unique['meaning']} Over all windows: {meaning}"
    if (mixed := rows.get("mixture_markov")) is not None:
        card, said = _mixed(mixed, strongest=rows.get(strongest))
        cards, meaning = [*cards, card], f"{meaning} {said}"
    return {"cards": cards, "meaning": meaning}


def _mixed(
    mixed: Mapping[str, Any], strongest: Mapping[str, Any] | None
) -> tuple[dict[str, str], str]:
    """Card and meaning of the mixture of the model with counting and copying models."""
    bits, note = mixed["classes"]["all"], _bound(mixed["kind"])
    card = {
        "title": "Mixed with what copies and counts, all windows",
        "value": f"{bits['bits_per_base']:.4f}",
        "note": f"{_plus_minus(bits['standard_error'], 4)}{note}; weights chosen on validation",
    }
    said = (
        "Mixed exactly with models that copy from training, which a network of this size cannot, "
        f"it needs {_at_most(mixed['kind'])}{bits['bits_per_base']:.4f} bits over all windows"
    )
    if strongest is not None:
        value = strongest["classes"]["all"]["bits_per_base"]
        said += f", where {strongest['label']} needs {value:.4f}"
    return card, f"{said}."


def _on_unique_windows(
    likelihood: Mapping[str, Any], rows: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Cards and meaning for windows that share no word with training; None without that split."""
    repeats = likelihood.get("repeats")
    best = (repeats or {}).get("best_markov_by_class", {}).get(_UNIQUE_WINDOWS)
    if repeats is None or best is None:
        return None
    gaps = {entry["baseline"]: entry["classes"] for entry in likelihood["differences"]}
    model, gap = rows["model"], gaps[best][_UNIQUE_WINDOWS]
    bits, whole = model["classes"][_UNIQUE_WINDOWS], model["classes"]["all"]
    baseline, word = rows[best], f"{repeats['word_length']}-mer"
    cards = [
        {
            "title": f"Bits per base, windows without a {word} of training",
            "value": f"{bits['bits_per_base']:.4f}",
            "note": f"{_plus_minus(bits['standard_error'], 4)}{_bound(model['kind'])}",
        },
        {
            "title": f"Against {baseline['label']}, the best there",
            "value": f"{gap['bits_per_base']:+.4f}",
            "note": f"{_plus_minus(gap['standard_error'], 4)} bits per base; that model has "
            f"{baseline['classes'][_UNIQUE_WINDOWS]['bits_per_base']:.4f}",
        },
    ]
    meaning = (
        f"On the {bits['bases'] / whole['bases']:.1%} of held-out bases in windows that share no "
        f"{word} with the training split, the model needs {_at_most(model['kind'])}"
        f"{bits['bits_per_base']:.4f} bits to name a base. {_verdict(gap, baseline['label'])} "
        "In the other windows, the repeats, a long Markov context copies what training has."
    )
    return {"cards": cards, "meaning": meaning}


def mask_rate_rows(likelihood: Mapping[str, Any]) -> list[dict[str, str]]:
    """Cross-entropy of hidden bases by tenth of the mask rate; empty where it is not known."""
    return [
        {
            "share": f"{entry['above']:.0%} to {entry['to']:.0%}",
            "bases": f"{entry['hidden_bases']:,}",
            "value": f"{entry['bits_per_base']:.4f}",
            "note": _plus_minus(entry["standard_error"], 4),
        }
        for entry in likelihood.get("mask_rates", [])
        if entry["bits_per_base"] is not None
    ]


def likelihood_table(likelihood: Mapping[str, Any], *, every_order: bool) -> dict[str, Any]:
    """Header and rows of the table of likelihoods; a short form keeps the telling orders."""
    classes = likelihood["classes"]
    rows = [row for row in likelihood["rows"] if every_order or _is_telling(row, likelihood)]
    sizes = likelihood["rows"][-1]["classes"]
    labels = {row["name"]: row["label"] for row in likelihood["rows"]}
    return {
        "classes": [{"name": name, "bases": f"{sizes[name]['bases']:,}"} for name in classes],
        "rows": [
            {
                "label": row["label"],
                "is_model": row["family"] == "model",
                "note": _row_note(row),
                "cells": [_interval(row["classes"][name]) for name in classes],
            }
            for row in rows
        ],
        "differences": [
            {
                "label": "This model minus " + labels[entry["baseline"]],
                "cells": [_signed(entry["classes"][name]) for name in classes],
            }
            for entry in likelihood["differences"]
            if _is_compared(entry["baseline"], likelihood)
        ],
    }


def markov_lines(likelihood: Mapping[str, Any]) -> dict[str, float]:
    """Label -> validation bits per base of the best Markov models, the lines of the curve."""
    wanted = (likelihood["best_additive_markov"], likelihood["best_markov"])
    rows = {row["name"]: row for row in likelihood["rows"]}
    return {
        rows[name]["label"]: rows[name]["valid_bits_per_base"]
        for name in dict.fromkeys(wanted)
        if "valid_bits_per_base" in rows.get(name, {})
    }


def examples(samples: Mapping[str, str]) -> list[dict[str, Any]]:
    """The first sequences in numbered lines of 60 bases, in groups of 10."""
    shown = []
    for name, text in list(samples.items())[:_EXAMPLES]:
        lines = [
            {
                "number": first + 1,
                "groups": [
                    text[at : at + _GROUP]
                    for at in range(first, min(first + _LINE, len(text)), _GROUP)
                ],
            }
            for first in range(0, min(len(text), _EXAMPLE_BASES), _LINE)
        ]
        left_out = max(len(text) - _EXAMPLE_BASES, 0)
        shown.append({"name": name, "length": len(text), "lines": lines, "left_out": left_out})
    return shown


def missing_parts(files: RunFiles) -> list[dict[str, str]]:
    """What the run folder lacks, and the commands that make it."""
    run, fasta = (shlex.quote(str(path)) for path in (files.run_dir, files.run_dir / "samples.fa"))
    evaluate = f"python -m dnamdlm.evaluate model={run} split=test"
    sample = f"python -m dnamdlm.sample model={run} num_sequences=64 length=512 out={fasta}"
    parts = []
    if not files.metrics:
        parts.append(("the training curve", f"python -m dnamdlm.train config=... run_dir={run}"))
    if files.section("likelihood") is None:
        parts.append(("likelihoods of held-out sequence", evaluate))
    if not files.samples:
        parts.append(("generated sequences", sample))
    if files.section("quality") is None:
        after = " (after sampling)" if not files.samples else ""
        parts.append(
            (
                f"comparison of generated with real sequence{after}",
                f"python -m dnamdlm.judge model={run} samples={fasta}",
            )
        )
    return [{"what": what, "command": command} for what, command in parts]


def csv_text(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of a nested record as (dotted key, text)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and key == "command":
            yield f"{prefix}{key}", shlex.join(map(str, value))
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{key}", str(value)


def _verdict(gap: Mapping[str, Any], baseline: str) -> str:
    value, error = gap["bits_per_base"], gap["standard_error"]
    if error is None or abs(value) <= _CERTAIN * error:
        return f"That is level with the best simple statistics of this genome ({baseline})."
    way = "better" if value < 0 else "worse"
    return (
        f"That is {abs(value):.4f} bits {way} than the best simple statistics of this genome "
        f"({baseline}, which sees the whole chromosome before each base)."
    )


def _is_compared(baseline: str, likelihood: Mapping[str, Any]) -> bool:
    """Whether a baseline is the best on validation, or the best of a class of windows."""
    repeats = likelihood.get("repeats") or {}
    chosen = {row["name"] for row in likelihood["rows"] if row.get("chosen_on_validation")}
    return baseline in chosen | {*repeats.get("best_markov_by_class", {}).values()}


def _is_telling(row: Mapping[str, Any], likelihood: Mapping[str, Any]) -> bool:
    if row["family"] != "markov" or _is_compared(row["name"], likelihood):
        return True
    if row["smoothing"] == "additive":
        return row["order"] in (0, 3, 6) or row["name"] == likelihood["best_additive_markov"]
    return row["chosen_on_validation"]


def _row_note(row: Mapping[str, Any]) -> str:
    if row["family"] in ("model", "mixture", "pointer"):
        too_low = row["kind"] == "upper bound" and row.get("shares") == "posterior"
        note = ", made too low by the noise of the draws" if too_low else ""
        return f"upper bound{note}" if row["kind"] == "upper bound" else ""
    return "chosen on validation" if row.get("chosen_on_validation") else ""


def _interval(cell: Mapping[str, Any]) -> dict[str, str]:
    value, error = cell["bits_per_base"], cell["standard_error"]
    if not error:
        return {"value": f"{value:.4f}", "note": ""}
    low, high = value - _CERTAIN * error, value + _CERTAIN * error
    return {"value": f"{value:.4f}", "note": f"{low:.4f} to {high:.4f}"}


def _signed(cell: Mapping[str, Any]) -> dict[str, str]:
    value, error = cell["bits_per_base"], cell["standard_error"]
    if error is None:
        return {"value": f"{value:+.4f}", "note": ""}
    low, high = value - _CERTAIN * error, value + _CERTAIN * error
    return {"value": f"{value:+.4f}", "note": f"{low:+.4f} to {high:+.4f}"}


def _plus_minus(error: float | None, digits: int) -> str:
    return "one window, no error" if error is None else f"\u00b1 {error:.{digits}f}"


def _bound(kind: str) -> str:
    return ", an upper bound" if kind == "upper bound" else ""


def _at_most(kind: str) -> str:
    return "at most " if kind == "upper bound" else ""
