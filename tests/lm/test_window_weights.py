"""Weights that depend on the sequence before a window, against enumerated distributions."""

import numpy as np
import pytest
import torch

from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.errors import DataError
from dnamdlm.lm.mixture_fit import MixtureFit, fit_mixture
from dnamdlm.lm.window_mixture import ShareRule
from dnamdlm.lm.window_weights import WindowWeights
from tests.helpers.oracle import TabulatedLaw

SYMBOLS, BEFORE, WINDOW = 3, 2, 2
LAWS = [TabulatedLaw(BEFORE + WINDOW, SYMBOLS, seed=seed) for seed in range(3)]
PREFIXES = SYMBOLS**BEFORE
RULE = ShareRule((30.0, -10.0, 5.0, 7.0, 0.4))
BY_WINDOW = WindowWeights((1.5, -2.0, 0.5), 0.3, (0.25, 0.75))
FIT = MixtureFit((0.4, 0.15, 0.45), RULE, BY_WINDOW)


def _nats():
    """-log P_k(x | b) of every window after every prefix, and -log P_k(b), by enumeration."""
    joint = torch.stack([law.probs.reshape(PREFIXES, -1) for law in LAWS])
    prefix = joint.sum(dim=2, keepdim=True)
    nats = -(joint / prefix).log().flatten(1)
    before = -prefix.log().expand_as(joint).flatten(1).T
    return nats, before, torch.full((nats.shape[1],), WINDOW)


def _mixed(nats, log_weights, shares, lengths):
    return mixed_nats(
        nats[..., None], lengths[:, None], total=lengths, shares=shares, log_weights=log_weights
    )[:, 0]


def test_the_mixture_sums_to_one_over_the_windows_after_every_prefix():
    nats, before, lengths = _nats()
    log_weights = FIT.log_weights(before)
    found = _mixed(nats, log_weights, posterior_shares(nats, log_weights), lengths)
    sums = (-found).exp().reshape(PREFIXES, -1).sum(dim=1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)
    weights = log_weights.exp()
    assert weights[1].reshape(PREFIXES, -1)[:, 0].std() > 0.01
    torch.testing.assert_close((weights * (-nats).exp()).sum(dim=0), (-found).exp())


def test_the_linear_form_bounds_the_mixture_and_is_linear_in_the_network():
    nats, before, lengths = _nats()
    log_weights = FIT.log_weights(before)
    exact = -torch.logsumexp(log_weights - nats, dim=0)

    def linear(shift):
        moved = nats.clone()
        moved[0] += shift
        return _mixed(moved, log_weights, FIT.shares(nats[1:], log_weights, lengths), lengths)

    assert bool((linear(0.0) >= exact - 1e-12).all())
    torch.testing.assert_close((linear(-2.0) + linear(2.0)) / 2, linear(0.0), rtol=0, atol=1e-12)


def test_the_rule_knows_the_weight_of_the_network_in_each_window():
    nats, before, lengths = _nats()
    log_weights = FIT.log_weights(before)
    share = FIT.shares(nats[1:], log_weights, lengths)[0]
    mixed = -torch.logsumexp(log_weights[1:] - nats[1:], dim=0)
    logit = 0.3 * mixed - 0.1 * nats[1] + 0.05 * nats[2] + 0.07 * WINDOW + 0.4 + log_weights[0]
    torch.testing.assert_close(share, logit.sigmoid(), rtol=0, atol=1e-12)


def test_the_bends_of_a_rule_are_cut_off_gains_of_the_copiers():
    nats = torch.tensor([[100.0] * 4, [140.0, 95.0, 80.0, 40.0]], dtype=torch.float64)
    lengths = torch.tensor([64] * 4)
    log_weights = torch.tensor([[-800.0] * 4, [0.0] * 4], dtype=torch.float64)
    rule = ShareRule((0.0,) * 5 + (100.0, 10.0, 1.0), bends=True)
    assert rule.num_copiers == 2
    gain = [-40.0, 5.0, 20.0, 60.0]
    expected = [max(-10, min(10, g)) + max(-30, min(30, g)) / 10 + max(0, g) / 100 for g in gain]
    logit = ShareRule.features(nats, log_weights, lengths, bends=True) @ torch.tensor(
        rule.coefficients, dtype=torch.float64
    )
    assert logit.tolist() == pytest.approx(expected)


