"""The Frechet distance of normal laws with known moments."""

import numpy as np
import pytest

from dnamdlm.evaluation.samples.frechet import NormalDistribution, frechet_distance, kmer_vectors


def test_equal_sets_have_no_distance():
    vectors = np.random.default_rng(0).normal(size=(50, 6))
    assert frechet_distance(vectors, NormalDistribution.of(vectors)) == pytest.approx(0.0, abs=1e-9)


def test_a_shift_counts_its_square():
    vectors = np.random.default_rng(1).normal(size=(40, 3))
    target = NormalDistribution.of(vectors + np.array([1.0, 2.0, 2.0]))
    assert frechet_distance(vectors, target) == pytest.approx(9.0)


def test_a_stretch_counts_the_difference_of_the_deviations():
    # one dimension: (s1 - s2)^2 with the means equal.
    values = np.array([[-1.0], [0.0], [1.0]])
    deviation = np.std(values, ddof=1)
    target = NormalDistribution.of(3 * values)
    assert frechet_distance(values, target) == pytest.approx((2 * deviation) ** 2)


@pytest.mark.parametrize("size", [4, 200], ids=["fewer rows than columns", "more"])
def test_the_trace_agrees_with_the_eigenvalues_of_the_product(size):
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(size, 8)), 2 * rng.normal(size=(50, 8)) @ rng.normal(size=(8, 8))
    first, second = np.cov(left, rowvar=False), np.cov(right, rowvar=False)
    # eigenvalues of a product of two covariances are real and not negative.
    shared = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0)).sum()
    gap = left.mean(axis=0) - right.mean(axis=0)
    expected = gap @ gap + np.trace(first) + np.trace(second) - 2 * shared
    # the roots of eigenvalues that are zero up to rounding have errors of 1e-7.
    assert frechet_distance(left, NormalDistribution.of(right)) == pytest.approx(expected, rel=1e-5)


def test_shares_of_words_add_up_to_one():
    vectors = kmer_vectors([np.array([0, 1, 2, 3, 0], np.uint8)], 2)
    assert vectors.shape == (1, 16)
    assert vectors.sum() == pytest.approx(1.0)
