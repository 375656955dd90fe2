"""The table of a section "quality" as text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 15


def quality_text(quality: Mapping[str, Any]) -> str:
    """All figures, one line each: generated with its interval, then the reference samples.

    Args:
        quality: the section.
    """
    names = [column["name"] for column in quality["columns"]]
    rows = quality["figures"]
    width = max(len(full_label(row)) for row in rows) + 2
    lines = [
        f"{sequence_count(quality)}, compared with {quality['reference']}:",
        " " * width + "generated" + " " * 16 + "".join(f"{name:>{_WIDTH}}" for name in names[1:]),
    ]
    group = ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            lines.append(group)
        ours = row["cells"][names[0]]
        span = "" if ours["low"] is None else f"[{short(ours['low'])}, {short(ours['high'])}]"
        others = "".join(f"{short(row['cells'][name]['value']):>{_WIDTH}}" for name in names[1:])
        lines.append(f"{full_label(row):<{width}}{short(ours['value']):<8} {span:<16}{others}")
    lines += _infilling_lines(quality.get("infilling") or ())
    copies = quality["copies"]
    lines.append(f"memorised (copies in {copies['looked_in']}): {len(copies['memorised'])}")
    lines += [f"left out: {what} ({why})" for what, why in quality["left_out"].items()]
    return "\n".join(lines)


def sequence_count(quality: Mapping[str, Any]) -> str:
    """Number of generated sequences that were compared, and of those that were given."""
    used, given = quality["num_sequences"], quality["num_given"]
    return f"{used} generated sequences" + (f" of {given}" if given > used else "")


def _infilling_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each gap length: recovery of the model with its interval, then of baselines."""
    by_gap: dict[int, list[str]] = {}
    for row in rows:
        span = "" if row["low"] is None else f" [{short(row['low'])}, {short(row['high'])}]"
        shown = span if row["label"].startswith("model") else ""
        by_gap.setdefault(row["gap"], []).append(f"{row['label']} {short(row['value'])}{shown}")
    lines = [f"  gaps of {gap}: " + "; ".join(cells) for gap, cells in by_gap.items()]
    return ["Infilling, share of hidden bases recovered", *lines] if lines else []


def full_label(row: Mapping[str, Any]) -> str:
    """Label of a figure with its unit."""
    return f"  {row['label']}" + (f" [{row['unit']}]" if row["unit"] else "")


def short(value: float | None) -> str:
    """A number with about three significant digits; a dash where it is unknown."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.02 or not size:
        return f"{value:.3f}"
    return f"{value:.4f}" if size >= 0.001 else f"{value:.1e}"
