"""The distribution of generated sequences with an exact denoiser, enumerated state by state.

The chain over the 27 partly masked sequences of L = 3, V = 2 is propagated through the public
`ancestral_probabilities`; samples of the loop are then compared with the same distribution.
"""

import math
from itertools import pairwise

import pytest
import torch

from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.grids import cosine_grid, linear_grid
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral, ancestral_probabilities
from tests.diffusion.cases import SCHEDULES, first_step
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw()
STATES = LAW.partial_sequences()


def _chain_law(schedule, times, start=None, log_probs=None):
    """Exact distribution over the 27 states after all steps, from one start state (all masks)."""
    law = torch.zeros(len(STATES), dtype=torch.float64)
    start = torch.full((LAW.length,), LAW.mask_id) if start is None else start
    law[(start == STATES).all(dim=1)] = 1.0
    log_probs = LAW.log_probs(STATES) if log_probs is None else log_probs
    for t, s in pairwise(times):
        alpha_t = schedule.alpha(t).expand(len(STATES))
        alpha_s = (schedule.alpha(s) if s > 0 else torch.ones_like(s)).expand(len(STATES))
        tokens = ancestral_probabilities(
            log_probs, alpha_t, alpha_s, xt=STATES, mask_id=LAW.mask_id
        )
        # (from state, to state): product over the positions, which are independent.
        transition = torch.ones(len(STATES), len(STATES), dtype=torch.float64)
        for position in range(LAW.length):
            transition *= tokens[:, position][:, STATES[:, position]]
        law = law @ transition
    return law


def _of_sequences(law):
    """Restrict to the finished sequences, in the order of `LAW.sequences`."""
    finished = STATES.ne(LAW.mask_id).all(dim=1)
    assert law[~finished].sum() < 1e-12
    return law[finished]


def _total_variation(law):
    return 0.5 * (_of_sequences(law) - LAW.probs).abs().sum().item()


def test_total_variation_halves_as_the_steps_double():
    distances = [
        _total_variation(_chain_law(LogLinear(), linear_grid(num_steps)))
        for num_steps in (1, 2, 4, 8, 16, 32, 64)
    ]
    # from a separate enumeration in plain Python loops
    expected = [0.122851465, 0.063533273, 0.032293522, 0.016278482, 0.008172171]
    assert distances[:5] == pytest.approx(expected, abs=1e-9)
    ratios = [later / earlier for earlier, later in pairwise(distances[2:])]
    assert ratios == pytest.approx([0.5] * len(ratios), abs=0.01)


@pytest.mark.parametrize("grid", [linear_grid, cosine_grid])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_schedule_and_grid_ends_without_masks_and_near_the_law(schedule, grid):
    law = _chain_law(schedule, grid(256))
    assert law.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert _total_variation(law) < 0.25


def _sample(num_rows, num_steps, rule=None, start=None, seed=0):
    start = torch.full((LAW.length,), LAW.mask_id) if start is None else start
    return reverse_process(
        lambda xt, _time, _rows: LAW.log_probs(xt),
        start.repeat(num_rows, 1),
        rule=rule or Ancestral(),
        schedule=LogLinear(),
        times=linear_grid(num_steps),
        mask_id=LAW.mask_id,
        noise=RowNoise(row_keys(seed, torch.arange(num_rows))),
    )


def _assert_drawn_from(tokens, probs):
    counts = torch.bincount(LAW.index_of(tokens), minlength=len(probs)).double()
    possible = probs > 0
    assert counts[~possible].sum() == 0
    expected = probs[possible] * len(tokens)
    chi_square = ((counts[possible] - expected) ** 2 / expected).sum().item()
    # beyond the 0.9999 quantile for every number of degrees of freedom used here (at most 7).
    assert chi_square < 29.9


@pytest.mark.parametrize("num_steps", [1, 3, 16])
def test_the_loop_draws_from_the_enumerated_chain(num_steps):
    tokens = _sample(20_000, num_steps).tokens
    _assert_drawn_from(tokens, _of_sequences(_chain_law(LogLinear(), linear_grid(num_steps))))


def test_many_steps_draw_from_the_law_itself():
    _assert_drawn_from(_sample(20_000, 128).tokens, LAW.probs)


def test_clamped_generation_follows_the_conditional_law():
    start = torch.tensor([LAW.mask_id, 1, LAW.mask_id])
    exact = LAW.posterior(start.unsqueeze(0)).squeeze(0)
    tokens = _sample(20_000, 128, start=start).tokens
    assert bool((tokens[:, 1] == 1).all())
    _assert_drawn_from(tokens, exact)
    chain = _of_sequences(_chain_law(LogLinear(), linear_grid(3), start=start))
    _assert_drawn_from(_sample(20_000, 3, start=start).tokens, chain)


def test_temperature_sharpens_every_conditional():
    cold = (LAW.log_probs(STATES) / 0.5).log_softmax(dim=-1)
    chain = _of_sequences(_chain_law(LogLinear(), linear_grid(4), log_probs=cold))
    _assert_drawn_from(_sample(20_000, 4, rule=Ancestral(Choice(temperature=0.5))).tokens, chain)


def test_float32_gumbel_loses_tokens_at_ten_thousand_steps_and_ours_does_not():
    # One of 10,000 steps with 2,000 equally likely tokens: a token wins with probability 5e-8,
    # which is below the grid of float32 uniforms, 2**-24 = 6e-8.
    num_tokens, reveal = 2_000, 1e-4
    num_rows, length = 1_000, 4_000
    expected = num_rows * length * reveal
    # a Poisson count: four standard errors.
    tolerance = 4 * expected**0.5

    generator = torch.Generator().manual_seed(0)
    trials = num_rows * length
    # the best of 2,000 uniforms on the grid: the largest of 2,000 continuous ones, cut to the grid.
    best = torch.rand(trials, generator=generator, dtype=torch.float64) ** (1 / num_tokens)
    best_on_grid = ((best * 2**24).floor() / 2**24).float()
    of_mask = torch.rand(trials, generator=generator)
    token_score = (reveal / num_tokens) / (1e-10 - (best_on_grid + 1e-10).log())
    mask_score = (1 - reveal) / (1e-10 - (of_mask + 1e-10).log())
    by_gumbel = (token_score > mask_score).sum().item()
    assert by_gumbel < expected - tolerance

    xt = torch.full((num_rows, length), num_tokens)
    alpha_t = torch.zeros(num_rows, dtype=torch.float64)
    log_probs = torch.full((num_tokens + 1,), -math.log(num_tokens))
    log_probs[num_tokens] = -torch.inf
    step = first_step(xt, alpha_t, alpha_t + reveal, mask_id=num_tokens)
    xs = Ancestral()(step, LogProbs(log_probs.expand(num_rows, length, -1)))
    by_rule = (xs != num_tokens).sum().item()
    assert abs(by_rule - expected) < tolerance
