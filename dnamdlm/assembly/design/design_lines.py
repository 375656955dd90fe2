"""The figures of a design as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_COLUMNS = (
    ("reward_mean", "reward"), ("reward_above_99", ">99%"), ("reward_above_99.9", ">99.9%"),
    ("audit_mean", "audit"), ("audit_above_99", ">99%"), ("audit_above_99.9", ">99.9%"),
    ("audit_shuffled", "shuffled"), ("gc", "GC"), ("nearest_identity", "nearest"),
    ("pair_distance", "distance"), ("kmer_divergence", "4-mers"), ("bits_per_base", "bits/base"),
)  # fmt: skip


def design_text(report: Mapping[str, Any]) -> str:
    """What it took, and one line of figures per set of sequences."""
    return "\n".join([*_cost_lines(report["cost"]), *_table(report["compared"])])


def _cost_lines(cost: Mapping[str, Any]) -> Iterator[str]:
    yield (f"{cost['designs']:,} designs: {cost['distribution']}")
    refused = sorted(cost["refused"].items(), key=lambda item: -item[1])
    named = ", ".join(f"{setting} {count:,}" for setting, count in refused if count)
    yield (
        f"{cost['pool']:,} of {cost['draws']:,} draws passed ({100 * cost['acceptance']:.1f} %)"
        + (f"; refused by {named}" if named else "")
        + f"; {cost['network_calls']:,} network calls, {cost['reward_sequences']:,} rewards, "
        + (f"{cost['value_sequences']:,} values, " if cost["value_sequences"] else "")
        + f"{cost['seconds']:.0f} s"
    )
    if cost["effective_size"] is not None:
        yield (
            f"the weights of the pool are worth {cost['effective_size']:.1f} independent draws; "
            f"{cost['distinct']:,} of {cost['designs']:,} designs are different draws"
        )
    if cost["population"] is not None:
        yield (
            f"the weights of a population are worth {cost['population_effective_size']:.1f} of "
            f"{cost['population']:,} members on average; log Z is about "
            f"{cost['log_mean_weight']:.3f}"
        )
    if cost["warning"]:
        yield cost["warning"]


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    shown = [(key, title) for key, title in _COLUMNS if any(key in row for row in rows)]
    width = max(len(row["name"]) for row in rows)
    yield f"{'':<{width}}" + "".join(f"{title:>10}" for _, title in shown)
    for row in rows:
        yield f"{row['name']:<{width}}" + "".join(_cell(row, key) for key, _ in shown)


def _cell(row: Mapping[str, Any], key: str) -> str:
    if key not in row:
        return f"{'-':>10}"
    is_share = "_above_" in key
    return f"{100 * row[key]:>8.0f} %" if is_share else f"{row[key]:>10.3f}"
