"""Weights of a population, resampling, and the estimate of Z, by hand and by integration over u."""

import itertools
import math

import pytest
import torch

from dnamdlm.diffusion.population import Population, slot_keys, systematic_ancestors
from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys

WEIGHTS = [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.9, 0.05, 0.05]]


def _logs(rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def _cells(shares):
    """Intervals of u on which systematic resampling copies the same members."""
    size, total, bounds = len(shares), 0.0, {0.0, 1.0}
    for share in shares:
        total += share
        bounds |= {x for j in range(size) if 0 < (x := size * total - j) < 1}
    edges = sorted(bounds)
    return [(a, b) for a, b in itertools.pairwise(edges) if b - a > 1e-12]


@pytest.mark.parametrize("shares", WEIGHTS, ids=repr)
def test_the_expected_number_of_copies_is_in_proportion_to_the_weight(shares):
    expected = torch.zeros(len(shares), dtype=torch.float64)
    for first, last in _cells(shares):
        u = torch.tensor([(first + last) / 2], dtype=torch.float64)
        copies = torch.bincount(systematic_ancestors(_logs([shares]), u)[0], minlength=len(shares))
        assert all(abs(c - len(shares) * s) < 1 for c, s in zip(copies, shares, strict=True))
        expected += (last - first) * copies
    torch.testing.assert_close(expected, len(shares) * _logs([shares])[0].exp())


@pytest.mark.parametrize("u", [2.0**-53, 0.5, 1 - 2.0**-53])
def test_a_member_without_weight_is_never_copied(u):
    weights = _logs([[0.0, 0.4, 0.0, 0.6, 0.0]])
    uniforms = torch.tensor([u], dtype=torch.float64)
    assert set(systematic_ancestors(weights, uniforms)[0].tolist()) <= {1, 3}
    assert Population(weights, weights).chosen(uniforms).item() in {1, 3}


def test_a_value_is_counted_once_however_often_it_changes():
    population = Population.of_size(1, 2)
    ratios = torch.zeros(1, 2, dtype=torch.float64)
    for values in ([0.3, -2.0], [5.0, 7.0], [1.0, 2.0]):
        step = torch.tensor([[0.1, -0.4]], dtype=torch.float64)
        ratios += step
        population = population.proposed(step).valued(torch.tensor([values], dtype=torch.float64))
    expected = torch.tensor([[1.0, 2.0]], dtype=torch.float64) + ratios
    torch.testing.assert_close(population.log_weights, expected)


def test_a_member_that_did_not_change_keeps_its_weight_and_its_value():
    values = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    population = Population.of_size(1, 2).valued(values)
    changed = torch.tensor([[False, True]])
    after = population.valued(torch.full((1, 2), 9.0).double(), changed)
    assert after.log_weights.tolist() == [[1.0, 9.0]]
    assert after.stored.tolist() == [[1.0, 9.0]]


def test_no_weight_is_lost_where_the_population_is_not_resampled():
    values = torch.tensor([[0.0, 0.2], [0.0, 9.0]], dtype=torch.float64)
    population = Population.of_size(2, 2).valued(values)
    u = torch.tensor([0.5, 0.5], dtype=torch.float64)
    after, ancestors = population.resampled(u, threshold=0.6)
    assert ancestors.tolist() == [[0, 1], [1, 1]]
    assert after.log_weights[0].tolist() == [0.0, 0.2]
    assert after.stored.tolist() == [[0.0, 0.2], [9.0, 9.0]]
    torch.testing.assert_close(after.log_z, population.log_z)
    torch.testing.assert_close(after.effective_size[1], torch.tensor(2.0).double())


def test_a_population_that_may_not_be_resampled_stays():
    population = Population.of_size(1, 2).valued(torch.tensor([[0.0, 9.0]]).double())
    u = torch.tensor([0.5], dtype=torch.float64)
    after, ancestors = population.resampled(u, threshold=1.0, may=torch.tensor([False]))
    assert ancestors.tolist() == [[0, 1]]
    assert torch.equal(after.log_weights, population.log_weights)


def test_a_population_without_any_weight_says_so():
    dead = Population.of_size(1, 3).valued(torch.full((1, 3), -math.inf).double())
    assert dead.effective_size.tolist() == [0.0]
    assert dead.log_z.tolist() == [-math.inf]
    after, ancestors = dead.resampled(torch.tensor([0.5]).double(), threshold=1.0)
    assert ancestors.tolist() == [[0, 1, 2]]
    assert after.log_z.tolist() == [-math.inf]


def test_slots_have_noise_of_their_own_and_the_first_that_of_the_population():
    keys = row_keys(3, torch.arange(4))
    slots = slot_keys(keys, 8)
    assert torch.equal(slots[:, 0], keys)
    assert len(slots.flatten().unique()) == 32
    assert torch.equal(slot_keys(keys, 3), slots[:, :3])
    numbers = RowNoise(slots.flatten()).uniform(Stream.TOKENS, 0)
    assert len(numbers.unique()) == 32