def test_weights_without_figures_of_what_is_before_are_the_same_everywhere():
    nats, before, lengths = _nats()
    fit = MixtureFit((0.4, 0.15, 0.45), RULE)
    log_weights = fit.log_weights(before)
    assert log_weights.exp().unique(dim=1).flatten().tolist() == pytest.approx([0.4, 0.15, 0.45])
    shares = RULE.shares(nats[1:], log_weights[1:, 0], lengths)
    assert torch.equal(fit.shares(nats[1:], log_weights, lengths), shares)


def _windows(count=3000):
    """Half of the windows follow a copy; 60 % of these are copies, and 2 % of the others."""
    rng = np.random.default_rng(0)
    follows = np.arange(count) % 2 == 0
    copied = rng.random(count) < np.where(follows, 0.6, 0.02)
    easy = rng.normal(0.0, 4.0, count)
    network = 340 + easy + rng.normal(0.0, 3.0, count)
    copier = np.where(copied, 30.0 + easy, 348 + easy)
    nats = torch.from_numpy(np.stack([network, 341 + easy, copier]))
    noise = rng.normal(0.0, 1.0, count)
    before = torch.from_numpy(np.stack([follows.astype(float), noise], axis=1))
    return nats, torch.full((count,), 256), before


def _cost(fit, nats, lengths, before):
    log_weights = fit.log_weights(before)
    shares = fit.shares(nats[1:], log_weights, lengths)
    return _mixed(nats, log_weights, shares, lengths)


def test_weights_are_fitted_to_how_often_windows_are_copies():
    nats, lengths, before = _windows()
    fit, constant = fit_mixture(nats, lengths, before=before), fit_mixture(nats, lengths)
    assert constant.by_window is None
    copier = fit.log_weights(before)[2].exp()
    after, not_after = copier[::2].mean().item(), copier[1::2].mean().item()
    # the standard errors of the counted rates are 0.013 and 0.004.
    assert after == pytest.approx(0.6, abs=0.04)
    assert not_after == pytest.approx(0.02, abs=0.012)
    assert sum(fit.weights) == pytest.approx(1.0, abs=1e-12)
    costs = _cost(fit, nats, lengths, before), _cost(constant, nats, lengths, before)
    # the entropies of the rates: 0.62 of their mean, 0.67 and 0.10 of each.
    assert (costs[1] - costs[0]).mean().item() > 0.15
    others = (nats[2] > 300) & (before[:, 0] == 0)
    assert (costs[1] - costs[0])[others].mean().item() > 0.25


def test_what_tells_nothing_changes_hardly_anything():
    nats, lengths, before = _windows()
    fit = fit_mixture(nats, lengths, before=before[:, 1:])
    constant = fit_mixture(nats, lengths)
    gain = _cost(constant, nats, lengths, before) - _cost(fit, nats, lengths, before[:, 1:])
    assert -1e-6 < gain.mean().item() < 0.01
    assert abs(fit.by_window.slopes[0]) < 0.1


def test_a_weight_that_is_given_is_the_same_in_all_windows():
    nats, lengths, before = _windows()
    fit = fit_mixture(nats, lengths, pi=0.2, before=before)
    assert fit.by_window is None
    assert fit.pi == pytest.approx(0.2)


def test_another_number_of_figures_is_refused():
    with pytest.raises(DataError, match="depend on 3 figures of the sequence before a window, and"):
        BY_WINDOW.log_weights(torch.zeros(4, 2, dtype=torch.float64))
