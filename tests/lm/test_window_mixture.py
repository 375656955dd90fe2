"""Mixtures over windows against enumerated laws, and what is chosen on validation."""

import itertools
import math

import numpy as np
import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.ordered import ordered_nats
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.estimators import exact_estimator
from dnamdlm.lm.language_model import LanguageModel, LossTerms, TokenLikelihood
from dnamdlm.lm.markov import MarkovLM, MarkovModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.mixture_fit import fit_mixture
from dnamdlm.lm.window_mixture import MixtureLM, ShareRule, mixture_weights
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LENGTH, SYMBOLS = 3, 3
LAW = TabulatedLaw(LENGTH, SYMBOLS, seed=0)
COPIED = TabulatedLaw(LENGTH, SYMBOLS, seed=1)
OTHER = TabulatedLaw(LENGTH, SYMBOLS, seed=2)
ORDERS = list(itertools.permutations(range(LENGTH)))


class LawLM:
    """An enumerated law as an exact language model."""

    def __init__(self, law):
        self.law, self.vocabulary = law, law.vocabulary

    def loss_terms(self, batch):
        exact = self.log_likelihood(batch)
        return LossTerms(exact.nats, exact.valid)

    def log_likelihood(self, batch, *, draws=1, estimator="auto"):
        self.chosen_estimator(estimator)
        nats = -self.law.probs.log()[self.law.index_of(batch.tokens)] / LENGTH
        return TokenLikelihood(nats[:, None] * batch.valid, batch.valid, "exact")

    def chosen_estimator(self, estimator):
        return exact_estimator(estimator, "LawLM")

    def generate(self, keys, length, *, initial=None, batch_size=64):
        return Generated(torch.zeros(len(keys), length, dtype=torch.int64), 0, 0)


def _batch(tokens=LAW.sequences, seed=0):
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens,
        present=everywhere,
        valid=everywhere,
        weight=None,
        key=row_keys(seed, torch.arange(len(tokens))),
        row=torch.arange(len(tokens)),
        global_size=len(tokens),
    )


def _denoise(xt, seed=5):
    """Conditional distributions that belong to no law: their bound depends on the order."""
    place = (SYMBOLS + 1) ** torch.arange(LENGTH - 1, -1, -1)
    table = torch.randn(
        (SYMBOLS + 1) ** LENGTH, LENGTH, LAW.vocab_size,
        generator=torch.Generator().manual_seed(seed), dtype=torch.float64,
    )  # fmt: skip
    logits = table[(xt * place).sum(dim=-1)]
    return substitution(logits, xt, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)


def _of_each_order(denoise):
    """-log p of each sequence in each order, shape (orders, sequences)."""
    everywhere = torch.ones_like(LAW.sequences, dtype=torch.bool)
    return torch.stack(
        [
            ordered_nats(
                denoise, LAW.sequences, everywhere, mask_id=LAW.mask_id,
                rule=torch.tensor(order).double().expand(len(LAW.sequences), -1),
            ).sum(dim=1)
            for order in ORDERS
        ]
    )  # fmt: skip


class GivenNats(LawLM):
    """An estimate of a bound, as a model."""

    def __init__(self, nats):
        super().__init__(LAW)
        self.nats = nats

    def log_likelihood(self, batch, *, draws=1, estimator="auto"):
        nats = self.nats[:, None] * batch.valid / LENGTH
        return TokenLikelihood(nats, batch.valid, "upper bound")


def _total(mixture):
    return mixture.log_likelihood(_batch()).nats.sum(dim=1)


RULE = ShareRule((30.0, -10.0, 5.0, 0.4))


def test_a_mixture_of_exact_laws_is_exact_and_sums_to_one():
    mixture = MixtureLM(LawLM(LAW), LawLM(COPIED), LawLM(OTHER), pi=(0.2, 0.5))
    assert isinstance(mixture, LanguageModel)
    likelihood = mixture.log_likelihood(_batch())
    assert likelihood.kind == "exact"
    expected = 0.3 * LAW.probs + 0.2 * COPIED.probs + 0.5 * OTHER.probs
    found = (-likelihood.nats.sum(dim=1)).exp()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert found.sum().item() == pytest.approx(1.0, abs=1e-12)


def test_both_forms_are_bounds_of_a_mixture_with_a_network():
    each = _of_each_order(_denoise)
    network = (-each).exp().mean(dim=0)
    assert network.sum().item() == pytest.approx(1.0, abs=1e-12)
    exact = -(0.7 * network + 0.3 * COPIED.probs).log()
    given = GivenNats(each.mean(dim=0))
    posterior = _total(MixtureLM(given, LawLM(COPIED), pi=0.3))
    linear = _total(MixtureLM(given, LawLM(COPIED), pi=0.3, rule=RULE))
    assert bool((posterior >= exact).all())
    assert bool((linear >= posterior - 1e-12).all())
    closed = -torch.logaddexp(math.log(0.7) - each.mean(dim=0), math.log(0.3) + COPIED.probs.log())
    torch.testing.assert_close(posterior, closed, rtol=0, atol=1e-12)


