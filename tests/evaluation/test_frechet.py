"""The Frechet distance of normal laws with known moments."""

import numpy as np
import pytest

from dnamdlm.evaluation.frechet import frechet_distance, kmer_vectors


def test_equal_sets_have_no_distance():
    vectors = np.random.default_rng(0).normal(size=(50, 6))
    assert frechet_distance(vectors, vectors) == pytest.approx(0.0, abs=1e-9)


def test_a_shift_counts_its_square():
    vectors = np.random.default_rng(1).normal(size=(40, 3))
    assert frechet_distance(vectors, vectors + np.array([1.0, 2.0, 2.0])) == pytest.approx(9.0)


def test_a_stretch_counts_the_difference_of_the_deviations():
    # one dimension: (s1 - s2)^2 with the means equal.
    values = np.array([[-1.0], [0.0], [1.0]])
    deviation = np.std(values, ddof=1)
    assert frechet_distance(values, 3 * values) == pytest.approx((2 * deviation) ** 2)


def test_shares_of_words_add_up_to_one():
    vectors = kmer_vectors([np.array([0, 1, 2, 3, 0], np.uint8)], 2)
    assert vectors.shape == (1, 16)
    assert vectors.sum() == pytest.approx(1.0)
