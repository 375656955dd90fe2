"""What the seconds of a step mean for a run, with numbers worked out by hand."""

import itertools

import pytest
import torch

from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupCosine
from dnamdlm.training.step_times import Workload, seconds_per_step
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model, read_train_settings

PER_STEP = {"valid_every": 10, "windows_per_validation": 48, "windows_per_step": 16}


@pytest.mark.parametrize(
    ("first_step", "max_steps", "number"),
    [(0, 30, 3), (0, 31, 4), (0, 9, 1), (10, 30, 2), (11, 30, 2), (29, 30, 1), (20, 25, 1)],
)
def test_the_validations_that_are_left_are_counted(first_step, max_steps, number):
    due = [
        step
        for step in range(first_step + 1, max_steps + 1)
        if step % 10 == 0 or step == max_steps
    ]  # fmt: skip
    assert len(due) == number
    assert Workload(first_step, max_steps, **PER_STEP).num_validations == number


def test_a_validation_takes_a_third_of_the_steps_that_read_as_much():
    # 3 validations of 48 windows, each as long as one step of 16 windows forwards and backwards
    assert Workload(0, 30, **PER_STEP).seconds(2.0) == pytest.approx(2.0 * (30 + 3))
    assert Workload(20, 30, **PER_STEP).seconds(2.0) == pytest.approx(2.0 * (10 + 1))


def test_without_a_validation_steps_alone_take_time():
    workload = Workload(0, 100, valid_every=10, windows_per_validation=0, windows_per_step=4)
    assert workload.num_validations == 0
    assert workload.sentence(0.25) == "a step takes 0.25 s, so that 100 steps take about 25 s"


def test_a_long_run_is_told_how_it_can_be_stopped():
    workload = Workload(0, 10_000, valid_every=500, windows_per_validation=0, windows_per_step=4)
    text = workload.sentence(0.72)
    assert text.startswith("a step takes 0.72 s, so that 10,000 steps take about 2 h; Ctrl-C")


def test_a_limit_says_how_many_steps_it_leaves_and_what_would_finish_in_time():
    workload = Workload(0, 10_000, valid_every=500, windows_per_validation=0, windows_per_step=4)
    text = workload.sentence(0.72, limit=30.0, left=1_800.0)
    assert "trainer.max_minutes=30 stops this command after about 2,500 of them" in text
    assert "give trainer.max_steps=2500" in text
    resumed = Workload(100, 10_000, valid_every=500, windows_per_validation=0, windows_per_step=4)
    assert "trainer.max_steps" not in resumed.sentence(0.72, limit=30.0, left=1_800.0)


def test_a_limit_that_is_not_reached_is_not_mentioned():
    workload = Workload(0, 100, valid_every=10, windows_per_validation=0, windows_per_step=4)
    assert "max_minutes" not in workload.sentence(0.25, limit=1.0, left=60.0)


@pytest.mark.parametrize(
    ("seconds", "timed"),
    [(0.01, 8), (0.5, 4), (0.9, 2), (30.0, 1)],
    ids=["whole", "half", "quarter", "one"],
)
def test_a_step_that_takes_long_is_timed_with_fewer_windows(seconds, timed):
    tree = compose("config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1")
    module = TrainingModule(
        build_language_model(tree, seed=1), AdamWSettings(), WarmupCosine(),
        max_steps=10, averaging_decay=0.9,
    )  # fmt: skip
    stream = read_train_settings(tree).data.open().training_stream(1, 16)
    ticks = itertools.count(step=seconds)
    found = seconds_per_step(
        module,
        stream,
        windows=16,
        micro_batch=8,
        gradient_clip=1.0,
        device=torch.device("cpu"),
        precision="32-true",
        clock=lambda: next(ticks),
    )
    # each timed step takes one tick, whatever the number of its windows.
    assert found == pytest.approx(seconds * 16 / timed)
