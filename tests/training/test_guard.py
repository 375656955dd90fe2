"""Which updates are made, by a rule that is computed again here."""

import json
import math
import random
import statistics

import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.training.guard import UpdateGuard, dump_batches


def guard(sigmas=6.0, max_skips=3):
    return UpdateGuard(sigmas=sigmas, max_skips=max_skips)


def fed(number, spread=0.1):
    noise, made = random.Random(1), guard()
    losses = [1.4 + spread * noise.gauss(0, 1) for _ in range(number)]
    assert all(made.judge(loss, 1.0) is None for loss in losses)
    return made, losses


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)]
)
def test_what_is_not_finite_is_left_out(loss, norm):
    made = guard()
    what = "the norm of the gradient is" if loss == 1.0 else "the loss is"
    assert made.judge(loss, norm).startswith(what)
    assert (made.skipped, made.in_a_row, len(made.losses)) == (1, 1, 0)


@pytest.mark.parametrize("number", [32, 128, 300])
def test_the_limit_is_that_of_the_last_128_losses(number):
    made, losses = fed(number, spread=0.6)
    recent = losses[-128:]
    mean = statistics.fmean(recent)
    limit = max(mean + 6 * math.sqrt(statistics.fmean((x - mean) ** 2 for x in recent)), 3 * mean)
    state = made.state()
    assert made.judge(limit * 1.000001, 1.0) is not None
    made.load(state)
    assert made.judge(limit * 0.999999, 1.0) is None


def test_six_sigmas_alone_are_no_spike():
    made, _ = fed(128, spread=0.01)
    assert made.judge(2.0, 1.0) is None
    assert made.judge(4.3, 1.0) is not None


def test_few_losses_are_no_measure():
    made, _ = fed(31)
    assert made.judge(1e6, 1.0) is None


def test_a_spike_does_not_enter_the_measure():
    made, _ = fed(64)
    before = list(made.losses)
    made.judge(1e4, 1.0)
    assert list(made.losses) == before


def test_zero_sigmas_let_every_finite_loss_through():
    made = guard(sigmas=0.0)
    assert all(made.judge(loss, 1.0) is None for loss in [1.0] * 64 + [1e9])


def test_only_skips_in_a_row_count_towards_the_end():
    made = guard()
    for loss in (math.nan, math.nan, 1.0, math.nan, math.nan):
        made.judge(loss, 1.0)
    assert not made.has_given_up()
    made.judge(math.nan, 1.0)
    assert made.has_given_up()
    assert made.skipped == 5


def test_the_state_survives_json():
    made, _ = fed(200)
    made.judge(math.nan, 1.0)
    again = guard()
    again.load(json.loads(json.dumps(made.state())))
    assert again.state() == made.state()
    assert again.judge(1.5, 1.0) == made.judge(1.5, 1.0)
    assert again.state() == made.state()


def test_a_dump_names_the_windows_and_is_strict_json(tmp_path):
    tokens = torch.full((2, 3), 7)
    known = torch.ones(2, 3, dtype=torch.bool)
    batch = Batch(
        tokens, known, known, None, torch.tensor([5, -6]), torch.tensor([0, 1]), 2,
        torch.tensor([10, 20]),
    )  # fmt: skip
    path = dump_batches(
        tmp_path, [batch], step=4, rank=1, reason="why", facts={"loss": math.nan, "seed": 3}
    )
    assert path == tmp_path / "bad_batches" / "step_000000004_rank_1.json"
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content == {
        "step": 4, "rank": 1, "reason": "why", "loss": "nan", "seed": 3,
        "micro_batches": [
            {"window_start": [10, 20], "length": 3, "noise_key": [5, -6], "row": [0, 1]}
        ],
    }  # fmt: skip
