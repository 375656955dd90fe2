"""The reverse loop: reproducible rows, counted calls, clamped tokens, full reveal."""

import pytest
import torch

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.remasking import Capped, Remasking
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import Linear, LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting, StepRule, draw_tokens
from dnamdlm.errors import ConfigError
from tests.diffusion.cases import RULES, SCHEDULES

SYMBOLS, LENGTH = 4, 12
MASK = SYMBOLS
WEIGHT = torch.randn(SYMBOLS + 1, SYMBOLS, generator=torch.Generator().manual_seed(0)).double()


class Network:
    """Each token depends on the whole row; records its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, xt, time, rows):
        self.calls.append((xt.clone(), time.clone(), rows.clone()))
        context = WEIGHT[xt].cumsum(dim=1) + WEIGHT[xt].mean(dim=1, keepdim=True)
        mask = torch.full((*xt.shape, 1), -torch.inf, dtype=torch.float64)
        return torch.cat([context.log_softmax(-1), mask], dim=-1)


def _run(initial, *, seed=5, index=None, num_steps=40, **settings):
    network = Network()
    index = torch.arange(len(initial)) if index is None else index
    settings = {"rule": Ancestral(), "schedule": LogLinear()} | settings
    generated = reverse_process(
        network,
        initial,
        times=settings.pop("times", linear_grid(num_steps)),
        mask_id=MASK,
        noise=RowNoise(row_keys(seed, index)),
        **settings,
    )
    return generated, network.calls


def _all_masks(rows):
    return torch.full((rows, LENGTH), MASK)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_same_row_gives_the_same_tokens_in_any_batch_and_order(rule):
    whole, _ = _run(_all_masks(16), rule=rule)
    order = torch.tensor([9, 2, 14])
    part, _ = _run(_all_masks(3), index=order, rule=rule)
    assert torch.equal(part.tokens, whole.tokens[order])
    again, _ = _run(_all_masks(16), rule=rule)
    assert torch.equal(again.tokens, whole.tokens)
    other, _ = _run(_all_masks(16), seed=6, rule=rule)
    assert not torch.equal(other.tokens, whole.tokens)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_fills_all_masks_and_keeps_what_is_given(rule):
    initial = _all_masks(8)
    initial[:, 3:7] = torch.arange(4)
    initial[5] = 2
    before = initial.clone()
    generated, calls = _run(initial, rule=rule)
    given = before != MASK
    assert torch.equal(generated.tokens[given], before[given])
    assert bool((generated.tokens < SYMBOLS).all())
    assert torch.equal(initial, before)
    assert all(5 not in rows for _, _, rows in calls)
    assert generated.network_calls == len(calls)
    assert generated.row_calls == sum(len(rows) for _, _, rows in calls)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_obeys_the_allowed_tokens(rule):
    allowed = torch.zeros(6, LENGTH, SYMBOLS + 1, dtype=torch.bool)
    choice = torch.randint(SYMBOLS, (6, LENGTH), generator=torch.Generator().manual_seed(1))
    allowed.scatter_(-1, choice.unsqueeze(-1), True)
    allowed.scatter_(-1, (choice.unsqueeze(-1) + 1) % SYMBOLS, True)
    generated, _ = _run(_all_masks(6), rule=rule, constraints=Constraints(allowed))
    assert bool(allowed.gather(-1, generated.tokens.unsqueeze(-1)).all())


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.is_paced], ids=repr)
def test_a_rule_with_its_own_clock_makes_no_more_calls_than_tokens(rule):
    initial = _all_masks(4)
    initial[0, 2:] = 1
    generated, calls = _run(initial, rule=rule, times=linear_grid(1))
    assert generated.row_calls <= 3 * LENGTH + 2
    times = [[time[rows == row].item() for _, time, rows in calls if row in rows] for row in (0, 1)]
    assert all(sorted(of_row, reverse=True) == of_row for of_row in times)
    assert all(0 <= time <= 1 for of_row in times for time in of_row)


def test_only_the_masks_to_fill_are_filled():
    initial = _all_masks(5)
    initial[:, 0] = 1
    fill = torch.zeros(5, LENGTH, dtype=torch.bool)
    fill[:, :4] = True
    for rule in (Ancestral(), FirstHitting()):
        tokens = _run(initial, rule=rule, fill=fill)[0].tokens
        assert bool((tokens[:, 0] == 1).all())
        assert bool((tokens[:, 1:4] != MASK).all())
        assert bool((tokens[:, 4:] == MASK).all())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("num_steps", [1, 5])
def test_no_mask_is_left_whatever_the_schedule(schedule, num_steps):
    generated, _ = _run(_all_masks(32), schedule=schedule, num_steps=num_steps)
    assert bool((generated.tokens < SYMBOLS).all())


def test_rows_without_a_change_cost_no_call_and_calls_are_counted():
    generated, calls = _run(_all_masks(8), num_steps=200)
    assert generated.network_calls == len(calls)
    assert generated.row_calls == sum(len(rows) for _, _, rows in calls)
    # every call of a row reveals at least one of its tokens
    assert generated.row_calls <= 8 * LENGTH
    seen = {}
    for xt, _, rows in calls:
        for tokens, row in zip(xt.tolist(), rows.tolist(), strict=True):
            assert tokens != seen.get(row)
            seen[row] = tokens


def test_finished_rows_leave_the_batch_and_visible_rows_never_enter():
    initial = _all_masks(3)
    initial[1] = 2
    generated, calls = _run(initial)
    assert all(1 not in rows for _, _, rows in calls)
    assert all(bool((xt == MASK).any(dim=1).all()) for xt, _, _ in calls)
    assert torch.equal(generated.tokens[1], initial[1])
    nothing, calls = _run(torch.zeros(2, LENGTH, dtype=torch.int64))
    assert calls == []
    assert nothing.network_calls == nothing.row_calls == 0


def test_the_network_sees_the_time_at_the_start_of_each_step():
    _, calls = _run(_all_masks(4), num_steps=4)
    assert [time.unique().item() for _, time, _ in calls] == [1.0, 0.75, 0.5, 0.25]


def test_constraints_hold_for_every_row():
    allowed = torch.zeros(6, LENGTH, SYMBOLS + 1, dtype=torch.bool)
    choice = torch.randint(SYMBOLS, (6, LENGTH), generator=torch.Generator().manual_seed(1))
    allowed.scatter_(-1, choice.unsqueeze(-1), True)
    allowed[:, 0, :SYMBOLS] = True
    generated, _ = _run(_all_masks(6), constraints=Constraints(allowed))
    assert torch.equal(generated.tokens[:, 1:], choice[:, 1:])


class Vandal(Ancestral):
    """A rule that rewrites every token."""

    def __call__(self, step, log_probs):
        return torch.zeros_like(step.tokens)


def test_clamped_tokens_survive_a_rule_that_rewrites_everything():
    initial = _all_masks(4)
    initial[:, ::2] = 3
    generated, _ = _run(initial, rule=Vandal())
    assert bool((generated.tokens[:, ::2] == 3).all())
    assert bool((generated.tokens[:, 1::2] == 0).all())


def test_the_last_step_reveals_all_where_the_schedule_starts_far_from_one():
    generated, _ = _run(_all_masks(32), schedule=Linear(sigma_min=1.0, sigma_max=5.0))
    assert bool((generated.tokens < SYMBOLS).all())


class RightToLeft(StepRule):
    """A rule as a user would write it."""

    is_paced = False

    def __call__(self, step, log_probs):
        num_hidden_from_here = step.hidden.flip(1).cumsum(1).flip(1)
        return draw_tokens(step, log_probs, step.hidden & (num_hidden_from_here == 1))


def test_a_rule_needs_nothing_but_its_call():
    initial = _all_masks(3)
    initial[1, 4] = 2
    initial[2] = 1
    generated, calls = _run(initial, rule=RightToLeft())
    assert bool((generated.tokens < SYMBOLS).all())
    assert generated.network_calls == LENGTH
    for call, (xt, time, rows) in enumerate(calls):
        hidden = (xt[rows == 0] == MASK).flatten().tolist()
        assert hidden == [True] * (LENGTH - call) + [False] * call
        # by default the clock shows the share of the positions to fill that are still hidden.
        assert time[rows == 0].item() == pytest.approx(1 - call / LENGTH, abs=1e-15)


class Idle(StepRule):
    """A rule that never reveals anything."""

    def __init__(self, *, is_paced):
        self.is_paced = is_paced

    def __call__(self, step, log_probs):
        return step.tokens


@pytest.mark.parametrize(
    ("is_paced", "demand"), [(True, "where alpha_s is 1"), (False, "at least one token")]
)
def test_a_rule_that_leaves_masks_is_refused(is_paced, demand):
    with pytest.raises(ConfigError, match=f"left {2 * LENGTH} masks; .*{demand}"):
        _run(_all_masks(2), rule=Idle(is_paced=is_paced), num_steps=3)


def test_a_network_that_predicts_the_mask_is_refused():
    with pytest.raises(ConfigError, match="give the mask probability 0, as `subs` does"):
        reverse_process(
            lambda xt, _time, _rows: torch.full((*xt.shape, SYMBOLS + 1), -2.0).double(),
            _all_masks(8),
            rule=Ancestral(),
            schedule=LogLinear(),
            times=linear_grid(5),
            mask_id=MASK,
            noise=RowNoise(row_keys(0, torch.arange(8))),
        )


class Overreaching(Remasking):
    """A rule that also rewrites given tokens of rows without a network call."""

    def without_network(self, step):
        return torch.zeros_like(step.tokens)


def test_clamped_tokens_survive_a_step_without_the_network():
    initial = _all_masks(4)
    initial[:, ::2] = 3
    rule = Overreaching(Capped(0.1))
    generated, _ = _run(initial, rule=rule, num_steps=60)
    assert bool((generated.tokens[:, ::2] == 3).all())


@pytest.mark.parametrize("rule", [Ancestral(), FirstHitting(), Remasking(Capped(0.1))], ids=repr)
def test_the_observer_is_called_after_each_call_and_its_numbers_add_up(rule):
    initial = _all_masks(4)
    initial[:, :3] = 1
    filled = []
    generated, calls = _run(initial, rule=rule, watch=filled.append)
    assert len(filled) == len(calls) == generated.network_calls
    assert sum(filled) == 4 * (LENGTH - 3)


@pytest.mark.parametrize("times", [[1.0], [1.0, 0.5], [1.5, 0.0], [1.0, 0.5, 0.5, 0.0], []])
def test_times_that_do_not_fall_to_zero_are_refused(times):
    with pytest.raises(ConfigError, match="fall strictly from at most 1 to exactly 0"):
        _run(_all_masks(1), times=torch.tensor(times, dtype=torch.float64))
