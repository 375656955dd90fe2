"""The sample order: a permutation per epoch, without state."""

import numpy as np
import pytest

from dnamdlm.data.order import SampleOrder
from dnamdlm.errors import DataError


@pytest.mark.parametrize("num_items", [1, 2, 3, 4, 5, 16, 17, 100, 4095, 4097])
def test_every_epoch_visits_every_item_once(num_items):
    order = SampleOrder(num_items, seed=3)
    for epoch in (0, 1, 7):
        items = order.indices(np.arange(num_items) + epoch * num_items)
        assert sorted(items.tolist()) == list(range(num_items))


def test_epochs_and_seeds_differ():
    positions = np.arange(1000)
    orders = [
        SampleOrder(1000, seed).indices(positions + epoch * 1000)
        for seed in (0, 1, -1)
        for epoch in (0, 1)
    ]
    for i, first in enumerate(orders):
        for second in orders[:i]:
            # two random permutations agree in about one place.
            assert (first == second).sum() < 10


def test_a_position_has_the_same_item_in_any_company():
    order = SampleOrder(997, seed=5)
    whole = order.indices(np.arange(3000))
    assert whole[1234] == order.indices(np.array([1234]))[0]
    assert whole[::-1].tolist() == order.indices(np.arange(3000)[::-1]).tolist()


def test_positions_beyond_two_to_the_40_are_served():
    order = SampleOrder(10**10, seed=1)
    items = order.indices(np.array([2**40, 2**50, 2**62]))
    assert ((items >= 0) & (items < 10**10)).all()


def test_each_item_is_equally_likely_at_each_place():
    num_items, epochs = 20, 4000
    items = SampleOrder(num_items, seed=2).indices(np.arange(num_items * epochs))
    table = np.zeros((num_items, num_items))
    np.add.at(table, (np.tile(np.arange(num_items), epochs), items), 1)
    expected = epochs / num_items
    chi_square = ((table - expected) ** 2 / expected).sum()
    # 361 degrees of freedom: mean 361, standard deviation 27.
    assert abs(chi_square - 361) < 5 * 27


def test_uniforms_are_uniform_and_streams_are_independent():
    order, positions = SampleOrder(10, seed=9), np.arange(50_000)
    first, second = order.uniforms(positions, 0), order.uniforms(positions, 1)
    for values in (first, second):
        assert values.min() >= 0
        assert values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.01)
        assert values.var() == pytest.approx(1 / 12, abs=0.002)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.02


def test_integers_cover_their_range_and_no_more():
    values = SampleOrder(10, seed=9).integers(np.arange(5000), 4, 7)
    assert np.unique(values).tolist() == list(range(7))


def test_an_order_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least 1 item"):
        SampleOrder(0, seed=1)
