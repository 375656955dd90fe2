"""The output distribution of every sampler with an exact denoiser, against plain enumeration.

Sequences have three positions of two symbols, or of three symbols where the order of the positions
matters: with two, probability, margin and entropy rank positions alike. What a rule should do with
a partly masked sequence is written here a second time, with loops; the package then draws 20,000
sequences.
"""

import itertools
import math
from itertools import pairwise

import pytest
import torch

from dnamdlm.diffusion.analytic import Analytic
from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst, Threshold, certainty
from dnamdlm.diffusion.grids import holding_grid, linear_grid
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.remasking import (
    Capped,
    Corrector,
    LeastConfident,
    Remasking,
    Rescaled,
    WhileWaiting,
    largest_remask,
    remasking_probabilities,
)
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from tests.diffusion.cases import first_step
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw()
MASK = LAW.mask_id
START = (MASK,) * LAW.length
CLAMPED = (MASK, 1, MASK)
# of three symbols: the three orders rank the masked positions in three ways, see below.
LAW_OF_THREE = TabulatedLaw(num_symbols=3, seed=1003)
MASK_OF_THREE = LAW_OF_THREE.mask_id
START_OF_THREE = (MASK_OF_THREE,) * LAW_OF_THREE.length
CLAMPED_OF_THREE = (MASK_OF_THREE, 1, MASK_OF_THREE)
NUM_ROWS = 20_000
# the 0.9999 quantiles of the chi-square distribution with 2^3 - 1 and 3^3 - 1 degrees of freedom.
LARGEST_CHI_SQUARE = {8: 29.9, 27: 61.7}


def _draw(rule, times=None, start=START, schedule=None, law=LAW):
    initial = torch.tensor([start]).repeat(NUM_ROWS, 1)
    return reverse_process(
        lambda xt, _time, _rows: law.log_probs(xt),
        initial,
        rule=rule,
        schedule=schedule or LogLinear(),
        times=linear_grid(1) if times is None else times,
        mask_id=law.mask_id,
        noise=RowNoise(row_keys(0, torch.arange(NUM_ROWS))),
    )


def _assert_drawn_from(tokens, probs, law=LAW):
    counts = torch.bincount(law.index_of(tokens), minlength=len(probs)).double()
    possible = probs > 0
    assert counts[~possible].sum() == 0
    expected = probs[possible] * len(tokens)
    chi_square = ((counts[possible] - expected) ** 2 / expected).sum().item()
    assert chi_square < LARGEST_CHI_SQUARE[len(probs)]


def _conditional(start, law=LAW):
    return law.posterior(torch.tensor([start])).squeeze(0)


def _marginals(sequence, law):
    """Probability of each symbol at each position, given the visible tokens."""
    return law.log_probs(torch.tensor([sequence]))[0].exp()[:, : law.num_symbols].tolist()


def _enumerate(select, start, law=LAW):
    """Exact probabilities of all sequences, and the mean number of calls of a row.

    `select(marginals, hidden, number)` names the positions that call `number` draws.
    """
    weights, finished, calls = {start: 1.0}, {}, 0.0
    for number in itertools.count():
        following = {}
        for sequence, weight in weights.items():
            hidden = [i for i in range(law.length) if sequence[i] == law.mask_id]
            if not hidden:
                finished[sequence] = finished.get(sequence, 0.0) + weight
                continue
            calls += weight
            probs = _marginals(sequence, law)
            chosen = select(probs, hidden, number)
            for symbols in itertools.product(range(law.num_symbols), repeat=len(chosen)):
                after = list(sequence)
                share = weight
                for position, symbol in zip(chosen, symbols, strict=True):
                    after[position] = symbol
                    share *= probs[position][symbol]
                following[tuple(after)] = following.get(tuple(after), 0.0) + share
        if not following:
            break
        weights = following
    probs = torch.tensor([finished.get(tuple(s), 0.0) for s in law.sequences.tolist()]).double()
    return probs, calls


SURENESS = {
    "probability": max,
    "margin": lambda p: max(p) - sorted(p)[-2],
    "entropy": lambda p: sum(q * math.log(q) for q in p),
}


def _surest(probs, hidden, order):
    return sorted(hidden, key=lambda i: (-SURENESS[order](probs[i]), i))


def _entropy(p):
    return -SURENESS["entropy"](p)


def _assert_mean_calls(generated, calls):
    # 4 standard errors; a row of three positions takes 1 to 3 calls, a standard deviation up to 1.
    assert abs(generated.row_calls / NUM_ROWS - calls) < 4 / NUM_ROWS**0.5