def test_the_linear_form_has_no_bias_and_the_posterior_form_is_too_low():
    each = _of_each_order(_denoise)

    def of(nats, rule):
        return _total(MixtureLM(GivenNats(nats), LawLM(COPIED), pi=0.3, rule=rule))

    linear = torch.stack([of(nats, RULE) for nats in each]).mean(dim=0)
    torch.testing.assert_close(linear, of(each.mean(dim=0), RULE), rtol=0, atol=1e-12)
    posterior = torch.stack([of(nats, None) for nats in each]).mean(dim=0)
    assert bool((posterior < of(each.mean(dim=0), None)).all())


def test_the_posterior_form_of_orders_is_a_bound_whatever_their_number():
    each = _of_each_order(_denoise)
    exact = -(0.7 * (-each).exp().mean(dim=0) + 0.3 * COPIED.probs).log()
    of_one = [_total(MixtureLM(GivenNats(nats), LawLM(COPIED), pi=0.3)) for nats in each]
    assert bool((torch.stack(of_one).mean(dim=0) > exact).all())


def test_the_linear_form_follows_from_the_network_and_the_rule():
    network = MaskedDiffusionLM(OracleBackbone(LAW), LAW.vocabulary)
    mixture = MixtureLM(network, LawLM(COPIED), pi=0.3, rule=RULE)
    likelihood = mixture.log_likelihood(_batch(), draws=2, estimator="count")
    assert likelihood.kind == "upper bound"
    own = network.log_likelihood(_batch(), draws=2, estimator="count").nats.sum(dim=1)
    copied = -COPIED.probs.log()
    mixed = copied - math.log(0.3)
    share = (0.3 * mixed - 0.1 * copied + 0.05 * LENGTH + 0.4).sigmoid()
    entropy = -share * share.log() - (1 - share) * (1 - share).log()
    expected = share * (own - math.log(0.7)) + (1 - share) * mixed - entropy
    torch.testing.assert_close(likelihood.nats.sum(dim=1), expected, rtol=0, atol=1e-12)


def test_a_mixture_of_conditionals_costs_no_more_than_the_mean_of_their_costs():
    def mixed(xt):
        return torch.logaddexp(math.log(0.6) + _denoise(xt), math.log(0.4) + LAW.log_probs(xt))

    mean = 0.6 * _of_each_order(_denoise) + 0.4 * _of_each_order(LAW.log_probs)
    assert bool((_of_each_order(mixed) <= mean + 1e-10).all())


@pytest.mark.parametrize("rule", [None, RULE])
def test_a_component_with_all_of_the_weight_is_alone(rule):
    network, copier = LawLM(LAW), LawLM(COPIED)
    torch.testing.assert_close(
        _total(MixtureLM(network, copier, pi=0.0, rule=rule)), -LAW.probs.log()
    )
    torch.testing.assert_close(
        _total(MixtureLM(network, copier, pi=1.0, rule=rule)), -COPIED.probs.log()
    )


def test_the_loss_has_the_gradient_of_the_likelihood_of_the_mixture():
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)

    class Scaled(LawLM):
        def log_likelihood(self, batch, *, draws=1, estimator="auto"):
            found = super().log_likelihood(batch)
            return TokenLikelihood(found.nats * scale, found.valid, "exact")

    MixtureLM(Scaled(LAW), LawLM(COPIED), pi=0.3).loss_terms(_batch()).nats.sum().backward()
    (found,) = [scale.grad.clone()]
    scale.grad = None
    exact = 0.7 * (LAW.probs.log() * scale).exp() + 0.3 * COPIED.probs
    (-exact.log().sum()).backward()
    torch.testing.assert_close(found, scale.grad)


def _markov(*first):
    rest = np.log(np.full((4, 4), 0.25))
    return MarkovLM(MarkovModel("additive", (np.log([first]), rest), (1.0, 1.0)))


def test_sequences_come_from_the_first_component_unless_the_copiers_are_asked_for():
    network, copier = _markov(0.7, 0.1, 0.1, 0.1), _markov(0.1, 0.1, 0.1, 0.7)
    mixture = MixtureLM(network, copier, pi=0.25)
    keys = row_keys(3, torch.arange(4000))
    own, copies = (model.generate(keys, 8).tokens for model in (network, copier))
    assert torch.equal(mixture.generate(keys, 8).tokens, own)
    drawn = mixture.generate(keys, 8, from_copiers=True).tokens
    assert torch.equal(mixture.generate(keys[5:7], 8, from_copiers=True).tokens, drawn[5:7])
    is_own, is_copy = ((drawn == tokens).all(dim=1) for tokens in (own, copies))
    assert bool((is_own | is_copy).all())
    differ = (own != copies).any(dim=1)
    share = (is_copy & differ).sum() / differ.sum()
    # four standard deviations of a proportion.
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / differ.sum()) ** 0.5
    with pytest.raises(ConfigError, match="cannot complete given tokens"):
        mixture.generate(keys, 8, from_copiers=True, initial=own)


