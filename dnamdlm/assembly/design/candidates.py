"""Draws that pass every condition, made in rounds until there are enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.errors import DataError
from dnamdlm.rewards.conditions import Condition, failures_of

_LEAST_ROUND = 64
_MOST_ROUND = 8192
_SPARE = 1.2

Draw = Callable[[int, int], list[str]]
"""First number and count of draws -> their sequences; a draw depends on its number alone."""


@dataclass(frozen=True)
class Pool:
    """Draws that pass, in the order of their numbers.

    Attributes:
        sequences: their letters.
        numbers: number of each draw, from 0.
        draws: draws up to the last one that is used, those that fail among them.
        refused: setting of each condition -> how many of these draws fail it; a draw may fail
            several.
    """

    sequences: list[str]
    numbers: list[int]
    draws: int
    refused: dict[str, int]

    @property
    def acceptance(self) -> float:
        """Share of the draws that pass."""
        return len(self.sequences) / self.draws


def passing_draws(
    draw: Draw, conditions: Sequence[Condition], *, wanted: int, most: int, members: int = 1
) -> Pool:
    """Make draws until `wanted` of them pass; which ones does not depend on the rounds.

    Args:
        draw: makes sequences.
        conditions: all must hold.
        wanted: draws that pass.
        most: draws after which it gives up.
        members: sequences that are made for each draw; rounds are the smaller for it.

    Raises:
        DataError: if too few of `most` draws pass, naming the condition that refuses most.
    """
    sequences: list[str] = []
    numbers: list[int] = []
    failures: list[np.ndarray] = []
    done = 0
    while len(sequences) < wanted:
        if done >= most:
            raise DataError(_too_few(len(sequences), wanted, conditions, np.concatenate(failures)))
        rate = max(len(sequences), 1) / done if done else 1.0
        needed = math.ceil((wanted - len(sequences)) / rate * (_SPARE if done else 1.0))
        least = max(1, _LEAST_ROUND // members) if done else 1
        size = min(max(needed, least), _MOST_ROUND, most - done)
        made = draw(done, size)
        failed = failures_of(conditions, made)
        failures.append(failed)
        passed = np.flatnonzero(~failed.any(axis=1))
        sequences += [made[row] for row in passed]
        numbers += [done + int(row) for row in passed]
        done += size
    draws = numbers[wanted - 1] + 1
    counted = np.concatenate(failures)[:draws].sum(axis=0)
    refused = {item.setting: int(n) for item, n in zip(conditions, counted, strict=True)}
    return Pool(sequences[:wanted], numbers[:wanted], draws, refused)


def _too_few(found: int, wanted: int, conditions: Sequence[Condition], failures: np.ndarray) -> str:
    """How many of how many passed, and what refused most."""
    counts = failures.sum(axis=0)
    worst = int(counts.argmax())
    remedy = f"num_sequences={found} or fewer" if found else "a wider constraint"
    return (
        f"only {found:,} of the {wanted:,} sequences that are wanted passed among "
        f"{len(failures):,} draws; {conditions[worst].setting} refused most, {counts[worst]:,} "
        f"draws: loosen it, give a larger most_draws, or {remedy}"
    )