@pytest.mark.parametrize("start", [START, CLAMPED])
@pytest.mark.parametrize("schedule", [LogLinear(), LogLinear(floor=0.2), Cosine()], ids=repr)
def test_first_hitting_draws_from_the_law_itself(schedule, start):
    generated = _draw(FirstHitting(), start=start, schedule=schedule)
    _assert_drawn_from(generated.tokens, _conditional(start))
    assert generated.row_calls == NUM_ROWS * start.count(MASK)
    assert generated.network_calls == start.count(MASK)


def test_first_hitting_times_are_those_of_the_continuous_process():
    rows = 4_000
    tokens = torch.full((rows, 5), MASK)
    alpha = torch.full((rows,), 0.25).double()
    hidden_share = 1 - FirstHitting().next_alpha(first_step(tokens, alpha, alpha, mask_id=MASK))
    # the largest of five uniforms on (0, 0.75): mean 5/6 and standard deviation 0.141 of it.
    assert abs(hidden_share.mean().item() - 0.75 * 5 / 6) < 4 * 0.75 * 0.141 / rows**0.5
    assert bool((hidden_share < 0.75).all())


def test_the_three_orders_rank_the_masked_positions_in_three_ways():
    probs = _marginals(START_OF_THREE, LAW_OF_THREE)
    ranked = {order: _surest(probs, range(3), order) for order in SURENESS}
    assert ranked == {"probability": [1, 0, 2], "margin": [1, 2, 0], "entropy": [0, 2, 1]}


def test_certainty_is_the_probability_the_margin_or_minus_the_entropy():
    probs = [[0.5, 0.4, 0.1, 0.0], [0.45, 0.2, 0.2, 0.15], [0.25, 0.25, 0.25, 0.25]]
    log_probs = torch.tensor([probs], dtype=torch.float64).log()
    certain = {order: certainty(LogProbs(log_probs), order)[0].tolist() for order in SURENESS}
    assert certain["probability"] == pytest.approx([0.5, 0.45, 0.25], rel=1e-12)
    assert certain["margin"] == pytest.approx([0.1, 0.25, 0.0], rel=1e-12)
    in_bits = [0.5 + 0.4 * math.log2(2.5) + 0.1 * math.log2(10)]
    in_bits += [sum(p * math.log2(1 / p) for p in (0.45, 0.2, 0.2, 0.15)), 2.0]
    expected = [-bits * math.log(2) for bits in in_bits]
    assert certain["entropy"] == pytest.approx(expected, rel=1e-12)


def test_first_hitting_reveals_each_hidden_position_equally_often():
    tokens = torch.tensor([MASK, 1, MASK, MASK, 0, MASK]).repeat(NUM_ROWS, 1)
    alpha = torch.full((NUM_ROWS,), 0.5).double()
    revealed = FirstHitting().reads(first_step(tokens, alpha, alpha, mask_id=MASK))
    assert bool((revealed.sum(dim=1) == 1).all())
    counts = revealed.sum(dim=0)
    assert counts[[1, 4]].tolist() == [0, 0]
    expected = NUM_ROWS / 4
    # 3 degrees of freedom: 21.1 is the 0.9999 quantile.
    assert ((counts[[0, 2, 3, 5]] - expected) ** 2 / expected).sum() < 21.1


@pytest.mark.parametrize("start", [START_OF_THREE, CLAMPED_OF_THREE])
@pytest.mark.parametrize("order", SURENESS)
def test_one_sure_token_per_step_draws_from_the_law_itself(order, start):
    for rule in (SurestFirst(order), EntropyBounded(0.0, order)):
        generated = _draw(rule, linear_grid(3), start, law=LAW_OF_THREE)
        _assert_drawn_from(generated.tokens, _conditional(start, LAW_OF_THREE), LAW_OF_THREE)
        assert generated.network_calls == start.count(MASK_OF_THREE)


@pytest.mark.parametrize("order", SURENESS)
def test_two_sure_tokens_are_drawn_independently(order):
    # a grid of two steps leaves floor(3 / 2) = 1 position for the second.
    probs, _ = _enumerate(
        lambda probs, hidden, number: _surest(probs, hidden, order)[: 2 - number],
        START_OF_THREE,
        LAW_OF_THREE,
    )
    assert (probs - LAW_OF_THREE.probs).abs().sum() > 1e-3
    generated = _draw(SurestFirst(order), linear_grid(2), START_OF_THREE, law=LAW_OF_THREE)
    _assert_drawn_from(generated.tokens, probs, LAW_OF_THREE)


