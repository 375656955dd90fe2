"""Two steps of a teacher as targets, enumerated over three symbols with arbitrary denoisers."""

import pytest
import torch

from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import Cosine, Geometric, LogLinear
from dnamdlm.diffusion.steps import Ancestral
from dnamdlm.diffusion.two_steps import (
    soft_cross_entropy,
    state_between,
    two_step_targets,
    two_steps,
)
from tests.helpers.oracle import TabulatedLaw
from tests.helpers.table_networks import (
    TableNetwork,
    marginals,
    product_of,
    step_kernel,
    wrong_table,
)

SCHEDULES = [LogLinear(), Cosine(), Geometric()]
PLACES = [0.1, 0.6, 0.9]


def _steps(law, schedule, place, num_steps=6):
    rows = len(law.partial_sequences())
    return two_steps(num_steps, torch.full((rows,), place, dtype=torch.float64), schedule)


def _mean_targets(law, at_t, at_m, steps, between=None):
    """The targets of all states, averaged over the state between with its exact probability."""
    states = law.partial_sequences()
    if between is None:
        between = step_kernel(law, at_t.exp(), float(steps.first[0]))
    found = torch.zeros_like(at_t)
    for number, xm in enumerate(states):
        rows = xm.expand(len(states), -1)
        own = at_m[number].expand_as(at_m)
        targets = two_step_targets(at_t, own, states, rows, steps, mask_id=law.mask_id)
        found += between[:, number, None, None] * targets
    return found


def _joint(law, at_t, at_m, steps):
    """The exact two-step kernel of the teacher."""
    first = step_kernel(law, at_t.exp(), float(steps.first[0]))
    return first @ step_kernel(law, at_m.exp(), float(steps.second[0]))


def _student(law, targets, steps):
    """log q of the minimiser: mean targets over the probability of a reveal."""
    hidden = (law.partial_sequences() == law.mask_id).unsqueeze(-1)
    return torch.where(hidden, targets / steps.both[:, None, None], 0.0).log()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("length", [2, 3])
def test_mean_targets_are_the_two_step_marginals_times_the_chance_of_a_reveal(
    length, schedule, place
):
    law, first = wrong_table(length)
    states = law.partial_sequences()
    # another table at the later time, as of a network that sees the time.
    at_t, at_m = first.log_probs(states), TableNetwork(law, 7).log_probs(states)
    steps = _steps(law, schedule, place)
    found = _mean_targets(law, at_t, at_m, steps)
    exact = marginals(law, _joint(law, at_t, at_m, steps))
    hidden = states == law.mask_id
    assert (found[hidden][:, :3] - exact[hidden][:, :3]).abs().max() < 1e-12
    totals = found.sum(dim=-1)
    assert (totals[hidden] - float(steps.both[0])).abs().max() < 1e-12
    assert not totals[~hidden].any()


def test_the_expected_loss_is_minimal_at_the_two_step_marginals():
    law, table = wrong_table()
    states = law.partial_sequences()
    at_t = at_m = table.log_probs(states)
    steps = _steps(law, LogLinear(), 0.6)
    targets = _mean_targets(law, at_t, at_m, steps)
    hidden = states == law.mask_id

    def gradient(log_probs):
        logits = log_probs[hidden][:, :3].clone().requires_grad_()
        loss = soft_cross_entropy(logits.log_softmax(dim=-1), targets[hidden][:, :3]).sum()
        return torch.autograd.grad(loss, logits)[0].abs().max()

    assert gradient(_student(law, targets, steps)) < 1e-12
    # the prediction of the teacher itself is not where it is minimal.
    assert gradient(at_t) > 1e-3


def test_one_step_of_the_minimiser_is_as_far_from_two_as_the_product_of_marginals():
    law, table = wrong_table()
    states = law.partial_sequences()
    at_t = at_m = table.log_probs(states)
    steps = _steps(law, LogLinear(), 0.1)
    joint = _joint(law, at_t, at_m, steps)
    student = _student(law, _mean_targets(law, at_t, at_m, steps), steps)
    visible = (states != law.mask_id).unsqueeze(-1)
    student = torch.where(visible, at_t, student)
    one_step = step_kernel(law, student.exp(), float(steps.both[0]))
    nearest = product_of(law, marginals(law, joint))
    distance = (one_step - joint).abs().sum(dim=1) / 2
    assert (distance - (nearest - joint).abs().sum(dim=1) / 2).abs().max() < 1e-12
    # that is not zero where two tokens are hidden, and less in divergence than without training.
    both_hidden = (states == law.mask_id).all(dim=1)
    assert float(distance[both_hidden]) > 1e-2
    assert float(distance[~both_hidden].max()) < 1e-12
    untrained = step_kernel(law, at_t.exp(), float(steps.both[0]))
    assert _divergence(joint, one_step)[both_hidden] < _divergence(joint, untrained)[both_hidden]


