"""Duplicates and distances among a few sequences."""

import numpy as np
import pytest

from dnamdlm.evaluation.samples.diversity import is_duplicate, nearest_shares, pair_distances
from dnamdlm.tokens.nucleotide import reverse_complement


def random_sequence(seed, length=60):
    return np.random.default_rng(seed).integers(0, 4, length).astype(np.uint8)


def test_a_copy_and_a_reverse_complement_are_duplicates():
    first, other = random_sequence(0), random_sequence(1)
    sample = [first, other, first.copy(), reverse_complement(other)]
    assert is_duplicate(sample).tolist() == [False, False, True, True]


def test_all_pairs_are_taken_where_they_are_few():
    first = random_sequence(0)
    changed = first.copy()
    changed[10] = 3 - changed[10]
    distances = pair_distances([first, changed, first], np.random.default_rng(0))
    assert sorted(distances.tolist()) == pytest.approx([0.0, 1 / 60, 1 / 60])


def test_the_nearest_shares_all_words_of_a_copy_and_none_of_a_stranger():
    first = random_sequence(0)
    shares = nearest_shares([first, reverse_complement(first), random_sequence(5)])
    assert shares.tolist() == [1.0, 1.0, 0.0]


def test_half_a_copy_shares_half_of_the_words():
    first = random_sequence(0)
    half = np.concatenate([first[:30], random_sequence(7, 30)])
    # 19 of 49 words of 12 bases lie in the first 30 bases.
    assert nearest_shares([first, half])[0] == pytest.approx(19 / 49, abs=0.021)