@pytest.mark.parametrize("threshold", [0.35, 0.4, 0.55, 0.99])
def test_a_threshold_draws_all_that_is_sure_and_at_least_one(threshold):
    def select(probs, hidden, _number):
        surest = _surest(probs, hidden, "probability")
        return sorted({surest[0], *(i for i in hidden if max(probs[i]) >= threshold)})

    probs, calls = _enumerate(select, START_OF_THREE, LAW_OF_THREE)
    assert probs.sum().item() == pytest.approx(1.0)
    generated = _draw(Threshold(threshold), start=START_OF_THREE, law=LAW_OF_THREE)
    _assert_drawn_from(generated.tokens, probs, LAW_OF_THREE)
    _assert_mean_calls(generated, calls)


# the entropies of the masked positions are 1.074, 1.091 and 1.087 nats.
@pytest.mark.parametrize("order", SURENESS)
@pytest.mark.parametrize("bound", [0.0, 1.0, 1.08, 1.089, 5.0])
def test_an_entropy_bound_draws_the_longest_run_within_it(bound, order):
    def select(probs, hidden, _number):
        surest = _surest(probs, hidden, order)
        fitting = 1
        for count in range(2, len(surest) + 1):
            heights = [_entropy(probs[i]) for i in surest[:count]]
            if sum(heights) - max(heights) <= bound:
                fitting = count
        return surest[:fitting]

    probs, calls = _enumerate(select, START_OF_THREE, LAW_OF_THREE)
    generated = _draw(EntropyBounded(bound, order), start=START_OF_THREE, law=LAW_OF_THREE)
    _assert_drawn_from(generated.tokens, probs, LAW_OF_THREE)
    _assert_mean_calls(generated, calls)


def _remasking_chain(strategy, times, start):
    """Exact distribution over the 27 states, propagated by `remasking_probabilities`."""
    states = LAW.partial_sequences()
    free = torch.tensor(start) == MASK
    law = (states == torch.tensor(start)).all(dim=1).double()
    log_probs = LAW.log_probs(states)
    for t, s in pairwise(times):
        alpha_t = LogLinear().alpha(t).expand(len(states))
        alpha_s = LogLinear().alpha(s).expand(len(states))
        step = first_step(states, alpha_t, alpha_s, mask_id=MASK, free=free.expand(len(states), -1))
        remask = strategy(step) * free
        tokens = remasking_probabilities(
            log_probs, remask, alpha_t, alpha_s, xt=states, mask_id=MASK
        )
        torch.testing.assert_close(tokens.sum(-1), torch.ones(len(states), 3).double())
        assert bool((tokens >= -1e-12).all())
        transition = torch.ones(len(states), len(states)).double()
        for position in range(LAW.length):
            transition *= tokens[:, position][:, states[:, position]]
        law = law @ transition
    finished = states.ne(MASK).all(dim=1)
    assert law[~finished].sum() < 1e-12
    return law[finished]


REMASKING = [Capped(0.2), Rescaled(0.5), Corrector(), Corrector(0.4)]


@pytest.mark.parametrize("start", [START, CLAMPED])
@pytest.mark.parametrize("strategy", REMASKING, ids=repr)
def test_remasking_draws_from_its_enumerated_chain(strategy, start):
    times = linear_grid(5)
    law = _remasking_chain(strategy, times, start)
    generated = _draw(Remasking(strategy), times, start)
    _assert_drawn_from(generated.tokens, law)
    assert generated.row_calls < NUM_ROWS * 5


def test_the_loop_draws_from_its_enumerated_chain():
    times = holding_grid(10, begin=0.6, end=0.2, hold=0.4)
    _assert_drawn_from(
        _draw(Remasking(WhileWaiting(0.3)), times).tokens,
        _remasking_chain(WhileWaiting(0.3), times, START),
    )


@pytest.mark.parametrize("strategy", REMASKING, ids=repr)
def test_remasking_comes_near_the_law_with_many_steps(strategy):
    few, many = (
        0.5 * (_remasking_chain(strategy, linear_grid(n), START) - LAW.probs).abs().sum()
        for n in (4, 64)
    )
    # remasking revises tokens that were drawn together, so that it converges too.
    assert many < 0.3 * few