def _divergence(left, right):
    return torch.special.xlogy(left, left / right.clamp(min=1e-300)).sum(dim=1)


def _true_kernel(law, reveal):
    """One step in which the tokens that appear are drawn together, from the law itself."""
    states, mask = law.partial_sequences(), law.mask_id
    shown = (states.unsqueeze(1) == law.sequences) | (states == mask).unsqueeze(1)
    kernel = torch.zeros(len(states), len(states), dtype=torch.float64)
    for i, before in enumerate(states):
        for j, after in enumerate(states):
            kept = (after == before) | (before == mask)
            opened = int(((before == mask) & (after != mask)).sum())
            left = int((after == mask).sum())
            share = (law.posterior(before[None])[0] * shown[j].all(dim=-1)).sum()
            kernel[i, j] = bool(kept.all()) * share * reveal**opened * (1 - reveal) ** left
    return kernel


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("length", [2, 3])
def test_of_an_exact_denoiser_only_its_own_product_form_is_learned(length, place):
    law = TabulatedLaw(length, num_symbols=3)
    states = law.partial_sequences()
    exact = law.log_probs(states)
    steps = _steps(law, Cosine(), place)
    hidden = states == law.mask_id
    predicted = steps.both[:, None, None] * exact.exp()
    # tower property: the mean prediction over true states between is the prediction before.
    true = _true_kernel(law, float(steps.first[0]))
    found = _mean_targets(law, exact, exact, steps, true)
    assert (found - predicted)[hidden].abs().max() < 1e-12
    # the sampler draws tokens of one step apart, which matters from two of them before a third.
    sampled = (_mean_targets(law, exact, exact, steps) - predicted).abs().amax(dim=-1) * hidden
    is_affected = hidden & (hidden.sum(dim=1, keepdim=True) > 2)
    assert sampled[~is_affected].max() < 1e-12
    assert is_affected.any() == (length == 3)
    if length == 3:
        assert 1e-6 < sampled[is_affected].max() < float(steps.first[0]) ** 2


def test_the_state_between_is_that_of_the_sampler():
    law, table = wrong_table(3)
    keys = row_keys(3, torch.arange(200))
    start = torch.full((200, 3), law.mask_id)
    seen = {}

    def denoise(xt, time, rows):
        seen.setdefault(float(time[0]), (rows, xt.clone()))
        return table.log_probs(xt)

    reverse_process(
        denoise, start, rule=Ancestral(), schedule=LogLinear(), times=linear_grid(2),
        mask_id=law.mask_id, noise=RowNoise(keys),
    )  # fmt: skip
    steps = two_steps(2, torch.full((200,), 0.5), LogLinear())
    found = state_between(start, table.log_probs(start), steps, RowNoise(keys), mask_id=law.mask_id)
    rows, expected = seen[0.5]
    assert 100 < len(rows) < 200
    assert torch.equal(found[rows], expected)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_pairs_are_those_of_the_grid_and_equally_likely(schedule):
    places = (torch.arange(60, dtype=torch.float64) + 0.5) / 60
    found = two_steps(6, places, schedule)
    grid = linear_grid(6)
    for number, (t, m, s) in enumerate([(4, 5, 6), (2, 3, 4), (0, 1, 2)]):
        rows = slice(20 * number, 20 * number + 20)
        assert (found.t[rows] == grid[t]).all()
        assert (found.m[rows] == grid[m]).all()
        alpha = 1.0 if number == 0 else float(schedule.alpha(grid[s : s + 1]))
        torch.testing.assert_close(found.alpha_s[rows], torch.full((20,), alpha).double())
    assert bool((found.both[:20] == 1).all())
    # a reveal by time s is one in either step.
    torch.testing.assert_close(found.both, found.first + (1 - found.first) * found.second)
