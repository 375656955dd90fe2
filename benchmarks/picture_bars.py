"""Bars of a picture of a benchmark, and how they are read from a stored table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
_INTERVAL = re.compile(r"(-?[\d.]+) \((-?[\d.]+) to (-?[\d.]+)\)")

# Student's t with four degrees of freedom, for a mean of five.
_OF_FIVE = 2.776 / 5**0.5


@dataclass(frozen=True)
class Bar:
    """One number.

    Attributes:
        group: what is drawn together, with a heading.
        label: of the bar.
        kind: ours, simple, random or published.
        floor: what one gets without a model, or without what the bar is about.
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


def read_table(theme: str) -> tuple[str, dict[str, Any]]:
    """Name and content of the stored table of a theme.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = sorted(RESULTS.glob(f"{theme}_*.json"))
    if not found:
        raise FileNotFoundError(f"no table of {theme} in {RESULTS}")
    return found[-1].stem, json.loads(found[-1].read_text(encoding="utf-8"))


def stored(theme: str) -> tuple[str, list[list[Any]]]:
    """Name and rows of the stored table of a theme.

    Raises:
        FileNotFoundError: if there is none.
    """
    name, content = read_table(theme)
    return name, content["rows"]


def spread(cell: str) -> tuple[float, float, float]:
    """Value and ends of the interval of a cell "0.788 (0.747 to 0.829)"."""
    found = _INTERVAL.fullmatch(cell)
    assert found is not None, f"{cell} is no value with an interval"
    value, low, high = map(float, found.groups())
    return value, low, high


def ends(cell: str) -> tuple[float, float]:
    """Ends of an interval of a cell "0.747 to 0.829"."""
    low, high = map(float, cell.split(" to "))
    return low, high


def seeds_mean(cell: str) -> tuple[float, float, float]:
    """Mean and ends of its 95 % interval of a cell "3.85 +- 0.32" over five seeds.

    >>> [round(end, 2) for end in seeds_mean("2.0 +- 1.0")]
    [2.0, 0.76, 3.24]
    """
    value, deviation = map(float, cell.split(" +- "))
    return value, value - _OF_FIVE * deviation, value + _OF_FIVE * deviation


def kind_of(label: str) -> str:
    """Whether a row is a model of ours, one with random weights, or something simple."""
    if label.startswith("random"):
        return "random"
    ours = ("model", "network", "llr", "elbo", "influence", "confidence", "first hitting")
    score = label.removeprefix("minus ").removeprefix("absolute ")
    return "ours" if score.startswith(ours) else "simple"