def test_remasking_keeps_the_share_of_visible_tokens_of_the_schedule():
    alpha_t, alpha_s = torch.tensor([[0.3], [0.5]], dtype=torch.float64)
    law = torch.tensor([[[0.2, 0.8, 0.0]]], dtype=torch.float64).log()
    for sigma in (0.0, 0.3, largest_remask(alpha_t, alpha_s).item()):
        remask = torch.full((1, 1), sigma, dtype=torch.float64)
        after = {
            token: remasking_probabilities(
                law if token == MASK else torch.eye(3)[token].double().log()[None, None],
                remask, alpha_t, alpha_s, xt=torch.tensor([[token]]), mask_id=MASK,
            )[0, 0]
            for token in (0, 1, MASK)
        }  # fmt: skip
        # a token that is 0 or 1 with 0.2 and 0.8, visible with alpha_t, one step later.
        result = 0.3 * (0.2 * after[0] + 0.8 * after[1]) + 0.7 * after[MASK]
        torch.testing.assert_close(result, torch.tensor([0.1, 0.4, 0.5], dtype=torch.float64))


def test_strategies_by_hand():
    tokens = torch.tensor([[0, 1, MASK, MASK]])
    free = torch.tensor([[True, True, True, False]])
    confidence = torch.tensor([[0.9, 0.2, 1.0, 1.0]], dtype=torch.float64)
    alpha_t, alpha_s = torch.tensor([[0.8], [0.9]], dtype=torch.float64)
    step = first_step(tokens, alpha_t, alpha_s, mask_id=MASK, free=free, confidence=confidence)
    # the largest is (1 - 0.9) / 0.8 = 0.125
    assert Capped(0.05)(step)[0, 0].item() == pytest.approx(0.05)
    assert Capped(0.5)(step)[0, 0].item() == pytest.approx(0.125)
    assert Rescaled(0.5)(step)[0, 0].item() == pytest.approx(0.0625)
    assert Corrector()(step)[0, 0].item() == pytest.approx(0.125)
    assert Corrector(0.5)(step)[0, 0].item() == pytest.approx(0.0625)
    weights = [math.exp(-0.9), math.exp(-0.2)]
    expected = [0.125 * weight / sum(weights) for weight in weights]
    assert LeastConfident()(step)[0].tolist() == pytest.approx([*expected, 0.0, 0.0])
    assert WhileWaiting(0.05)(step)[0, 0] == 0
    waiting = first_step(tokens, alpha_s, alpha_s, mask_id=MASK, free=free)
    assert WhileWaiting(0.05)(waiting)[0, 0].item() == pytest.approx(0.05)


def test_the_confidence_is_the_probability_at_the_draw():
    seen = {}

    class Spy(LeastConfident):
        def __call__(self, step):
            for tokens, confidence in zip(step.tokens, step.confidence, strict=True):
                seen[tuple(tokens.tolist()), step.draw] = confidence.tolist()
            return super().__call__(step)

    _draw(Remasking(Spy()), linear_grid(2), start=(MASK, 0, 1))
    probs = LAW.log_probs(torch.tensor([[MASK, 0, 1]])).exp()[0, 0]
    for token in (0, 1):
        assert seen[(token, 0, 1), 1] == pytest.approx([probs[token].item(), 1.0, 1.0])


def test_without_remasking_the_family_is_the_ancestral_rule():
    plain = _draw(Ancestral(), linear_grid(6))
    for strategy in (Capped(0.0), Rescaled(0.0), Corrector(0.0), LeastConfident(0.0)):
        same = _draw(Remasking(strategy), linear_grid(6))
        assert torch.equal(same.tokens, plain.tokens)
        assert same.row_calls == plain.row_calls


def test_the_analytic_rule_with_normalised_laws_is_the_ancestral_rule():
    assert torch.equal(
        _draw(Analytic(), linear_grid(6)).tokens, _draw(Ancestral(), linear_grid(6)).tokens
    )


def test_the_analytic_rule_reveals_with_the_total_of_its_measure():
    tokens = torch.full((NUM_ROWS, 1), MASK)
    alpha_t, alpha_s = torch.full((NUM_ROWS,), 0.2).double(), torch.full((NUM_ROWS,), 0.4).double()
    step = first_step(tokens, alpha_t, alpha_s, mask_id=MASK)
    measure = LogProbs(torch.tensor([0.9, 0.6, 0.0]).double().log().expand(NUM_ROWS, 1, 3))
    after = Analytic()(step, measure)
    shares = torch.bincount(after.flatten(), minlength=3).double() / NUM_ROWS
    # 1.5 times the reveal probability 0.25, split 3 : 2
    expected = torch.tensor([0.225, 0.15, 0.625]).double()
    error = (expected * (1 - expected) / NUM_ROWS).sqrt()
    assert bool(((shares - expected).abs() < 4 * error).all())
    assert bool(
        (Analytic()(first_step(tokens, alpha_t, alpha_s * 0 + 1, mask_id=MASK), measure) < 2).all()
    )
