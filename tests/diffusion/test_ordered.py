"""Likelihood of one order, and of the mean over orders: of the oracle, and of samplers."""

import itertools
import math

import pytest
import torch

from dnamdlm.diffusion.confidence import ORDERS, SurestFirst
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.ordered import ORDER_RULES, mean_order_nats, ordered_nats, priority
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import FirstHitting
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


PERMUTATIONS = [
    torch.tensor(order, dtype=torch.float64).expand(len(LAW.sequences), -1)
    for order in itertools.permutations(range(LAW.length))
]


def _surprise(hidden):
    """-log p of each token of each sequence, given the positions outside `hidden`."""
    is_hidden = torch.tensor([position in hidden for position in range(LAW.length)])
    log_probs = _random_law(torch.where(is_hidden, MASK, LAW.sequences))
    return -log_probs.gather(-1, LAW.sequences[..., None])[..., 0]


def _random_order_law():
    """p(x) of revealing one token at a time in a random order, by recursion over what is seen."""
    reached = {frozenset(): torch.ones(len(LAW.sequences), dtype=torch.float64)}
    everything = frozenset(range(LAW.length))
    for size in range(1, LAW.length + 1):
        for seen in map(frozenset, itertools.combinations(range(LAW.length), size)):
            last = [
                reached[seen - {i}] * (-_surprise(everything - seen | {i})[:, i]).exp()
                for i in seen
            ]
            reached[seen] = sum(last) / size
    return reached[everything]


def _of_orders(orders):
    return mean_order_nats(_random_law, LAW.sequences, EVERYWHERE, orders=orders, mask_id=MASK).sum(
        dim=1
    )


def test_all_orders_give_the_law_of_revealing_in_a_random_order():
    expected = _random_order_law()
    assert expected.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert len(PERMUTATIONS) == 24
    torch.testing.assert_close(_of_orders(PERMUTATIONS), -expected.log(), rtol=1e-12, atol=1e-12)


def test_first_hitting_draws_from_the_law_of_all_orders():
    count = 20_000
    generated = reverse_process(
        lambda xt, time, rows: _random_law(xt),
        torch.full((count, LAW.length), MASK),
        rule=FirstHitting(),
        schedule=LogLinear(),
        times=linear_grid(LAW.length),
        mask_id=MASK,
        noise=RowNoise(row_keys(0, torch.arange(count))),
    )
    expected = count * (-_of_orders(PERMUTATIONS)).exp()
    observed = torch.bincount(LAW.index_of(generated.tokens), minlength=len(expected)).double()
    statistic = ((observed - expected) ** 2 / expected).sum().item()
    degrees = len(expected) - 1
    # every sequence is expected often; mean and variance of the chi-squared distribution.
    assert expected.min() > 5
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


def test_one_order_has_the_expectation_of_the_continuous_time_bound():
    one = torch.stack([_of_orders([order]) for order in PERMUTATIONS]).mean(dim=0)
    bound = torch.zeros_like(one)
    for size in range(1, LAW.length + 1):
        for hidden in itertools.combinations(range(LAW.length), size):
            # uniform t hides each number of positions, and each set of that number, equally often.
            weight = 1 / (size * math.comb(LAW.length, size))
            bound += weight * _surprise(hidden)[:, list(hidden)].sum(dim=1)
    torch.testing.assert_close(one, bound, rtol=1e-12, atol=1e-12)


def test_the_expected_bound_falls_with_the_number_of_orders():
    each = torch.stack([_of_orders([order]) for order in PERMUTATIONS])
    expected = []
    for number in (1, 2, 3):
        drawn = torch.cartesian_prod(*[torch.arange(24)] * number).reshape(-1, number)
        mean = -torch.logsumexp(-each[drawn], dim=1) + math.log(number)
        expected.append(mean.mean(dim=0))
    assert bool((expected[0] > expected[1]).all())
    assert bool((expected[1] > expected[2]).all())
    assert bool((expected[2] > -_random_order_law().log()).all())


def test_the_mean_of_orders_scores_what_is_valid_alone():
    valid = torch.tensor([True, False, True, True]).expand_as(LAW.sequences)
    nats = mean_order_nats(
        LAW.log_probs, LAW.sequences, valid, orders=PERMUTATIONS[3:9], mask_id=MASK
    )
    assert nats[:, 1].abs().max() == 0
    agrees = LAW.sequences[:, None, 1] == LAW.sequences[None, :, 1]
    given = (agrees * LAW.probs).sum(dim=1)
    torch.testing.assert_close(nats.sum(dim=1), -(LAW.probs / given).log())
