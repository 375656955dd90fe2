"""Sequences with measured activities in two halves, and mutation that stays natural.

The design half is all that designs are made from; the audit half is read by the held-out oracles
alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.class_rows import copies
from benchmarks.measured_rows import MeasuredRows, RowSettings, read_measured
from dnamdlm.errors import DataError
from dnamdlm.rewards.mutation import child_of
from dnamdlm.rewards.reward import Reward, rewards_of

_REFUSED = -1e9
_LEAST_ROWS = 100

Bits = Callable[[Sequence[str]], NDArray[np.float64]]
"""Sequences -> bits per base of each under a model."""


@dataclass(frozen=True)
class Halves:
    """The rows of a table in two halves.

    Attributes:
        design: what designs are made from.
        audit: what the held-out oracles are fitted on, without near copies of the design half.
        left_out: what was not taken -> rows.
    """

    design: MeasuredRows
    audit: MeasuredRows
    left_out: dict[str, int]


def read_halves(path: Path, settings: RowSettings) -> Halves:
    """Read a table in two halves, by alternating regions where it has places.

    Raises:
        DataError: if a column is missing, or a half has too few rows.
    """
    rows = read_measured(path, settings)
    if rows.regions is not None:
        is_audit = rows.regions % 2 == 1
    else:
        is_audit = np.random.default_rng(0).random(len(rows.rows)) < 0.5
    design, audit = (rows.rows.taken(np.flatnonzero(part)) for part in (~is_audit, is_audit))
    near = copies(design.texts, audit.texts)
    audit = audit.taken(np.flatnonzero(~near))
    if min(len(design), len(audit)) < _LEAST_ROWS:
        raise DataError(
            f"{path} gives {len(design)} and {len(audit)} rows of {settings.whole} bases; each "
            f"half needs {_LEAST_ROWS}"
        )
    left_out = rows.left_out | {"near copies of the design half": int(near.sum())}
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
