"""Conditions as one automaton over A, C, G and T, for draws that satisfy them by construction.

Words are read by the prefixes of them that end here (Shift-And), a required word by whether it has
occurred, a window of GC by the count so far. The states are the combinations that can be reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dnamdlm.rewards.conditions import (
    Condition,
    ForbiddenWord,
    GcShare,
    LongestRun,
    RequiredWord,
)
from dnamdlm.rewards.word_matches import Word

MOST_STATES = 4096
"""States beyond which a condition is left to rejection."""

_ROUNDING = 1e-9
State: TypeAlias = int | None
"""What one condition remembers; None has failed."""


@dataclass(frozen=True)
class ConditionStates:
    """An automaton of conditions.

    Attributes:
        next_states: state after A, C, G and T, int64 (S, 4); the start is state 0.
        accepts: whether a sequence may end in each state, bool (S,).
        held: settings of the conditions that it holds; the others are left to rejection.

    Example: without CG, of 4, 15, 56 and 209 sequences.
        >>> from dnamdlm.rewards.conditions import ForbiddenWord
        >>> states = states_of([ForbiddenWord(Word("CG"))], 4)
        >>> [states.count(np.full(length, 15)) for length in (1, 2, 3, 4)]
        [4.0, 15.0, 56.0, 209.0]
    """

    next_states: NDArray[np.int64]
    accepts: NDArray[np.bool_]
    held: tuple[str, ...]

    def count(self, given: NDArray[np.uint8]) -> float:
        """How many sequences are accepted.

        Args:
            given: set of bases that each position may become, uint8 (L,).
        """
        counts = self.accepts.astype(np.float64)
        for bits in given[::-1].tolist():
            bases = [base for base in range(4) if bits >> base & 1]
            counts = counts[self.next_states[:, bases]].sum(axis=1)
        return float(counts[0])


def states_of(conditions: Sequence[Condition], length: int) -> ConditionStates:
    """The automaton of as many conditions as fit, in the order: words and runs, required words, GC.

    Args:
        conditions: of any kind; what an automaton cannot hold is left out.
        length: bases of a sequence.
    """
    forbidden = [item for item in conditions if isinstance(item, ForbiddenWord | LongestRun)]
    groups: list[tuple[list[Condition], _Reader]] = []
    if forbidden:
        groups.append(([*forbidden], _Forbidden.of(forbidden)))
    for item in conditions:
        if isinstance(item, RequiredWord):
            groups.append(([item], _Required.of(item)))
    for item in conditions:
        if isinstance(item, GcShare):
            groups.append(([item], _Gc.of(item, length)))
    readers: list[_Reader] = []
    held: list[str] = []
    found = _reached(readers)
    for items, reader in groups:
        larger = _reached([*readers, reader])
        if larger is not None:
            found = larger
            readers.append(reader)
            held += [item.setting for item in items]
    assert found is not None
    return ConditionStates(*found, tuple(held))


@dataclass(frozen=True)
class _Reader:
    """One condition: the start, the state after a base, and where a sequence may end."""

    start: int
    step: Callable[[int, int], State]
    accepts: Callable[[int], bool]


def _shift_and(forms: Sequence[NDArray[np.uint8]]) -> tuple[list[int], int, int]:
    """For each base the places of all words that it fits, and where words begin and end."""
    fits, begins, ends, offset = [0] * 4, 0, 0, 0
    for form in forms:
        begins |= 1 << offset
        for place, bits in enumerate(form):
            for base in range(4):
                fits[base] |= (int(bits) >> base & 1) << (offset + place)
        offset += len(form)
        ends |= 1 << (offset - 1)
    return fits, begins, ends


class _Forbidden:
    @staticmethod
    def of(conditions: Sequence[ForbiddenWord | LongestRun]) -> _Reader:
        forms: list[NDArray[np.uint8]] = []
        for item in conditions:
            if isinstance(item, ForbiddenWord):
                forms += item.word.forms
            else:
                runs = [Word(base * (item.most + 1), both_strands=False) for base in "ACGT"]
                forms += [form for run in runs for form in run.forms]
        fits, begins, ends = _shift_and(forms)

        def step(state: int, base: int) -> State:
            # the last letter of a word must not become the first of the next one.
            after = ((state & ~ends) << 1 | begins) & fits[base]
            return None if after & ends else after

        return _Reader(0, step, lambda _: True)


class _Required:
    @staticmethod
    def of(condition: RequiredWord) -> _Reader:
        fits, begins, ends = _shift_and(condition.word.forms)

        def step(state: int, base: int) -> State:
            if state < 0:
                return state
            after = ((state & ~ends) << 1 | begins) & fits[base]
            return -1 if after & ends else after

        return _Reader(0, step, lambda state: state < 0)


class _Gc:
    @staticmethod
    def of(condition: GcShare, length: int) -> _Reader:
        least = math.ceil(condition.low * length - _ROUNDING)
        most = math.floor(condition.high * length + _ROUNDING)

        def step(state: int, base: int) -> State:
            after = state + (base in (1, 2))
            return None if after > most else after

        return _Reader(0, step, lambda state: state >= least)


def _reached(
    readers: Sequence[_Reader],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Next states and accepting ones of all readers together; None if they are too many."""
    start = tuple(reader.start for reader in readers)
    numbers: dict[tuple[int, ...] | None, int] = {start: 0}
    waiting: list[tuple[int, ...] | None] = [start]
    rows: list[list[int]] = []
    for state in waiting:
        row = []
        for base in range(4):
            after = None if state is None else _after(readers, state, base)
            if after not in numbers:
                numbers[after] = len(waiting)
                waiting.append(after)
            row.append(numbers[after])
        rows.append(row)
        if len(waiting) > MOST_STATES:
            return None
    accepts = [
        state is not None
        and all(reader.accepts(part) for reader, part in zip(readers, state, strict=True))
        for state in waiting
    ]
    return np.array(rows, dtype=np.int64), np.array(accepts, dtype=np.bool_)


def _after(readers: Sequence[_Reader], state: Sequence[int], base: int) -> tuple[int, ...] | None:
    parts = []
    for reader, part in zip(readers, state, strict=True):
        after = reader.step(part, base)
        if after is None:
            return None
        parts.append(after)
    return tuple(parts)
