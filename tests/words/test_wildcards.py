"""Laws of a base for every pattern of known neighbours, against enumeration of all words."""

import itertools

import numpy as np
import pytest

from dnamdlm.words.kmers import add_reverse_complement
from dnamdlm.words.wildcards import UNKNOWN, smoothed_table

SIDES = [(1, 1), (2, 2), (2, 1), (0, 3), (3, 0)]
# float64 quotients of integers below 2^20.
TOLERANCE = 1e-12


def random_counts(left, right, *, smallest=1, both_strands=False):
    rng = np.random.default_rng(left * 10 + right)
    counts = rng.integers(smallest, 50, 4 ** (left + right + 1))
    return add_reverse_complement(counts) if both_strands else counts


def all_patterns(left, right):
    return itertools.product(range(5), repeat=left + right)


def number_of(pattern):
    return sum(letter * 5 ** (len(pattern) - 1 - place) for place, letter in enumerate(pattern))


def enumerated_law(counts, left, right, pattern):
    """Counts of the four bases over all words that agree with the known letters."""
    law = np.zeros(4)
    for number, word in enumerate(itertools.product(range(4), repeat=left + right + 1)):
        neighbours = word[:left] + word[left + 1 :]
        if all(known in (UNKNOWN, own) for known, own in zip(pattern, neighbours, strict=True)):
            law[word[left]] += counts[number]
    return law


@pytest.mark.parametrize(("left", "right"), SIDES)
def test_without_smoothing_laws_are_the_conditionals_of_the_words(left, right):
    counts = random_counts(left, right)
    table = smoothed_table(counts, left, right, pseudo_count=0.0)
    for pattern in all_patterns(left, right):
        law = enumerated_law(counts, left, right, pattern)
        number = number_of(pattern)
        np.testing.assert_allclose(table.probs[number], law / law.sum(), rtol=0, atol=TOLERANCE)
        assert table.own_share[number] == pytest.approx(1 / law.sum())


@pytest.mark.parametrize(("left", "right"), SIDES)
@pytest.mark.parametrize("pseudo_count", [None, 0.0, 3.0])
def test_all_laws_sum_to_one(left, right, pseudo_count):
    counts = random_counts(left, right, smallest=-45).clip(0)
    table = smoothed_table(counts, left, right, pseudo_count=pseudo_count)
    assert table.probs.shape == (5 ** (left + right), 4)
    np.testing.assert_allclose(table.probs.sum(axis=1), 1.0, rtol=0, atol=TOLERANCE)
    if pseudo_count != 0.0:
        assert (table.probs > 0).all()


@pytest.mark.parametrize(("left", "right"), SIDES)
@pytest.mark.parametrize("pseudo_count", [None, 2.0])
def test_the_opposite_strand_has_the_same_laws_bit_for_bit(left, right, pseudo_count):
    counts = random_counts(left, right, smallest=-30, both_strands=True).clip(0)
    counts = counts if left == right else random_counts(left, right, both_strands=True)
    table = smoothed_table(counts, left, right, pseudo_count=pseudo_count)
    turned = smoothed_table(counts, right, left, pseudo_count=pseudo_count)
    complement = (3, 2, 1, 0, UNKNOWN)
    for pattern in all_patterns(left, right):
        opposite = number_of([complement[letter] for letter in reversed(pattern)])
        found = turned.probs[opposite][::-1]
        if left == right or pseudo_count is not None:
            assert found.tolist() == table.probs[number_of(pattern)].tolist()


def test_the_farthest_neighbour_is_the_first_to_be_left_out():
    counts = np.zeros(4**4)
    counts[0:4] = (1, 2, 3, 4)  # AAA and each base
    table = smoothed_table(counts, 3, 0, pseudo_count=0.0)
    # after CAA nothing was seen, and AA has the law of AAA.
    assert table.probs[number_of((1, 0, 0))].tolist() == [0.1, 0.2, 0.3, 0.4]
    # after CC and C nothing was seen either, and what is left is the law of all bases.
    assert table.probs[number_of((0, 0, 1))].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_pseudo_counts_divide_between_a_pattern_and_the_shorter_ones():
    counts = np.zeros(64)
    counts[0] = 6  # AAA
    counts[1] = 2  # AAC, whose middle base is A
    counts[4 * 3] = 4  # ATA
    table = smoothed_table(counts, 1, 1, pseudo_count=2.0)
    of_all = (np.array([8, 0, 0, 4]) + 0.5) / 14
    left = (np.array([8, 0, 0, 4]) + 2 * of_all) / 14
    right = (np.array([6, 0, 0, 4]) + 2 * of_all) / 12
    expected = (np.array([6, 0, 0, 4]) + left + right) / 12
    np.testing.assert_allclose(table.probs[0], expected, rtol=0, atol=TOLERANCE)


def test_leaving_an_occurrence_out_is_counting_without_it():
    counts = random_counts(1, 1, smallest=2)
    table = smoothed_table(counts, 1, 1, pseudo_count=0.0)
    for word in range(64):
        fewer = counts.copy()
        fewer[word] -= 1
        without = smoothed_table(fewer, 1, 1, pseudo_count=0.0)
        pattern = number_of((word // 16, word % 4))
        own = np.arange(4) == word // 4 % 4
        share = table.own_share[pattern]
        found = (table.probs[pattern] - share * own) / (1 - share)
        np.testing.assert_allclose(found, without.probs[pattern], rtol=0, atol=TOLERANCE)


def test_neighbours_that_say_nothing_are_smoothed_away():
    rng = np.random.default_rng(0)
    base_law = np.array([0.4, 0.3, 0.2, 0.1])
    random_words = rng.choice(64, 5000)
    middle = rng.choice(4, 5000, p=base_law)
    words = random_words - 4 * (random_words // 4 % 4) + 4 * middle
    table = smoothed_table(np.bincount(words, minlength=64), 1, 1)
    # a bin of 5000 / 16 words has a standard error of up to 0.028; smoothing shrinks it.
    assert np.abs(table.probs - base_law).max() < 0.03
    counted = smoothed_table(np.bincount(words, minlength=64), 1, 1, pseudo_count=0.0)
    assert np.abs(counted.probs - base_law).max() > np.abs(table.probs - base_law).max()


@pytest.mark.parametrize(("size", "left", "right"), [(4, 0, 0), (16, 1, 1), (4**12, 6, 5)])
def test_counts_that_do_not_suit_are_refused(size, left, right):
    with pytest.raises(ValueError, match="do not suit"):
        smoothed_table(np.zeros(size), left, right)
