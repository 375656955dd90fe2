"""Conditions that no sequence can satisfy, found before anything is drawn.

What is checked are pairs: a condition and what is given, or two conditions. Three conditions that
are possible two by two and not together are not found here; the draws then show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError
from dnamdlm.rewards.conditions import (
    Condition,
    ForbiddenWord,
    GcShare,
    LongestRun,
    RequiredWord,
)
from dnamdlm.rewards.word_matches import Word, places_of

_STRONG = 0b0110
"""C and G."""


def check_conditions(conditions: Sequence[Condition], given: NDArray[np.uint8], what: str) -> None:
    """Refuse conditions that contradict what is given, or each other.

    Args:
        conditions: all of them.
        given: set of bases that each position may become, uint8 (L,).
        what: who says so, such as `motif=TATAAT@108`; for messages.

    Raises:
        ConfigError: naming the two.
    """
    for found in (*_with_given(conditions, given, what), *_in_pairs(conditions, len(given))):
        raise ConfigError(found)


def _with_given(
    conditions: Sequence[Condition], given: NDArray[np.uint8], what: str
) -> Iterator[str]:
    """Sentences about conditions that what is given rules out."""
    length = len(given)
    for condition in conditions:
        if isinstance(condition, ForbiddenWord):
            always = np.flatnonzero(places_of(condition.word, given))
            if len(always):
                yield (
                    f"{condition.setting} contradicts {what}, which has it at position "
                    f"{always[0]}; leave one of them out"
                )
        elif isinstance(condition, LongestRun):
            for base in "ACGT":
                run = Word(base * (condition.most + 1), both_strands=False)
                always = np.flatnonzero(places_of(run, given))
                if len(always):
                    yield (
                        f"{condition.setting} contradicts {what}, which has a longer run of {base} "
                        f"at position {always[0]}; leave one of them out"
                    )
        elif isinstance(condition, RequiredWord):
            if len(condition.word) > length:
                yield (
                    f"{condition.setting} has {len(condition.word)} bases and cannot fit in "
                    f"length={length}; give a larger length"
                )
            elif not _fits(condition.word, given):
                yield (
                    f"{condition.setting} contradicts {what}, which leaves no place for it; leave "
                    "one of them out"
                )
        elif isinstance(condition, GcShare):
            yield from _gc_with_given(condition, given, what)


def _gc_with_given(condition: GcShare, given: NDArray[np.uint8], what: str) -> Iterator[str]:
    length = len(given)
    least = int((given & ~np.uint8(_STRONG) == 0).sum())
    most = int((given & np.uint8(_STRONG) != 0).sum())
    lowest = max(math.ceil(condition.low * length - 1e-9), 0)
    highest = math.floor(condition.high * length + 1e-9)
    if lowest > highest:
        yield (
            f"{condition.setting} holds no share that {length} bases can have; widen it or change "
            "length"
        )
    elif least > highest or most < lowest:
        yield (
            f"{condition.setting} contradicts {what}, with which the share of G and C lies between "
            f"{least / length:.3g} and {most / length:.3g}; change one of them"
        )


def _in_pairs(conditions: Sequence[Condition], length: int) -> Iterator[str]:
    """Sentences about pairs of conditions that exclude each other."""
    required = [item for item in conditions if isinstance(item, RequiredWord)]
    for needed, other in product(required, conditions):
        if isinstance(other, ForbiddenWord) and _always_holds(needed.word, other.word):
            yield (
                f"{needed.setting} contradicts {other.setting}, which every sequence with it has; "
                "leave one of them out"
            )
        if isinstance(other, LongestRun) and any(
            _always_holds(needed.word, Word(base * (other.most + 1))) for base in "ACGT"
        ):
            yield (
                f"{needed.setting} contradicts {other.setting}, because it has a longer run; leave "
                "one of them out"
            )
        if isinstance(other, GcShare):
            free = length - len(needed.word)
            sets = needed.word.sets
            least = int((sets & ~np.uint8(_STRONG) == 0).sum())
            most = int((sets & np.uint8(_STRONG) != 0).sum()) + free
            if least > other.high * length + 1e-9 or most < other.low * length - 1e-9:
                yield (
                    f"{needed.setting} contradicts {other.setting}, with which the share of G and "
                    f"C lies between {least / length:.3g} and {most / length:.3g}; change one of "
                    "them"
                )


def _always_holds(needed: Word, forbidden: Word) -> bool:
    """Whether each form of a word has the other one, whatever its ambiguous letters become."""
    return all(places_of(forbidden, form).any() for form in needed.forms)


def _fits(word: Word, given: NDArray[np.uint8]) -> bool:
    """Whether some place can still become the word."""
    size = len(given) - len(word) + 1
    for form in word.forms:
        here = np.ones(size, np.bool_)
        for offset, bits in enumerate(form):
            here &= given[offset : offset + size] & bits != 0
        if here.any():
            return True
    return False
