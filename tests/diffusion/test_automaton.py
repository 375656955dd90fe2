"""Sequences that an automaton accepts: exact draws of products, and weights of steps."""

import itertools
import math

import pytest
import torch

from dnamdlm.diffusion import automaton as module
from dnamdlm.diffusion.automaton import Automaton
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.errors import ConfigError
from tests.helpers.every_choice import expectation, positions_of_first_hitting
from tests.helpers.oracle import TabulatedLaw

# of two symbols, never the second twice in a row, and at least one of it.
NO_PAIR = Automaton(
    torch.tensor([[0, 1], [2, 3], [2, 1], [3, 3]]),
    torch.tensor([False, True, True, False]),
    torch.tensor([0, 1]),
)
PAIRS = TabulatedLaw(length=2, seed=1)
TRIPLES = TabulatedLaw(length=3, seed=3)


def _accepted(sequence):
    return 1 in sequence and (1, 1) not in set(itertools.pairwise(sequence))


def _accepts(law):
    return torch.tensor([float(_accepted(tuple(row))) for row in law.sequences.tolist()]).double()


def test_totals_and_draws_are_those_of_all_sequences(monkeypatch):
    weights = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    every = list(itertools.product([0, 1], repeat=4))
    products = torch.tensor(
        [
            [math.prod(row[i][s] for i, s in enumerate(x)) * _accepted(x) for x in every]
            for row in weights.tolist()
        ],
        dtype=torch.float64,
    )
    found = NO_PAIR.log_totals(weights)
    torch.testing.assert_close(found.exp(), products.sum(1), rtol=1e-13, atol=0)

    def one():
        (drawn,) = NO_PAIR.draw(weights[:1], torch.full((1, 4), 0.5).double()).tolist()
        place = torch.zeros(len(every), dtype=torch.float64)
        place[every.index(tuple(drawn))] = 1.0
        return place

    law, _ = expectation(one, monkeypatch, cells={}, twisted=False)
    torch.testing.assert_close(law, products[0] / products[0].sum(), rtol=0, atol=1e-14)


def test_the_parts_of_a_large_batch_are_computed_one_by_one(monkeypatch):
    weights = torch.rand(5, 6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    uniforms = torch.rand(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = NO_PAIR.log_totals(weights), NO_PAIR.draw(weights, uniforms)
    monkeypatch.setattr(module, "_NUMBERS_AT_ONCE", 60)
    assert torch.equal(NO_PAIR.log_totals(weights), whole[0])
    assert torch.equal(NO_PAIR.draw(weights, uniforms), whole[1])


def _weighted(law, tilt, rule, steps=1):
    """The estimate of Z at the place of the sequence that was drawn."""
    steering = Steering(tilt, row_keys(0, torch.arange(1)), mask_id=law.mask_id, remembers=True)
    made = reverse_process(
        lambda xt, _time, _rows: law.log_probs(xt),
        torch.full((tilt.size, law.length), law.mask_id),
        rule=rule,
        schedule=LogLinear(),
        times=linear_grid(steps),
        mask_id=law.mask_id,
        noise=RowNoise(steering.keys),
        steering=steering,
    )
    outcome = steering.finished(made.tokens)
    assert all(_accepted(tuple(row)) for row in made.tokens.tolist())
    found = torch.zeros(len(law.sequences), dtype=torch.float64)
    found[law.index_of(made.tokens[outcome.rows])] = outcome.log_z.exp()
    return found


@pytest.mark.parametrize(
    ("law", "size", "reward"), [(TRIPLES, 1, None), (PAIRS, 2, 0.7)], ids=["alone", "with reward"]
)
def test_weights_make_the_reverse_process_the_law_given_the_constraint(
    law, size, reward, monkeypatch
):
    def rewards(ids):
        return reward * ids[:, 0].double()

    tilt = Tilt(size, None if reward is None else rewards, "likely", threshold=0.9, within=NO_PAIR)
    found, _ = expectation(
        lambda: _weighted(law, tilt, FirstHitting()),
        monkeypatch,
        cells=positions_of_first_hitting(law.length),
        twisted=True,
    )
    expected = law.probs * _accepts(law)
    if reward is not None:
        expected = expected * rewards(law.sequences).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert abs(found.sum() - expected.sum()) < 1e-12


def test_steps_without_weights_are_another_law(monkeypatch):
    """Drawing each step within the constraint is not the model given the constraint."""
    law = TRIPLES

    def one():
        found = _weighted(law, Tilt(1, within=NO_PAIR), FirstHitting())
        return (found > 0).double()

    found, _ = expectation(
        one, monkeypatch, cells=positions_of_first_hitting(law.length), twisted=True
    )
    expected = law.probs * _accepts(law)
    assert (found - expected / expected.sum()).abs().max() > 1e-3


def test_one_step_for_all_masks_needs_no_weights(monkeypatch):
    law = TRIPLES

    def one():
        return _weighted(law, Tilt(1, within=NO_PAIR), Ancestral(), steps=1)

    found, _ = expectation(one, monkeypatch, cells={(Stream.REVEALS, 0): 1}, twisted=True)
    marginals = law.log_probs(torch.full((1, 3), law.mask_id))[0, :, :2].exp()
    product = marginals[range(3), law.sequences].prod(dim=1) * _accepts(law)
    torch.testing.assert_close(found, product, rtol=0, atol=1e-13)


def test_first_order_is_refused():
    with pytest.raises(ConfigError, match="use proposal=bootstrap"):
        Tilt(2, lambda ids: ids.double(), proposal="first_order", within=NO_PAIR)
