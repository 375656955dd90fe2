"""Cross-entropy by the share of hidden tokens, against sums over the draws of a tiny law."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.evaluation.window_scores import WindowScores
from dnamdlm.lm.estimators import bound_draws
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import DiscreteTime
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.lm.test_masked import _batch

LAW = TabulatedLaw()
DRAWS = 6


@pytest.fixture
def lm():
    return MaskedDiffusionLM(OracleBackbone(LAW), LAW.vocabulary, LogLinear(), Stratified())


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    real = torch.tensor(LAW.vocabulary.real_ids)
    return _batch(real[torch.randint(len(real), (20, 3), generator=rng)])


@pytest.mark.parametrize("estimator", ["count", "time"])
def test_sums_are_those_of_the_conditional_law_given_what_is_visible(lm, batch, estimator):
    found = lm.log_likelihood(batch, draws=DRAWS, estimator=estimator)
    nats, count = torch.zeros(20, 10, dtype=torch.float64), torch.zeros(20, 10, dtype=torch.int64)
    for draw in range(DRAWS):
        (part,) = bound_draws(estimator, lm.process, lm.objective, batch, draw=draw, draws=DRAWS)
        log_probs = lm.denoise(part.xt).detach()
        for row in range(20):
            hidden = [at for at in range(3) if part.xt[row, at] == lm.mask_id]
            # one, two or three of three: shares of 0.33, 0.67 and 1.
            decile = {0: 0, 1: 3, 2: 6, 3: 9}[len(hidden)]
            count[row, decile] += len(hidden)
            nats[row, decile] -= sum(
                float(log_probs[row, at, batch.tokens[row, at]]) for at in hidden
            )
    torch.testing.assert_close(found.hidden_nats, nats)
    assert torch.equal(found.hidden_count, count)


def test_the_bound_by_counts_is_the_mean_over_draws_of_the_cross_entropy(lm, batch):
    found = lm.log_likelihood(batch, draws=DRAWS, estimator="count")
    # each draw adds n / k times its sum over k hidden tokens: a mean, times n.
    hidden = torch.tensor([0, 0, 0, 1, 0, 0, 2, 0, 0, 3])
    means = (found.hidden_nats / hidden.clamp(min=1)).sum(dim=1) * 3 / DRAWS
    torch.testing.assert_close(found.nats.sum(dim=1), means)


def test_an_estimator_that_is_not_a_weighted_cross_entropy_has_no_mask_rates(batch):
    lm = MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, LogLinear(), Stratified(), DiscreteTime(4)
    )
    found = lm.log_likelihood(batch, draws=1, estimator="left_to_right")
    assert found.hidden_nats is None


def test_deciles_of_windows_are_ratios_of_sums():
    nats, bases = np.zeros((2, 10)), np.zeros((2, 10), np.int64)
    nats[:, 4], bases[:, 4] = [3.0, 5.0], [2, 6]
    scores = WindowScores(
        ("all",), np.arange(2), np.ones((2, 1)), np.ones((2, 1)), "upper bound", nats, bases
    )
    rates = scores.decile_bits()
    assert rates[4].value == pytest.approx(1.0 / np.log(2.0))
    assert (rates[4].count, rates[0].count) == (8, 0)
