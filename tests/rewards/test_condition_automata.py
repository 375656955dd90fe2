"""The automaton of conditions accepts what the conditions hold of, one by one."""

import itertools

import numpy as np
import pytest

from dnamdlm.rewards import condition_automata
from dnamdlm.rewards.condition_automata import states_of
from dnamdlm.rewards.conditions import (
    ForbiddenWord,
    GcShare,
    LongestRun,
    RequiredWord,
    failures_of,
)
from dnamdlm.rewards.word_matches import Word

EVERY = ["".join(letters) for letters in itertools.product("ACGT", repeat=5)]


def accepted(states, text):
    state = 0
    for letter in text:
        state = states.next_states[state, "ACGT".index(letter)]
    return bool(states.accepts[state])


@pytest.mark.parametrize(
    "conditions",
    [
        [ForbiddenWord(Word("GAN"))],
        [ForbiddenWord(Word("TA", both_strands=False)), ForbiddenWord(Word("RY"))],
        [LongestRun(2)],
        [RequiredWord(Word("TRC"))],
        [RequiredWord(Word("AAG")), RequiredWord(Word("GT", both_strands=False))],
        [GcShare(0.4, 0.6)],
        [ForbiddenWord(Word("GGS")), LongestRun(3), RequiredWord(Word("AT")), GcShare(0.2, 0.8)],
    ],
)
def test_it_accepts_what_satisfies_all(conditions):
    states = states_of(conditions, 5)
    passes = ~failures_of(conditions, EVERY).any(axis=1)
    assert [accepted(states, text) for text in EVERY] == passes.tolist()
    assert states.count(np.full(5, 15, np.uint8)) == passes.sum()
    # A or G, anything, C, anything, T.
    given = np.array([5, 15, 2, 15, 8], np.uint8)
    fits = [text[0] in "AG" and text[2] == "C" and text[4] == "T" for text in EVERY]
    assert states.count(given) == (passes & fits).sum()
    assert set(states.held) == {item.setting for item in conditions}


def test_what_has_too_many_states_is_left_out(monkeypatch):
    monkeypatch.setattr(condition_automata, "MOST_STATES", 20)
    conditions = [GcShare(0.1, 0.9), ForbiddenWord(Word("GGTCTC", name="BsaI"))]
    states = states_of(conditions, 40)
    assert states.held == ("avoid=BsaI (GGTCTC)",)
