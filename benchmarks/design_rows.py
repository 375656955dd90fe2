"""Sequences with measured activities in two halves, and mutation that stays natural.

The design half is all that designs are made from; the audit half is read by the held-out oracle
alone.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.class_rows import copies
from dnamdlm.errors import DataError
from dnamdlm.rewards.mutation import child_of
from dnamdlm.rewards.reward import Reward, rewards_of

_REFUSED = -1e9
_LEAST_ROWS = 100

Bits = Callable[[Sequence[str]], NDArray[np.float64]]
"""Sequences -> bits per base of each under a model."""


@dataclass(frozen=True)
class MeasuredRows:
    """Sequences of one length with activities.

    Attributes:
        texts: letters (N,).
        values: activities, float64 (N,).
    """

    texts: list[str]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.texts)

    def taken(self, rows: NDArray[np.integer]) -> MeasuredRows:
        """Some of the rows."""
        return MeasuredRows([self.texts[row] for row in rows], self.values[rows])


@dataclass(frozen=True)
class Halves:
    """The rows of a table in two halves.

    Attributes:
        design: what designs are made from.
        audit: what the held-out oracle is fitted on, without near copies of the design half.
        left_out: what was not taken -> rows.
    """

    design: MeasuredRows
    audit: MeasuredRows
    left_out: dict[str, int]


@dataclass(frozen=True)
class RowSettings:
    """How a table is read.

    Attributes:
        column: of the activities.
        start: first base that is taken of each sequence.
        length: bases that are taken.
        whole: bases of a sequence that is taken from; others are left out.
        log: use log(1 + max(activity, 0)).
        place: column of a place in a genome, whose regions alternate between the halves; None
            draws the halves at random.
        region: bases of a region.
    """

    column: str
    start: int
    length: int
    whole: int
    log: bool = False
    place: str | None = None
    region: int = 50_000


def read_halves(path: Path, settings: RowSettings) -> Halves:
    """Read a table with a column of sequences.

    Raises:
        DataError: if a column is missing, or a half has too few rows.
    """
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="," if ".csv" in path.name else "\t"))
    for name in filter(None, ("sequence", settings.column, settings.place)):
        if not table or name not in table[0]:
            raise DataError(f"{path} has no column {name}; name one that it has")
    first, last = settings.start, settings.start + settings.length
    seen: dict[str, tuple[float, str]] = {}
    other = unplaced = 0
    for row in table:
        text = row["sequence"].upper()
        if len(text) != settings.whole or set(text[first:last]) - set("ACGT"):
            other += 1
            continue
        place = row[settings.place] if settings.place else ""
        if settings.place and not place.isdecimal():
            unplaced += 1
            continue
        seen.setdefault(text[first:last], (float(row[settings.column]), place))
    texts = list(seen)
    values = np.array([value for value, _ in seen.values()])
    if settings.log:
        values = np.log1p(np.maximum(values, 0))
    if settings.place:
        is_audit = np.array([int(place) // settings.region % 2 for _, place in seen.values()]) == 1
    else:
        is_audit = np.random.default_rng(0).random(len(texts)) < 0.5
    rows = MeasuredRows(texts, values)
    design, audit = rows.taken(np.flatnonzero(~is_audit)), rows.taken(np.flatnonzero(is_audit))
    near = copies(design.texts, audit.texts)
    audit = audit.taken(np.flatnonzero(~near))
    if min(len(design), len(audit)) < _LEAST_ROWS:
        raise DataError(
            f"{path} gives {len(design)} and {len(audit)} rows of {settings.whole} bases; each "
            f"half needs {_LEAST_ROWS}"
        )
    left_out = {
        "of another length, or with other letters": other,
        "without a place": unplaced,
        "repeated": len(table) - other - unplaced - len(texts),
        "near copies of the design half": int(near.sum()),
    }
    return Halves(design, audit, left_out)


class NaturalReward:
    """A reward that refuses what is less likely under a model than natural sequences are.

    Only what would be among the best is asked for its bits, since the rest is not selected anyway.

    Attributes:
        name: for messages.
        asked: sequences that the model read.
    """

    name = "reward within naturalness"

    def __init__(self, reward: Reward, bits: Bits, limit: float, keep: int) -> None:
        """Join them.

        Args:
            reward: what is selected for.
            bits: per base, under a model.
            limit: most bits per base.
            keep: how many are selected.
        """
        self.reward, self.bits, self.limit, self.keep = reward, bits, limit, keep
        self.best = np.zeros(0)
        self.asked = 0

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The rewards, very low where a sequence is refused, (N,)."""
        values = rewards_of(self.reward, sequences).copy()
        worst = self.best[-1] if len(self.best) == self.keep else -math.inf
        promising = np.flatnonzero(values > worst)
        if len(promising):
            self.asked += len(promising)
            bits = self.bits([sequences[int(row)] for row in promising])
            values[promising[bits > self.limit]] = _REFUSED
        kept = values[values > _REFUSED]
        self.best = np.sort(np.concatenate([self.best, kept]))[::-1][: self.keep]
        return values


@dataclass(frozen=True)
class Climbed:
    """Where lines of mutation ended.

    Attributes:
        texts: one for each line.
        rewards: sequences that the reward read.
        asked: sequences that were asked for their bits.
    """

    texts: list[str]
    rewards: int
    asked: int


def climbed(
    parents: Sequence[str], reward: Reward, bits: Bits, limit: float, *, calls: int, seed: int
) -> Climbed:
    """Each parent by itself: a child takes its place if the reward is higher and the bits allow it.

    Lines do not compete, so that they stay as different as their parents are.

    Args:
        parents: sequences to begin with.
        reward: what is climbed.
        bits: per base, under a model.
        limit: most bits per base of a child.
        calls: sequences that the reward may read.
        seed: of all chance.
    """
    rng = np.random.default_rng(seed)
    texts, values = list(parents), rewards_of(reward, list(parents)).copy()
    used, asked = len(texts), 0
    while used + len(texts) <= calls:
        children = [child_of(text, rng) for text in texts]
        found = rewards_of(reward, children)
        used += len(children)
        better = np.flatnonzero(found > values)
        if not len(better):
            continue
        asked += len(better)
        for row in better[bits([children[row] for row in better]) <= limit]:
            texts[row], values[row] = children[row], found[row]
    return Climbed(texts, used, asked)
