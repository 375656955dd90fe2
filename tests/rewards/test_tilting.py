"""Tilted resampling, against enumeration of a distribution over three symbols."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from dnamdlm.errors import ConfigError
from dnamdlm.rewards import effective_size, systematic_places, tilted_shares

P = np.array([0.5, 0.3, 0.2])
REWARDS = np.array([0.0, 1.0, 2.0])


def mean_copies(shares, count):
    """Exact mean number of copies of each draw over the shift: the points between its steps."""
    edges = np.concatenate([[0.0], np.cumsum(shares)]) * count
    steps = np.unique(np.concatenate([[0.0, 1.0], edges % 1.0]))
    total = np.zeros(len(shares))
    for low, high in itertools.pairwise(steps):
        places = systematic_places(shares, count, (low + high) / 2)
        total += (high - low) * np.bincount(places, minlength=len(shares))
    return total


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_draw_is_resampled_in_proportion_to_its_weight(temperature, count):
    shares = tilted_shares(REWARDS, temperature)
    np.testing.assert_allclose(mean_copies(shares, count), count * shares, rtol=0, atol=1e-12)


def law_of_output(pool_size, temperature):
    """The exact distribution of one resampled symbol, over all pools of draws from P."""
    law = np.zeros(3)
    for pool in itertools.product(range(3), repeat=pool_size):
        shares = tilted_shares(REWARDS[list(pool)], temperature)
        copies = mean_copies(shares, 1)
        np.add.at(law, list(pool), P[list(pool)].prod() * copies)
    return law


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_law_of_the_output_tends_to_the_tilted_law_as_the_pool_grows(temperature):
    target = P * np.exp(REWARDS / temperature)
    target /= target.sum()
    gaps = [np.abs(law_of_output(size, temperature) - target).sum() / 2 for size in (1, 2, 4, 7)]
    # a pool of one is the model itself, and every larger pool is nearer.
    np.testing.assert_allclose(law_of_output(1, temperature), P, atol=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(gaps))
    # the bias of self-normalised weights is of order 1 / pool.
    assert gaps[3] < gaps[0] * 2 / 7 * 2


def test_the_effective_size_is_the_inverse_of_the_sum_of_squares():
    shares = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    expected = 1 / sum(share**2 for share in shares)
    assert effective_size(np.array(shares, float)) == pytest.approx(float(expected), rel=1e-12)
    assert effective_size(np.full(8, 1 / 8)) == pytest.approx(8, rel=1e-12)


def test_equal_weights_take_every_draw_once():
    assert systematic_places(np.full(7, 1 / 7), 7, 0.5).tolist() == list(range(7))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_above_zero(temperature):
    with pytest.raises(ConfigError, match="must be above 0"):
        tilted_shares(REWARDS, temperature)


def test_extreme_rewards_keep_finite_weights():
    shares = tilted_shares(np.array([-1e6, 0.0, 1e6]), 1e-3)
    assert shares.tolist() == [0, 0, 1]
