"""Exact likelihood of a deterministic order: of the oracle, and of a sampler."""

import pytest
import torch

from dnamdlm.diffusion.confidence import ORDERS, SurestFirst
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.ordered import ORDER_RULES, ordered_nats, priority
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.errors import ConfigError
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw(length=4, num_symbols=3)
MASK = LAW.mask_id
EVERYWHERE = torch.ones_like(LAW.sequences, dtype=torch.bool)


def _random_law(xt):
    place = 4 ** torch.arange(LAW.length - 1, -1, -1)
    table = torch.randn(
        4**LAW.length, LAW.length, LAW.vocab_size,
        generator=torch.Generator().manual_seed(3), dtype=torch.float64,
    )  # fmt: skip
    logits = table[(xt * place).sum(dim=-1)]
    return substitution(logits, xt, real_tokens=LAW.real_tokens, mask_id=MASK)


@pytest.mark.parametrize("rule", ORDER_RULES)
def test_the_oracle_gives_the_exact_likelihood_in_any_order(rule):
    nats = ordered_nats(LAW.log_probs, LAW.sequences, EVERYWHERE, rule=rule, mask_id=MASK)
    torch.testing.assert_close(nats.sum(dim=1), -LAW.probs.log(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("per_step", [1, 2, 3, 9])
@pytest.mark.parametrize("rule", ORDER_RULES)
def test_any_model_with_an_order_is_a_law_that_sums_to_one(rule, per_step):
    nats = ordered_nats(
        _random_law, LAW.sequences, EVERYWHERE, rule=rule, mask_id=MASK, per_step=per_step
    )
    total = (-nats.sum(dim=1)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-12)


def test_the_rules_order_positions_as_they_are_named():
    probs = torch.tensor([[[0.5, 0.5, 0.0], [0.6, 0.2, 0.2], [0.55, 0.4, 0.05]]])
    order = {
        rule: priority(probs.log(), rule).argsort(dim=-1, descending=True)[0].tolist()
        for rule in ORDER_RULES
    }
    assert order["probability"] == [1, 2, 0]
    assert order["margin"] == [1, 2, 0]
    assert order["entropy"] == [0, 2, 1]
    assert order["left_to_right"] == [0, 1, 2]


@pytest.mark.parametrize("order", ORDERS)
def test_the_sampler_with_the_same_order_draws_from_this_law(order):
    count = 20_000
    generated = reverse_process(
        lambda xt, time, rows: _random_law(xt),
        torch.full((count, LAW.length), MASK),
        rule=SurestFirst(order),
        schedule=LogLinear(),
        times=linear_grid(LAW.length),
        mask_id=MASK,
        noise=RowNoise(row_keys(0, torch.arange(count))),
    )
    nats = ordered_nats(_random_law, LAW.sequences, EVERYWHERE, rule=order, mask_id=MASK)
    expected = count * (-nats.sum(dim=1)).exp()
    observed = torch.bincount(LAW.index_of(generated.tokens), minlength=len(expected)).double()
    common = expected >= 5
    groups = torch.cat([expected[common], expected[~common].sum()[None]])
    counts = torch.cat([observed[common], observed[~common].sum()[None]])
    statistic = ((counts - groups) ** 2 / groups).sum().item()
    # mean and variance of the chi-squared distribution; four standard deviations.
    degrees = len(groups) - 1
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


def test_positions_that_are_not_valid_are_seen_and_not_scored():
    x0, valid = LAW.sequences[5:6], torch.tensor([[True, False, True, True]])
    seen = []

    def denoise(xt):
        seen.append(xt)
        return LAW.log_probs(xt)

    nats = ordered_nats(denoise, x0, valid, rule="margin", mask_id=MASK)
    assert len(seen) == 3
    assert all(xt[0, 1] == x0[0, 1] for xt in seen)
    agrees = LAW.sequences[:, 1] == x0[0, 1]
    given = LAW.probs[agrees].sum()
    torch.testing.assert_close(nats.sum(), -(LAW.probs[5] / given).log())
    assert nats[0, 1] == 0


def test_empty_steps_are_refused():
    with pytest.raises(ConfigError, match="per_step must be at least 1, got 0"):
        ordered_nats(
            LAW.log_probs, LAW.sequences, EVERYWHERE, rule="margin", mask_id=MASK, per_step=0
        )
