"""Score entropy: against the definition, the oracle and the original code."""

import itertools
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.schedules import LogLinear, nelbo_weight
from dnamdlm.diffusion.score_entropy import log_score, relative_log_score, score_entropy
from tests.diffusion.cases import EXACT, SCHEDULES
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw()
MASK = LAW.mask_id


def _oracle_relative(xt):
    # the oracle's logits are off by 3 and the parameterization divides by the number of symbols.
    logits = LAW.logits(xt) - 3.0 + math.log(LAW.num_symbols)
    return relative_log_score(logits, real_tokens=LAW.real_tokens)


@pytest.mark.parametrize("schedule", EXACT, ids=repr)
def test_score_entropy_of_the_oracle_is_the_likelihood(schedule):
    nodes, node_weights = np.polynomial.legendre.leggauss(200)
    total = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    for node, node_weight in zip(nodes, node_weights / 2, strict=True):
        t = torch.tensor([(node + 1) / 2])
        alpha = schedule.alpha(t)
        for hide in itertools.product([False, True], repeat=LAW.length):
            hidden = torch.tensor(hide)
            xt = torch.where(hidden, MASK, LAW.sequences)
            weight = nelbo_weight(schedule, t).expand(len(xt))
            nats = score_entropy(_oracle_relative(xt), LAW.sequences, xt, weight, mask_id=MASK)
            chance = (1 - alpha) ** hidden.sum() * alpha ** (~hidden).sum()
            total += node_weight * chance * nats.sum(dim=1)
    # quadrature and rounding.
    assert (total + LAW.probs.log()).abs().max() < 1e-10


def test_scores_of_the_oracle_are_ratios_of_probabilities():
    alpha = torch.tensor(0.3, dtype=torch.float64)
    states = LAW.partial_sequences()

    def probability(xt):
        hidden = (xt == MASK).sum()
        agrees = ((LAW.sequences == xt) | (xt == MASK)).all(dim=1)
        return (LAW.probs * agrees).sum() * (1 - alpha) ** hidden * alpha ** (LAW.length - hidden)

    for xt in states:
        logits = LAW.logits(xt[None]) - 3.0 + math.log(LAW.num_symbols)
        scores = log_score(
            logits, xt[None], alpha[None], real_tokens=LAW.real_tokens, mask_id=MASK
        ).exp()[0]
        for i in range(LAW.length):
            if xt[i] != MASK:
                assert scores[i].sum() == scores[i, xt[i]] == 1
                continue
            assert scores[i, MASK] == 1
            for symbol in range(LAW.num_symbols):
                other = xt.clone()
                other[i] = symbol
                torch.testing.assert_close(scores[i, symbol], probability(other) / probability(xt))


def test_scores_that_do_not_sum_to_one_cost_more_than_their_normalised_ones():
    relative = torch.tensor([[[-1.0, -2.0, -torch.inf, -torch.inf]]], dtype=torch.float64)
    x0, xt, one = torch.tensor([[1]]), torch.tensor([[MASK]]), torch.ones(1)
    cost = score_entropy(relative, x0, xt, one, mask_id=MASK)
    total = relative.exp().sum()
    normalised = score_entropy(relative - total.log(), x0, xt, one, mask_id=MASK)
    torch.testing.assert_close(cost - normalised, (total - 1 - total.log()).reshape(1, 1))
    assert cost > normalised


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_loss_and_gradient_are_finite_at_every_time(schedule):
    t = torch.tensor([1e-6, 0.5, 1.0], dtype=torch.float64)
    logits = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    xt = torch.tensor([[MASK, 0]] * 3)
    relative = relative_log_score(logits, real_tokens=LAW.real_tokens)
    x0 = torch.zeros(3, 2, dtype=torch.int64)
    loss = score_entropy(relative, x0, xt, nelbo_weight(schedule, t), mask_id=MASK)
    loss.sum().backward()
    assert bool(loss.isfinite().all())
    assert bool(logits.grad.isfinite().all())
    assert bool((logits.grad[:, 1] == 0).all())


@pytest.mark.parity
@pytest.mark.parametrize(("case", "mask_id"), [("dit", 12), ("last", 12), ("inner", 3)])
def test_scores_and_losses_equal_the_original_code(shared, case, mask_id):
    golden = load_file(shared / "parity" / "objectives.safetensors")
    x0, xt, logits = (golden[f"{case}.{name}"] for name in ("x0", "xt", "logits"))
    real = torch.arange(logits.shape[-1]) != mask_id
    t = golden[f"{case}.t"].double()
    schedule = LogLinear(floor=1e-3)
    alpha = schedule.alpha(t)
    scores = log_score(logits.double(), xt, alpha, real_tokens=real, mask_id=mask_id)
    expected, hidden = golden[f"{case}.sedd_log_score"], xt == mask_id
    # ours in float64; the original forms exp(sigma) - 1 in float32.
    torch.testing.assert_close(scores[hidden].float(), expected[hidden], atol=2e-5, rtol=1e-5)
    relative = relative_log_score(logits.double(), real_tokens=real)
    loss = score_entropy(relative, x0, xt, nelbo_weight(schedule, t), mask_id=mask_id)
    torch.testing.assert_close(loss.float(), golden[f"{case}.sedd_loss"], rtol=1e-4, atol=1e-5)
    entropy = score_entropy(relative, x0, xt, alpha / (1 - alpha), mask_id=mask_id)
    torch.testing.assert_close(
        entropy.float(), golden[f"{case}.sedd_score_entropy"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parity
def test_scores_equal_those_of_the_original_sampler(shared):
    golden = load_file(shared / "parity" / "updates.safetensors")
    xt, expected = golden["x_t"], golden["sedd.score"].double()
    hidden = xt == 12
    alpha = LogLinear(floor=1e-3).alpha(golden["t"].double().squeeze(1))
    # the logits are not stored: they are recovered from the scores, whose sums then must agree.
    logits = expected.log() + ((1 - alpha) / alpha).log()[:, None, None] + math.log(12)
    real = torch.arange(13) != 12
    scores = log_score(logits, xt, alpha, real_tokens=real, mask_id=12).exp()
    # float32 of scores up to the odds of hiding, in the original.
    torch.testing.assert_close(scores[hidden], expected[hidden], rtol=1e-4, atol=1e-6)
