"""Ratio estimates against formulas worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dnamdlm.evaluation.rates import clustered_rate


def test_equal_windows_give_the_ordinary_standard_error_of_a_mean():
    rates = np.array([1.0, 2.0, 4.0, 5.0])
    counts = np.full(4, 10)
    estimate = clustered_rate(rates * counts, counts)
    assert estimate.value == pytest.approx(3.0)
    assert estimate.standard_error == pytest.approx(np.std(rates, ddof=1) / 2.0)
    assert estimate.count == 40


def test_windows_without_bases_do_not_count():
    estimate = clustered_rate(np.array([3.0, 0.0, 5.0]), np.array([2, 0, 2]))
    assert estimate == clustered_rate(np.array([3.0, 5.0]), np.array([2, 2]))


def test_the_standard_error_agrees_with_repeated_sampling():
    rng = np.random.default_rng(0)
    counts = rng.integers(5, 50, size=(3000, 80))
    sums = counts * rng.normal(2.0, 0.3, size=counts.shape)
    estimates = [clustered_rate(s, n) for s, n in zip(sums, counts, strict=True)]
    observed = np.std([estimate.value for estimate in estimates])
    claimed = np.mean([estimate.standard_error for estimate in estimates])
    assert claimed == pytest.approx(observed, rel=0.05)


def test_one_window_has_no_standard_error():
    assert math.isnan(clustered_rate(np.array([2.0]), np.array([1])).standard_error)


def test_nothing_counted_is_no_rate():
    assert math.isnan(clustered_rate(np.zeros(2), np.zeros(2, int)).value)
