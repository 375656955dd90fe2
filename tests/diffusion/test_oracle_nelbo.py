"""The training bound of an exact denoiser is the exact likelihood.

A distribution over L = 3 positions and V = 2 symbols is enumerated. Its conditionals replace the
network. The sum runs over all masks, the integral over t by Gauss-Legendre quadrature, and both
through the public schedule, masking, parameterization and objective: no random numbers anywhere.
"""

import itertools

import numpy as np
import pytest
import torch

from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import mask_exactly, mask_tokens
from dnamdlm.diffusion.schedules import Cosine, CosineSquared, LogLinear, nelbo_weight
from dnamdlm.diffusion.times import log_uniform
from tests.diffusion.cases import EXACT
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw()
PATTERNS = torch.tensor(list(itertools.product([False, True], repeat=LAW.length)))


def _nelbo(schedule, num_nodes=200):
    """The bound for each sequence; rows: time nodes x sequences x mask patterns."""
    nodes, node_weights = np.polynomial.legendre.leggauss(num_nodes)
    shape = (num_nodes, len(LAW.sequences), len(PATTERNS))
    num_rows = num_nodes * len(LAW.sequences) * len(PATTERNS)

    t = torch.tensor((nodes + 1) / 2)[:, None, None].expand(shape).reshape(num_rows)
    x0 = LAW.sequences[None, :, None].expand(*shape, -1).reshape(num_rows, -1)
    hide = PATTERNS[None, None].expand(*shape, -1).reshape(num_rows, -1)

    alpha = schedule.alpha(t)
    # below the mask probability where the pattern hides, above it where it shows.
    uniforms = torch.where(hide, 0.5 * (1 - alpha[:, None]), 1 - 0.5 * alpha[:, None])
    xt = mask_tokens(x0, 1 - alpha, torch.ones_like(hide), uniforms, mask_id=LAW.mask_id)
    assert torch.equal(xt == LAW.mask_id, hide)
    weight = nelbo_weight(schedule, t)
    loss = masked_nll(LAW.log_probs(xt), x0, xt, weight, mask_id=LAW.mask_id).sum(dim=1)

    hidden = hide.sum(dim=1)
    probability = (1 - alpha) ** hidden * alpha ** (LAW.length - hidden)
    integrand = (probability * loss).reshape(shape).sum(dim=2)
    return torch.tensor(node_weights / 2) @ integrand


@pytest.mark.parametrize("schedule", EXACT, ids=repr)
def test_nelbo_of_the_oracle_is_the_likelihood_for_every_exact_schedule(schedule):
    gap = _nelbo(schedule) + LAW.probs.log()
    # quadrature and rounding; the schedules without exact ends miss less than 1e-12.
    assert gap.abs().max() < 1e-10


@pytest.mark.parametrize("family", [LogLinear, Cosine, CosineSquared])
def test_a_floor_makes_the_bound_too_low(family):
    gap = _nelbo(family(floor=1e-3)) + LAW.probs.log()
    # the part alpha < 1e-3 of the integral is missing: 1e-3 times the nats of three first reveals.
    assert gap.min() > -1e-2
    assert gap.max() < -1e-4


@pytest.mark.parametrize("lowest", [1e-3, 1e-12])
def test_the_change_of_variables_lacks_only_what_lies_below_its_lowest_mask_probability(lowest):
    nodes, node_weights = np.polynomial.legendre.leggauss(300)
    hidden, length = log_uniform(torch.tensor((nodes + 1) / 2), lowest, 1.0)
    total = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    weight = torch.full((len(LAW.sequences),), length, dtype=torch.float64)
    for hide in PATTERNS:
        xt = torch.where(hide, LAW.mask_id, LAW.sequences)
        nats = masked_nll(LAW.log_probs(xt), LAW.sequences, xt, weight, mask_id=LAW.mask_id)
        chance = hidden ** hide.sum() * (1 - hidden) ** (~hide).sum()
        total += (torch.tensor(node_weights / 2) * chance).sum() * nats.sum(dim=1)
    # below it at most one token is hidden, but for squares of it: its nats times the probability.
    missing = torch.zeros_like(total)
    for position in range(LAW.length):
        xt = LAW.sequences.clone()
        xt[:, position] = LAW.mask_id
        one = torch.full_like(weight, lowest)
        missing += masked_nll(LAW.log_probs(xt), LAW.sequences, xt, one, mask_id=LAW.mask_id).sum(
            dim=1
        )
    assert (total + missing + LAW.probs.log()).abs().max() < 10 * lowest**2 + 1e-10


def test_the_bound_with_exact_counts_is_the_likelihood():
    length = LAW.length
    orders = torch.tensor(list(itertools.permutations(range(length))))
    for x0, prob in zip(LAW.sequences, LAW.probs, strict=True):
        rows = x0.expand(len(orders), -1)
        maskable = torch.ones_like(rows, dtype=torch.bool)
        total = torch.zeros((), dtype=torch.float64)
        for count in range(1, length + 1):
            counts = torch.full((len(orders),), count)
            # all orders of the uniforms are equally likely, so their mean is the expectation.
            uniforms = (orders + 0.5) / length
            xt = mask_exactly(rows, counts, maskable, uniforms, mask_id=LAW.mask_id)
            weight = torch.full((len(orders),), length / count, dtype=torch.float64)
            loss = masked_nll(LAW.log_probs(xt), rows, xt, weight, mask_id=LAW.mask_id)
            total += loss.sum(dim=1).mean() / length
        assert abs(total + prob.log()) < 1e-12
