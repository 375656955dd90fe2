"""Discriminators cannot tell equal laws apart, and can where words differ."""

import math

import numpy as np
import pytest

from dnamdlm.evaluation.samples.discriminator import discriminate


def sequences(rng, count, weights=(0.25, 0.25, 0.25, 0.25), length=120):
    return list(rng.choice(4, (count, length), p=weights).astype(np.uint8))


@pytest.mark.parametrize("network", [False, True])
def test_equal_laws_are_not_told_apart(network):
    rng = np.random.default_rng(3)
    found = discriminate(sequences(rng, 120), sequences(rng, 120), 0, network=network)
    # the standard error of the area at 120 of each is 0.037.
    assert abs(found.value - 0.5) < 0.12


@pytest.mark.parametrize("network", [False, True])
def test_another_composition_is_told_apart(network):
    rng = np.random.default_rng(4)
    rich = sequences(rng, 60, (0.15, 0.35, 0.35, 0.15))
    found = discriminate(rich, sequences(rng, 60), 0, network=network)
    assert found.low > 0.8


@pytest.mark.parametrize("network", [False, True])
def test_the_same_seed_gives_the_same_area(network):
    rng = np.random.default_rng(5)
    left, right = sequences(rng, 20), sequences(rng, 20)
    first, second = (discriminate(left, right, 7, network=network) for _ in range(2))
    assert first == second


def test_too_few_sequences_have_no_area():
    rng = np.random.default_rng(6)
    assert math.isnan(discriminate(sequences(rng, 9), sequences(rng, 50), 0, network=False).value)
