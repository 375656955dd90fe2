"""Noise that replaces tokens: with exact predictions the bounds are the exact likelihood.

A law over L = 3 positions and 3 symbols is enumerated, and with it all noisy sequences. No random
numbers anywhere.
"""

import numpy as np
import pytest
import torch

from dnamdlm.diffusion.discrete import step_divergence
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import mask_tokens
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.schedules import Cosine, LogLinear, nelbo_weight
from dnamdlm.diffusion.steps import ancestral_probabilities
from dnamdlm.diffusion.uniform_noise import (
    noise_probs,
    noise_rate,
    noisy_probs,
    replace_tokens,
    replaced_nats,
    reverse_probs,
    step_nats,
)
from dnamdlm.errors import ConfigError
from tests.helpers.oracle import TabulatedLaw
from tests.helpers.replaced_law import ReplacedLaw

LAW = TabulatedLaw(length=3, num_symbols=3)
SHARES = [1.0, 0.3]


def pairs_of(law):
    """Every clean sequence with every noisy one: (S N, L) each, and the number of each."""
    clean, noisy = law.law.sequences, law.states
    x0 = clean[:, None].expand(-1, len(noisy), -1).flatten(0, 1)
    xt = noisy[None].expand(len(clean), -1, -1).flatten(0, 1)
    return x0, xt, len(clean), len(noisy)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine()], ids=["loglinear", "cosine"])
def test_the_bound_of_continuous_time_is_the_likelihood_for_exact_predictions(share, schedule):
    law = ReplacedLaw(LAW, share)
    x0, xt, num_clean, num_noisy = pairs_of(law)
    nodes, weights = np.polynomial.legendre.leggauss(120)
    total = torch.zeros(num_clean, dtype=torch.float64)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        # t = u^3 puts nodes where the integrand is steep, t near 0.
        t = torch.tensor(node**3, dtype=torch.float64)
        alpha, slope = schedule.alpha(t), schedule.alpha_rate(t)
        probs = law.others(law.states, alpha).repeat(num_clean, 1, 1)
        rows = alpha.expand(len(x0))
        rate = noise_rate(rows, slope.expand(len(x0)))
        nats = replaced_nats(probs, x0, xt, rows, rate, noise=law.noise).sum(dim=1)
        chance = law.chance(x0, xt, alpha)
        jacobian = 3 * node**2
        # predictions from what cannot be seen are not numbers.
        nats = torch.where(chance > 0, chance * nats, 0.0)
        total += weight * jacobian * nats.reshape(num_clean, num_noisy).sum(dim=1)
    # what the quadrature leaves of a logarithmic singularity at t = 0.
    assert (total + LAW.probs.log()).abs().max() < 1e-11


