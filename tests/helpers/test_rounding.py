"""The allowance for rounding: wide enough for any order of a sum, and no wider than it needs."""

import pytest
import torch
from torch import nn

from tests.helpers.rounding import additions, rounding


@pytest.mark.parametrize("terms", [1, 2, 30, 1000, 100_000])
def test_sums_in_different_orders_differ_by_less_than_is_allowed(terms):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(20, terms, generator=generator)
    exact = numbers.double().sum(dim=1)
    scale = numbers.double().cumsum(dim=1).abs().max().item()
    for order in (numbers, numbers.flip(1), numbers.sort(dim=1).values):
        # one term after the other, which rounds more than the sum of torch.
        found = order.cumsum(dim=1)[:, -1].double()
        reach = max(scale, order.double().cumsum(dim=1).abs().max().item())
        assert (found - exact).abs().max() <= rounding(terms, reach)


def test_few_roundings_are_counted_and_of_many_most_cancel():
    eps = 2.0**-52
    assert rounding(3, 2.0, torch.float64) == 6 * eps
    assert rounding(10_000, 2.0, torch.float64) == 8 * 100 * 2 * eps
    # what a wrong constant does, one part in ten thousand, is never taken for rounding.
    assert rounding(10_000) < 1e-4


def test_matrices_sum_over_their_columns():
    network = nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3), nn.Linear(3, 7))
    assert additions(network) == 2 * (5 + 3)
