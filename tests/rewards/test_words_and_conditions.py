"""Words on both strands, rewards of letters and conditions, against brute force."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.errors import ConfigError
from dnamdlm.rewards import (
    EditDistance,
    ForbiddenWord,
    GcShare,
    GcWindow,
    LongestRun,
    MotifCount,
    NotLike,
    RequiredWord,
)
from dnamdlm.rewards.conditions import failures_of, word_of
from dnamdlm.rewards.word_matches import Word, match_counts_of
from dnamdlm.tokens.iupac import BASES_OF_CODE

SEQUENCES = st.lists(st.text("ACGT", max_size=12), min_size=1, max_size=5)
WORDS = st.text("".join(BASES_OF_CODE), min_size=1, max_size=4)
PAIRS = {"A": "T", "C": "G", "G": "C", "T": "A"}


def reverse(text):
    return "".join(PAIRS[base] for base in reversed(text))


def pattern(letters):
    return re.compile("(?=" + "".join(f"[{BASES_OF_CODE[letter]}]" for letter in letters) + ")")


def places(letters, text, *, both):
    """Starts of the word, and of windows whose reverse complement is the word."""
    found = {match.start() for match in pattern(letters).finditer(text)}
    if both:
        size = len(letters)
        found |= {
            len(text) - match.start() - size for match in pattern(letters).finditer(reverse(text))
        }
    return found


@settings(max_examples=150, deadline=None)
@given(SEQUENCES, WORDS, st.booleans())
def test_places_of_a_word_are_those_of_a_regular_expression(sequences, letters, both):
    word = Word(letters, both_strands=both)
    expected = [len(places(letters, text, both=both)) for text in sequences]
    assert match_counts_of(word, sequences).tolist() == expected
    assert MotifCount(word).batch(sequences).tolist() == expected
    assert ForbiddenWord(word).holds(sequences).tolist() == [n == 0 for n in expected]
    assert RequiredWord(word).holds(sequences).tolist() == [n > 0 for n in expected]


@settings(max_examples=100, deadline=None)
@given(SEQUENCES, st.integers(1, 4))
def test_the_longest_run_is_that_of_the_letters(sequences, most):
    longest = [
        max((len(list(run)) for _, run in itertools.groupby(text)), default=0) for text in sequences
    ]
    assert LongestRun(most).holds(sequences).tolist() == [size <= most for size in longest]


def test_a_window_of_gc_holds_its_ends():
    texts = ["G" * strong + "A" * (10 - strong) for strong in range(11)]
    assert np.flatnonzero(GcShare(0.4, 0.6).holds(texts)).tolist() == [4, 5, 6]
    # 0.6 * 150 is not 90 in binary, and 90 of 150 bases are allowed.
    assert GcShare(0.0, 0.6).holds(["G" * 90 + "A" * 60]).tolist() == [True]
    distances = GcWindow(0.4, 0.6).batch(texts)
    np.testing.assert_allclose(distances[[0, 4, 10]], [-0.4, 0.0, -0.4])


def test_the_edit_distance_counts_edits():
    assert EditDistance("ACGTAC").batch(["ACGTAC", "ACTAC", "TCGTAG"]).tolist() == [0, -1, -2]


def test_sequences_like_given_ones_are_refused_on_either_strand():
    rng = np.random.default_rng(4)
    known, other = ("".join(rng.choice(list("ACGT"), 60)) for _ in range(2))
    near = known[:45] + other[:15]
    given_set = encode_dna(["known"], [known], "given")
    condition = NotLike("given.fa", given_set, share=0.5, word=12)
    texts = [known, reverse(known), near, reverse(near), other]
    assert condition.holds(texts).tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("text", "letters", "both"),
    [
        ("EcoRI", "GAATTC", True), ("BsaI", "GGTCTC", True), ("TATAWR", "TATAWR", True),
        ("GGTCTC+", "GGTCTC", False), ("start_codon", "ATG", False), ("BsmBI", "CGTCTC", True),
    ],
)  # fmt: skip
def test_a_word_is_letters_or_an_enzyme(text, letters, both):
    word = word_of(text, "avoid")
    assert (word.letters, word.both_strands) == (letters, both)


@pytest.mark.parametrize("text", ["EcoR1", "acgt", "GAATTCX", "", "+", "E. coli"])
def test_a_word_that_is_neither_is_one_sentence(text):
    with pytest.raises(ConfigError, match="neither IUPAC letters in upper case nor the name"):
        word_of(text, "avoid")


@pytest.mark.parametrize("text", ["EcoR1", "ecori", "EcoRi"])
def test_an_enzyme_in_another_spelling_is_recognised(text):
    with pytest.raises(ConfigError, match=r"did you mean EcoRI\?"):
        word_of(text, "avoid")


def test_failures_are_listed_per_condition():
    conditions = [ForbiddenWord(Word("AA")), GcShare(0.5, 1.0)]
    found = failures_of(conditions, ["AACG", "ACAT", "CCGG"])
    assert found.tolist() == [[True, False], [False, True], [False, False]]
    assert failures_of([], ["ACGT"]).shape == (1, 0)
