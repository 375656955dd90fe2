"""The bound of a latent pointer, against all sequences and all pointers of a tiny genome."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import batch_of_ids
from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.errors import DataError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.pointer_bound import (
    PointerRule,
    fit_pointer,
    log_pointers,
    pointer_bound,
    pointer_weights,
)
from dnamdlm.lm.pointer_channel import Pointer
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY
from dnamdlm.words.pointers import PointerIndex

GENOME = np.array([0, 0, 1, 2, 0, 0, 1, 2, 3, 1, 0, 2], np.uint8)
PI = 0.3


@pytest.fixture(scope="module")
def lm():
    torch.manual_seed(0)
    model = MaskedDiffusionLM(
        DiT(12, 8, 1, 2, zero_init=False), NUCLEOTIDE_VOCABULARY, pointer=Pointer()
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.7, generator=generator)
    return model.double()


@pytest.fixture(scope="module")
def index():
    return PointerIndex.of_codes(GENOME, 4)


def every_sequence(length):
    rows = np.array(list(itertools.product(range(4), repeat=length)), np.uint8)
    return rows, batch_of_ids(list(IDS_OF_CODES[rows]), NUCLEOTIDE_VOCABULARY)


def nats_given(lm, batch, template):
    """-log p(x | T), exact, revealing from left to right."""
    ids = None
    if template is not None:
        ids = torch.from_numpy(IDS_OF_CODES[template]).expand(batch.tokens.shape)
    given = dataclasses.replace(batch, aligned=ids)
    return lm.log_likelihood(given, estimator="left_to_right").nats.double().sum(dim=1)


@pytest.fixture(scope="module")
def enumerated(lm, index):
    """Sequences, -log p(x | none), -log p(x | T_z) of every z, and -log p(x)."""
    rows, batch = every_sequence(4)
    none = nats_given(lm, batch, None)
    templates = index.templates(np.arange(index.num_addresses), 4)
    given = torch.stack([nats_given(lm, batch, template) for template in templates])
    uniform = -math.log(index.num_addresses)
    of_pointer = torch.logsumexp(math.log(PI) + uniform - given, dim=0)
    exact = -torch.logaddexp(math.log1p(-PI) - none, of_pointer)
    return rows, none, given, exact


def test_the_model_with_a_pointer_sums_to_one(enumerated):
    *_, exact = enumerated
    assert exact.neg().exp().sum().item() == pytest.approx(1.0, abs=1e-10)


def test_one_term_bounds_the_sum_whatever_the_encoder_takes(enumerated, index):
    _, none, given, exact = enumerated
    weights = pointer_weights(PI, log_pointers(torch.ones(256).long(), index.num_addresses))
    for nats in given:
        assert (pointer_bound(torch.stack([none, nats]), weights) - exact).min() >= -1e-10
    best = pointer_bound(torch.stack([none, given.min(dim=0).values]), weights)
    assert (best - exact).min() >= -1e-10
    # the pointer is paid for: without its price the figure would be below -log p.
    free = pointer_bound(torch.stack([none, given.min(dim=0).values]), pointer_weights(
        PI, torch.zeros(256, dtype=torch.float64)))  # fmt: skip
    assert (free - exact).max() < -1e-3


def test_what_the_index_finds_gives_a_bound(enumerated, index):
    rows, none, given, exact = enumerated
    found = index.find(rows)
    assert 0 < found.found.sum() < len(rows)
    copies = torch.from_numpy(found.copies)
    # AACG occurs twice in the genome.
    assert copies.max() == 2
    own = given[torch.from_numpy(found.addresses).clamp(min=0), torch.arange(len(rows))]
    nats = torch.stack([none, torch.where(copies > 0, own, math.inf)])
    weights = pointer_weights(PI, log_pointers(copies, index.num_addresses))
    bound = pointer_bound(nats, weights)
    assert (bound - exact).min() >= -1e-10
    nowhere = copies == 0
    torch.testing.assert_close(bound[nowhere], none[nowhere] - math.log1p(-PI))


def test_one_pointer_with_all_the_mass_is_exact(enumerated):
    _, none, given, _ = enumerated
    exact = -torch.logaddexp(math.log1p(-PI) - none, math.log(PI) - given[3])
    weights = pointer_weights(PI, log_pointers(torch.ones(256).long(), 1))
    bound = pointer_bound(torch.stack([none, given[3]]), weights)
    torch.testing.assert_close(bound, exact, atol=1e-10, rtol=0)
    # every address has the same template: all of them together are one.
    alike = pointer_weights(PI, log_pointers(torch.full((256,), 5), 5))
    bound = pointer_bound(torch.stack([none, given[3]]), alike)
    torch.testing.assert_close(bound, exact, atol=1e-10, rtol=0)


def test_the_bound_holds_for_the_mean_over_all_orders(lm, index):
    """With B the bound of masked diffusion, of p(x | T) as the mixture over orders."""
    _, batch = every_sequence(2)
    templates = index.templates(np.arange(index.num_addresses), 2)
    bounds, exact = [], []
    for template in (None, *templates):
        ids = None
        if template is not None:
            ids = torch.from_numpy(IDS_OF_CODES[template]).expand(batch.tokens.shape)
        orders = torch.stack([of_order(lm, batch, order, ids) for order in ((0, 1), (1, 0))])
        bounds.append(orders.mean(dim=0))
        exact.append(-(torch.logsumexp(-orders, dim=0) - math.log(2)))
    uniform = -math.log(index.num_addresses)
    given = torch.logsumexp(math.log(PI) + uniform - torch.stack(exact[1:]), dim=0)
    truth = -torch.logaddexp(math.log1p(-PI) - exact[0], given)
    assert truth.neg().exp().sum().item() == pytest.approx(1.0, abs=1e-10)
    best = torch.stack(bounds[1:]).min(dim=0).values
    weights = pointer_weights(PI, log_pointers(torch.ones(16).long(), index.num_addresses))
    assert (pointer_bound(torch.stack([bounds[0], best]), weights) - truth).min() >= -1e-10


def of_order(lm, batch, order, ids):
    state = torch.full_like(batch.tokens, lm.mask_id)
    total = torch.zeros(len(batch), dtype=torch.float64)
    for place in order:
        log_probs = lm.denoise(state, aligned=ids)[:, place]
        total -= log_probs.gather(1, batch.tokens[:, place : place + 1]).squeeze(1)
        state = state.clone()
        state[:, place] = batch.tokens[:, place]
    return total


def test_any_rule_costs_no_less_than_the_posterior_shares(enumerated, index):
    rows, none, given, _ = enumerated
    copies = torch.from_numpy(index.find(rows).copies)
    nats = torch.stack([none, torch.where(copies > 0, given[5], math.inf)])
    weights = pointer_weights(PI, log_pointers(copies, index.num_addresses))
    lengths = torch.full((256,), 4)
    matches = torch.from_numpy(index.find(rows).matches)

    def total(shares):
        parts = nats[..., None]
        return mixed_nats(
            parts, lengths[:, None], total=lengths, shares=shares, log_weights=weights
        )[:, 0]

    posterior = total(posterior_shares(nats, weights))
    torch.testing.assert_close(posterior, pointer_bound(nats, weights), atol=1e-10, rtol=0)
    for coefficients in ((0.0, 0.0, 0.0), (130.0, -200.0, 1.0), (-9.0, 40.0, -3.0)):
        shares = PointerRule(coefficients).shares(matches, lengths, weights)
        torch.testing.assert_close(shares.sum(dim=0), torch.ones(256, dtype=torch.float64))
        assert (shares[1] > 0).equal(copies > 0)
        assert (total(shares) - posterior).min() >= -1e-10


def test_noise_of_the_bounds_leaves_the_rule_without_bias():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 20_000, generator=generator, dtype=torch.float64) * 3
    nats = torch.tensor([[60.0], [40.0]]).double()
    pointers = log_pointers(torch.ones(20_000).long(), 1_000_000)
    weights = pointer_weights(0.1, pointers)
    # the two terms weigh the same: the shares by the estimates themselves follow their noise.
    nats[0] = nats[1] + (weights[0] - weights[1])[0]
    truth = pointer_bound(nats, weights[:, :1]).item()
    noisy = nats + noise
    rule = PointerRule((0.0, 0.0, float(nats[0] - nats[1])))
    shares = rule.shares(torch.full((20_000,), 40), torch.full((20_000,), 64), weights)
    count = torch.full((20_000,), 64)
    linear = mixed_nats(
        noisy[..., None], count[:, None], total=count, shares=shares, log_weights=weights
    ).mean()
    # the standard error is 3 / sqrt(2 * 20,000) = 0.015.
    assert linear.item() == pytest.approx(truth, abs=0.06)
    assert pointer_bound(noisy, weights).mean().item() < truth - 0.5


def test_weight_and_rule_are_chosen_by_what_they_gain():
    generator = torch.Generator().manual_seed(0)
    matches = torch.cat([torch.full((50,), 100), torch.full((50,), 40), torch.zeros(900).long()])
    lengths = torch.full((1000,), 100)
    copies = (matches > 0).long()
    none = 135 + torch.randn(1000, generator=generator, dtype=torch.float64)
    given = torch.where(copies > 0, 135 - 1.3 * matches + 20, math.inf)
    nats, pointers = torch.stack([none, given]), log_pointers(copies, 1_000_000)
    fit = fit_pointer(nats, pointers, matches, lengths)
    assert fit.pi == pytest.approx(0.1, abs=0.01)
    shares = fit.rule.shares(matches, lengths, pointer_weights(fit.pi, pointers))
    assert shares[1, :100].min() > 0.99
    assert shares[1, 100:].max() == 0
    worse = torch.stack([none, none])
    assert fit_pointer(worse, pointers, matches, lengths).pi < 1e-3


def test_a_split_that_points_nowhere_is_refused():
    nats = torch.ones(2, 3).double()
    nowhere = log_pointers(torch.zeros(3).long(), 7)
    with pytest.raises(DataError, match="points into the training split, and none does"):
        fit_pointer(nats, nowhere, torch.zeros(3).long(), torch.full((3,), 8))