def _windows(count=2000):
    """Nats of a network, a local model and a copier: one window in ten is a copy."""
    rng = np.random.default_rng(0)
    easy = rng.normal(0.0, 4.0, count)
    network = 340 + easy + rng.normal(0.0, 3.0, count)
    local = 341 + easy
    copier = np.where(np.arange(count) % 10 == 0, 30.0 + easy, 346 + easy)
    return torch.from_numpy(np.stack([network, local, copier])), torch.full((count,), 256)


def _cost(nats, lengths, weights, rule):
    """The linear bound, and the posterior one, of each window."""
    log_weights = torch.tensor(weights).double().log()
    shares = rule.shares(nats[1:], log_weights[1:], lengths)
    each = torch.xlogy(shares, shares) + shares * (nats - log_weights[:, None])
    linear = torch.where(shares > 0, each, 0.0).sum(dim=0)
    return linear, -torch.logsumexp(log_weights[:, None] - nats, dim=0)


def test_no_weights_nearby_have_a_lower_bound_on_validation():
    nats, lengths = _windows()
    fit = fit_mixture(nats, lengths)
    assert math.fsum(fit.weights) == pytest.approx(1.0, abs=1e-12)
    assert fit.weights[2] == pytest.approx(0.1, abs=0.01)
    best = _cost(nats, lengths, fit.weights, fit.rule)[0].mean()
    for shift in (-0.01, 0.01):
        moved = (fit.weights[0] - shift, fit.weights[1], fit.weights[2] + shift)
        assert _cost(nats, lengths, moved, fit.rule)[0].mean() > best


def test_noise_of_the_network_gives_no_windows_to_the_copiers():
    nats, lengths = _windows()
    noise = torch.from_numpy(np.random.default_rng(1).normal(0.0, 8.0, len(lengths)))
    noisy = torch.cat([nats[:1] + noise, nats[1:]])
    # 8 nats are worth nothing, although the better of two components would often gain from them.
    assert fit_mixture(noisy, lengths).pi == pytest.approx(fit_mixture(nats, lengths).pi, abs=0.02)


def test_the_weight_of_the_copiers_together_can_be_given():
    fit = fit_mixture(*_windows(), pi=0.2)
    assert fit.weights[0] == pytest.approx(0.8)
    assert fit.pi == pytest.approx(0.2)


def test_the_rule_chooses_nearly_as_well_as_the_posterior():
    nats, lengths = _windows()
    fit = fit_mixture(nats, lengths)
    cost, best = _cost(nats, lengths, fit.weights, fit.rule)
    assert bool((cost >= best - 1e-9).all())
    # the noise of the network is 3 nats, of which the rule knows nothing.
    assert (cost - best).mean() < 1.0
    assert cost.mean() < nats[0].mean() - 20


def test_a_window_that_no_copier_explains_is_the_networks():
    impossible = torch.tensor([[math.inf, 10.0]]).double()
    shares = RULE.shares(impossible, torch.tensor([0.3]).double().log(), torch.tensor([5, 5]))
    assert shares[:, 0].tolist() == [1.0, 0.0]
    assert shares.sum(dim=0).tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("pi", [-0.1, 1.5, math.nan, (0.6, 0.6), (0.5, -0.1)])
def test_weights_outside_of_their_range_are_refused(pi):
    with pytest.raises(ConfigError, match=r"pi=.* must lie in \[0, 1\], and so must its sum"):
        mixture_weights(pi)
    with pytest.raises(ConfigError, match="must lie in"):
        MixtureLM(LawLM(LAW), LawLM(COPIED), LawLM(OTHER), pi=pi)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: MixtureLM(LawLM(LAW), LawLM(TabulatedLaw(3, 4)), pi=0.1),
            ConfigError,
            "a copier of 6 symbols cannot be mixed with a model of 5 symbols",
        ),
        (lambda: MixtureLM(LawLM(LAW), pi=()), ConfigError, "there are 0 copiers and 0 weights"),
        (
            lambda: MixtureLM(LawLM(LAW), LawLM(COPIED), pi=(0.1, 0.2)),
            ConfigError,
            "there are 1 copiers and 2 weights",
        ),
        (
            lambda: MixtureLM(LawLM(LAW), LawLM(COPIED), pi=0.1, rule=ShareRule((0.0,) * 7)),
            ConfigError,
            "was fitted to 4 copiers, and there are 1",
        ),
        (
            lambda: _total(
                MixtureLM(LawLM(LAW), GivenNats(-COPIED.probs.log()), pi=0.1, rule=RULE)
            ),
            ConfigError,
            "needs copiers with an exact likelihood",
        ),
        (
            lambda: MixtureLM(LawLM(LAW), LawLM(COPIED), pi=0.1).chosen_estimator("count"),
            ConfigError,
            "estimator=count is for masked diffusion models",
        ),
        (
            lambda: fit_mixture(torch.zeros(2, 3).double(), torch.zeros(3, dtype=torch.int64)),
            DataError,
            "need at least one copier and one window with bases",
        ),
        (
            lambda: fit_mixture(torch.zeros(2, 3).double(), torch.ones(3).long(), pi=2.0),
            ConfigError,
            r"pi=2 must lie in \[0, 1\]",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
