"""Orders of revealing as estimators of the likelihood."""

import pytest
import torch

from dnamdlm.diffusion.ordered import ORDER_RULES
from dnamdlm.errors import ConfigError
from dnamdlm.lm.objectives import (
    ContinuousTime,
)
from tests.lm.test_objectives import LAW, _bases, _batch, _network, _oracle


@pytest.mark.parametrize("rule", ORDER_RULES)
def test_an_order_gives_the_exact_likelihood_of_the_oracle(rule):
    likelihood = _oracle(ContinuousTime()).log_likelihood(
        _batch(LAW.sequences), draws=1, estimator=rule
    )
    assert likelihood.kind == "exact"
    torch.testing.assert_close(likelihood.nats.sum(dim=1), -LAW.probs.log())


def test_random_orders_give_a_bound_that_the_oracle_reaches():
    likelihood = _oracle(ContinuousTime()).log_likelihood(
        _batch(LAW.sequences), estimator="orders:3"
    )
    assert likelihood.kind == "upper bound"
    torch.testing.assert_close(likelihood.nats.sum(dim=1), -LAW.probs.log())


def test_random_orders_of_a_row_do_not_depend_on_its_batch():
    model, batch = _network().double(), _batch(_bases(6, 5))
    part = batch.rows(torch.tensor([4, 1]))
    one, two = (
        model.log_likelihood(rows, estimator="orders:2").nats.sum(dim=1) for rows in (part, batch)
    )
    torch.testing.assert_close(one, two[[4, 1]])
    first = model.log_likelihood(part, estimator="orders:1").nats.sum(dim=1)
    assert bool((first != one).all())


@pytest.mark.parametrize("number", ["", "0", "-1", "2.5", "many", "1000000", "\u0663"])
def test_a_number_of_orders_that_cannot_be_is_refused(number):
    with pytest.raises(ConfigError, match="needs a number of orders from 1 to 999999"):
        _network().chosen_estimator(f"orders:{number}")
