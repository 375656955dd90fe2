"""The table of a section "quality" as text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH = 15


def quality_text(quality: Mapping[str, Any]) -> str:
    """All figures, a line each: generated with its interval, then the floors.

    Args:
        quality: the section.
    """
    names = [column["name"] for column in quality["columns"]]
    rows = quality["figures"]
    width = max(len(full_label(row)) for row in rows) + 2
    lines = [
        f"{quality['num_sequences']} generated sequences beside {quality['reference']}:",
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
    for row in quality.get("infilling") or ():
        if row["label"].startswith("model"):
            lines.append(
                f"  infilling of {row['gap']} bases, {row['label']}: {row['value']:.1%} recovered"
            )
    copies = quality["copies"]
    lines.append(f"copies in {copies['looked_in']}: {len(copies['memorised'])} sequences flagged")
    lines += [f"left out: {what} ({why})" for what, why in quality["left_out"].items()]
    return "\n".join(lines)


def full_label(row: Mapping[str, Any]) -> str:
    """Label of a figure with its unit."""
    return f"  {row['label']}" + (f" [{row['unit']}]" if row["unit"] else "")


def short(value: float | None) -> str:
    """A number with about three telling digits; a dash where it is not known."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if size >= 0.02 or not size else f"{value:.4f}"
