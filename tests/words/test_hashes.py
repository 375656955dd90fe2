"""Hashes of words against one word at a time, published values, and counts of what is sampled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.splitmix import INCREMENT
from dnamdlm.words.hashes import (
    in_share,
    mixed,
    one_in,
    row_hashes,
    scattered,
    splitmix64,
    word_hashes,
)

CODES = st.lists(st.integers(0, 3), max_size=60).map(lambda codes: np.array(codes, np.uint8))
WORDS = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)


@given(codes=CODES, length=st.integers(1, 20))
def test_the_hash_of_a_word_is_that_of_a_row_wherever_it_stands(codes, length):
    hashes = word_hashes(codes, length)
    assert len(hashes) == max(0, len(codes) - length + 1)
    for place, value in enumerate(hashes.tolist()):
        assert int(row_hashes(codes[None, place : place + length])[0]) == value


def test_a_hash_is_the_polynomial_that_it_claims_to_be():
    expected = sum((code + 1) * INCREMENT**place for place, code in enumerate([3, 0, 2])) % 2**64
    assert word_hashes(np.array([1, 3, 0, 2], np.uint8), 3).tolist()[1] == expected


def test_splitmix64_has_its_published_outputs():
    # the generator seeded with 1234567 adds the increment and mixes; Vigna's splitmix64.c.
    states = np.array([1234567, (1234567 + INCREMENT) % 2**64], np.uint64)
    assert splitmix64(states).tolist() == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("function", [splitmix64, mixed, scattered])
def test_a_bijection_keeps_words_apart(function):
    # neighbours differ in low bits only.
    words = np.arange(1 << 16, dtype=np.uint64)
    assert len(np.unique(function(words))) == len(words)


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_a_share_of_the_words_is_chosen_and_always_the_same_ones(share):
    chosen = in_share(WORDS, share)
    # standard deviation of a binomial share of 100,000.
    assert abs(chosen.mean() - share) < 4 * (share * (1 - share) / len(WORDS)) ** 0.5
    assert in_share(WORDS[::-1], share).tolist() == chosen[::-1].tolist()


@pytest.mark.parametrize("density", [2, 7])
def test_one_word_in_so_many_is_chosen(density):
    share = 1 / density
    deviation = (share * (1 - share) / len(WORDS)) ** 0.5
    assert abs(one_in(WORDS, density).mean() - share) < 4 * deviation


def test_nothing_is_left_out_of_a_whole():
    assert in_share(WORDS, 1.0).all()
    assert one_in(WORDS, 1).all()
