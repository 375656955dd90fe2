"""Bootstrap intervals on sums whose law is known."""

import math

import numpy as np

from dnamdlm.evaluation.resampling import (
    around,
    estimate,
    interval,
    mean_estimate,
    ratio,
    resample_weights,
)


def test_every_resample_has_as_many_items():
    weights = resample_weights(7, np.random.default_rng(0), 50)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = mean_estimate(values, np.random.default_rng(2))
    assert math.isclose(found.value, values.mean())
    # 200 resamples know a percentile to about a tenth of the width.
    assert abs((found.high - found.low) / (2 * 1.96 * 2.0 / 20) - 1) < 0.2


def test_numbers_that_are_not_known_are_left_out_of_a_mean():
    found = mean_estimate(np.array([1.0, math.nan, 3.0]), np.random.default_rng(0))
    assert found.value == 2.0


def test_one_sequence_has_a_figure_and_no_interval():
    found = estimate(np.array([[1, 2]]), lambda sums: sums[..., 0] / sums[..., 1], None)
    assert found.value == 0.5
    assert found.to_json() == {"value": 0.5, "low": None, "high": None}


def test_nothing_has_no_figure():
    assert math.isnan(estimate(np.zeros((0, 2)), lambda sums: sums[..., 0], None).value)
    assert all(math.isnan(end) for end in interval(np.array([math.nan])))


def test_a_quotient_by_zero_is_not_known():
    assert math.isnan(ratio(np.array([1.0]), np.array([0.0]))[0])


def test_limits_hold_the_interval():
    found = around(0.95, np.array([0.5, 1.0, 0.2]), (-1.0, 1.0))
    assert found.high == 1.0
    assert found.low < 0.95