def test_the_formula_is_that_of_the_paper_for_uniform_noise():
    law = ReplacedLaw(LAW, 1.0)
    x0, xt, num_clean, _ = pairs_of(law)
    alpha, slope = torch.tensor(0.6).double(), -1.0
    probs = law.others(law.states, alpha).repeat(num_clean, 1, 1)
    rows = alpha.expand(len(x0))
    found = replaced_nats(probs, x0, xt, rows, noise_rate(rows, slope + 0 * rows), noise=law.noise)
    # Schiff et al. 2024, eq. 12, with K real tokens.
    num = LAW.num_symbols
    bar = num * alpha * torch.nn.functional.one_hot(x0, num) + 1 - alpha
    bar_hat = num * alpha * probs[..., :num] + 1 - alpha
    i, i_hat = (x.gather(-1, xt[..., None]) for x in (bar, bar_hat))
    inner = -num / i + num / i_hat + (bar / i * (i_hat * bar / (bar_hat * i)).log()).sum(-1, True)
    torch.testing.assert_close(
        found, (-slope / (num * alpha) * inner)[..., 0], rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_the_bound_of_t_steps_is_that_of_the_enumerated_chain(share, num_steps):
    law, schedule = ReplacedLaw(LAW, share), LogLinear()
    x0, xt, num_clean, num_noisy = pairs_of(law)
    alphas = schedule.alpha(torch.arange(num_steps + 1).double() / num_steps).tolist()
    found = torch.zeros(num_clean, dtype=torch.float64)
    for step in range(num_steps, 0, -1):
        alpha_t, alpha_s = torch.tensor(alphas, dtype=torch.float64)[[step, step - 1]]
        probs = law.others(law.states, alpha_t).repeat(num_clean, 1, 1)
        rows_t, rows_s = alpha_t.expand(len(x0)), alpha_s.expand(len(x0))
        nats = step_nats(probs, x0, xt, rows_t, rows_s, noise=law.noise).sum(dim=1)
        chance = law.chance(x0, xt, alpha_t)
        found += (chance * nats).reshape(num_clean, num_noisy).sum(dim=1)
    expected = law.chain_bound(alphas)
    # sums of some thousand products.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    # it bounds the likelihood of the chain, whose law is not that of the data.
    chain = law.reverse_transitions(alphas)[law.index_of(LAW.sequences)]
    assert (found + chain.log()).min() > -1e-11


@pytest.mark.parametrize("share", SHARES)
def test_the_sampler_has_the_enumerated_law_of_the_reverse_chain(share):
    law = ReplacedLaw(LAW, share)
    alphas = [1.0, 0.7, 0.2, 0.0]
    found = law.prior()
    for step in (3, 2, 1):
        found = found @ law.kernel(*torch.tensor(alphas, dtype=torch.float64)[[step, step - 1]])
    one_step = law.reverse_transitions(alphas)
    torch.testing.assert_close(found, one_step, rtol=0, atol=1e-13)
    assert found.sum() == pytest.approx(1.0, abs=1e-13)


def test_the_reverse_of_noise_of_masks_alone_is_that_of_masked_diffusion():
    law = ReplacedLaw(LAW, 0.0)
    alpha_t, alpha_s = torch.tensor([0.3]).double(), torch.tensor([0.55]).double()
    rows = len(law.states)
    logits = LAW.logits(law.states)
    subs = substitution(logits, law.states, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)
    expected = ancestral_probabilities(
        subs, alpha_t.expand(rows), alpha_s.expand(rows), xt=law.states, mask_id=LAW.mask_id
    )
    predicted = torch.where(LAW.real_tokens, logits, -torch.inf).softmax(-1)
    found = reverse_probs(
        predicted, law.states, alpha_t.expand(rows), alpha_s.expand(rows), law.noise
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    whole = reverse_probs(
        predicted, law.states, alpha_t.expand(rows), torch.ones(rows).double(), law.noise
    )
    torch.testing.assert_close(whole, subs.exp(), rtol=0, atol=1e-15)


def test_the_bounds_of_noise_of_masks_alone_are_those_of_masked_diffusion():
    law = ReplacedLaw(LAW, 0.0)
    x0 = LAW.sequences
    hidden = torch.tensor([True, False, True])
    xt = torch.where(hidden, LAW.mask_id, x0)
    logits = LAW.logits(xt)
    predicted = torch.where(LAW.real_tokens, logits, -torch.inf).softmax(-1)
    subs = substitution(logits, xt, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)
    t = torch.full((len(x0),), 0.35, dtype=torch.float64)
    schedule = Cosine()
    alpha = schedule.alpha(t)
    expected = masked_nll(subs, x0, xt, nelbo_weight(schedule, t), mask_id=LAW.mask_id)
    rate = noise_rate(alpha, schedule.alpha_rate(t))
    found = replaced_nats(predicted, x0, xt, alpha, rate, noise=law.noise)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)
    before = schedule.alpha(t - 0.1)
    expected = step_divergence(subs, x0, xt, alpha, before, mask_id=LAW.mask_id)
    found = step_nats(predicted, x0, xt, alpha, before, noise=law.noise)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("share", SHARES)
def test_drawing_a_position_given_the_others_leaves_the_marginal_as_it_is(share):
    law = ReplacedLaw(LAW, share)
    alpha = torch.tensor(0.45).double()
    marginal = law.marginal(alpha)
    assert marginal.sum() == pytest.approx(1.0, abs=1e-14)
    probs = noisy_probs(law.others(law.states, alpha), alpha.expand(len(law.states)), law.noise)
    mixed = torch.zeros_like(marginal)
    for place in range(LAW.length):
        after = torch.zeros_like(marginal)
        for symbol in law.symbols:
            moved = law.states.clone()
            moved[:, place] = symbol
            after.index_add_(0, law.index_of(moved), marginal * probs[:, place, symbol])
        torch.testing.assert_close(after, marginal, rtol=0, atol=1e-15)
        mixed += after / LAW.length
    torch.testing.assert_close(mixed, marginal, rtol=0, atol=1e-15)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_tokens_are_replaced_as_often_as_the_law_says(share):
    length = 200_000
    x0 = torch.ones(1, length, dtype=torch.int64)
    generator = torch.Generator().manual_seed(3)
    uniforms, picks = torch.rand(2, 1, length, generator=generator, dtype=torch.float64)
    free = torch.arange(length)[None] >= 10
    noise = noise_probs(LAW.real_tokens, LAW.mask_id, share)
    hide = torch.tensor([0.6]).double()
    found = replace_tokens(x0, hide, free, uniforms, picks, noise=noise)
    assert torch.equal(found[:, :10], x0[:, :10])
    counts = torch.bincount(found[0, 10:], minlength=LAW.vocab_size) / (length - 10)
    expected = 0.6 * noise + 0.4 * (torch.arange(LAW.vocab_size) == 1)
    # four standard errors of a share.
    assert (counts - expected).abs().max() < 4 * 0.5 / length**0.5
    if share == 0:
        masked = mask_tokens(x0, hide, free, uniforms, mask_id=LAW.mask_id)
        assert torch.equal(found, masked)


def test_the_bound_keeps_its_precision_where_little_is_left():
    noise = noise_probs(LAW.real_tokens, LAW.mask_id, 1.0)
    probs = torch.tensor([[[0.2, 0.5, 0.3, 0.0, 0.0]]]).double()
    x0, xt = torch.tensor([[1]]), torch.tensor([[2]])
    for alpha in (1e-3, 1e-6, 1e-12):
        kept = torch.tensor([alpha]).double()
        nats = replaced_nats(probs, x0, xt, kept, noise_rate(kept, -torch.ones(1)), noise=noise)
        # to first order, with d = x0 - c and K = 3: K/2 (|d|^2 + K d_z^2) alpha.
        d = torch.tensor([-0.2, 0.5, -0.3]).double()
        expected = 1.5 * (d.square().sum() + 3 * d[2].square()) * alpha
        assert float(nats) == pytest.approx(float(expected), rel=20 * alpha + 1e-3)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_of_the_unit_interval_is_refused(share):
    with pytest.raises(ConfigError, match=r"must lie in \[0, 1\]"):
        noise_probs(LAW.real_tokens, LAW.mask_id, share)
