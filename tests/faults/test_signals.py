"""Signals: saved at that step, the right exit code, and no harm from a second one."""

import os
import signal
import time
from pathlib import Path

import pytest

from dnamdlm.lm.checkpoint import verify_checkpoint
from tests.faults.harness import (
    STEPS,
    checkpoints,
    leftovers,
    metrics,
    state,
    wait_for_row,
    wait_until_stopped,
)

pytestmark = pytest.mark.faults

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


def code_of(name):
    return 128 + getattr(signal, name)


@pytest.mark.parametrize(
    ("name", "place", "step"),
    [
        ("SIGTERM", "batch_end", 1), ("SIGINT", "update", 4), ("SIGUSR1", "validation", 8),
        ("SIGUSR2", "batch_start", 10), ("SIGTERM", "save_begin", 6),
    ],
)  # fmt: skip
def test_a_signal_saves_at_its_step(trainer, unbroken, tmp_path, name, place, step):
    folder = tmp_path / "run"
    fault = {"place": place, "step": step, "signal": name}
    ended = trainer.run(folder, faults=[fault])
    assert ended.code == code_of(name), ended.text
    saved = checkpoints(folder)[-1]
    # in an update that step is finished first
    assert saved == step + (place == "update")
    assert ended.sentence == (
        f"dnamdlm: stopped by {name} after step {saved}; the same command resumes from there"
    )
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_from_outside_ends_a_run(trainer, tmp_path, name):
    folder = tmp_path / "run"
    number, log = trainer.start(folder, "trainer.max_steps=100000")
    wait_for_row(folder, 3)
    os.kill(number, getattr(signal, name))
    ended = trainer.wait(number, log)
    assert ended.code == code_of(name), ended.text
    verify_checkpoint(folder / "checkpoints" / f"step_{checkpoints(folder)[-1]:09d}")


# more windows than go through the network at once
LONGER = "trainer.valid_windows=200"


@pytest.fixture(scope="module")
def unbroken_with_longer_validations(trainer, tmp_path_factory):
    """Folder of a run whose validations take several batches."""
    folder = tmp_path_factory.mktemp("longer") / "run"
    trainer.finish(folder, LONGER)
    return folder


@pytest.mark.parametrize("step", [4, STEPS], ids=["in the midst", "at the end"])
def test_a_validation_is_cut_by_a_signal_and_made_up_for(
    trainer, unbroken_with_longer_validations, tmp_path, step
):
    folder = tmp_path / "run"
    signalled = {"place": "validation", "step": step, "signal": "SIGTERM"}
    ended = trainer.run(folder, LONGER, faults=[signalled])
    assert ended.code == code_of("SIGTERM"), ended.text
    assert f"after step {step};" in ended.sentence
    assert checkpoints(folder)[-1] == step
    assert metrics(folder)[-1]["step"] == str(step)
    assert metrics(folder)[-1]["valid_bits_per_base"] == ""
    # the validation that is made up for can be cut as well, or killed
    ended = trainer.run(folder, LONGER, faults=[signalled])
    assert ended.code == code_of("SIGTERM"), ended.text
    killed = {"place": "validation", "step": step}
    assert trainer.run(folder, LONGER, faults=[killed]).code == -signal.SIGKILL
    trainer.finish(folder, LONGER)
    assert state(folder) == state(unbroken_with_longer_validations)
    assert "all 12 steps are done" in trainer.finish(folder, LONGER).text


def test_a_signal_does_not_wait_for_a_validation_of_many_minutes(trainer, tmp_path):
    folder = tmp_path / "run"
    number, log = trainer.start(
        folder, "trainer.valid_every=2", "trainer.valid_windows=100000", "trainer.valid_draws=64"
    )
    wait_for_row(folder, 1)
    # by now step 2 is over and its validation has begun
    time.sleep(3)
    os.kill(number, signal.SIGTERM)
    ended = trainer.wait(number, log)
    assert ended.code == code_of("SIGTERM"), ended.text
    assert checkpoints(folder) == [2]
    verify_checkpoint(folder / "checkpoints" / "step_000000002")


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_second_signal_during_the_save_does_no_harm(trainer, unbroken, tmp_path, second, count):
    folder = tmp_path / "run"
    faults = [
        {"place": "batch_end", "step": 5, "signal": "SIGTERM"},
        {"place": "save_file", "step": 5, "count": count, "signal": [second, second]},
    ]
    ended = trainer.run(folder, faults=faults)
    assert ended.code == code_of("SIGTERM"), ended.text
    assert checkpoints(folder)[-1] == 5
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def test_ctrl_c_pressed_again_stops_at_once_and_harms_nothing(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    fault = {"place": "batch_end", "step": 5, "signal": ["SIGINT", "SIGINT"], "pause": 1.1}
    ended = trainer.run(folder, faults=[fault])
    assert ended.code == 130, ended.text
    assert ended.sentence == "dnamdlm: interrupted"
    assert checkpoints(folder) == [3]
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def test_two_quick_interrupts_are_one(trainer, tmp_path):
    folder = tmp_path / "run"
    fault = {"place": "batch_end", "step": 5, "signal": ["SIGINT", "SIGINT"]}
    assert trainer.run(folder, faults=[fault]).code == 130
    assert checkpoints(folder)[-1] == 5


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_to_the_whole_group_saves_once_and_leaves_no_process(trainer, tmp_path, name):
    folder = tmp_path / "run"
    number, log = trainer.start(
        folder, "trainer.num_workers=2",
        faults=[{"place": "batch_end", "step": 5, "signal": name, "group": True}],
    )  # fmt: skip
    ended = trainer.wait(number, log)
    assert ended.code == code_of(name), ended.text
    assert checkpoints(folder)[-1] == 5
    assert leftovers(folder) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(number, 0)


def test_a_folder_in_use_is_refused_and_the_run_in_it_unharmed(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    number, log = trainer.start(
        folder, faults=[{"place": "batch_start", "step": 4, "signal": "SIGSTOP"}]
    )
    wait_until_stopped(number)
    ended = trainer.run(folder)
    assert ended.code == 2
    assert f"in use by another training process (number {number} on " in ended.sentence
    os.kill(number, signal.SIGCONT)
    assert trainer.wait(number, log).code == 0
    assert state(folder) == state(unbroken)


def test_a_folder_is_free_when_its_trainer_was_killed_with_workers_alive(
    trainer, unbroken, tmp_path
):
    folder = tmp_path / "run"
    fault = {"place": "batch_start", "step": 5}
    ended = trainer.run(folder, "trainer.num_workers=2", faults=[fault])
    assert ended.code == -signal.SIGKILL
    trainer.finish(folder, "trainer.num_workers=2")
    assert state(folder) == state(unbroken)


def test_a_killed_loader_worker_ends_the_run_and_keeps_its_checkpoints(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    number, log = trainer.start(
        folder, "trainer.num_workers=2",
        faults=[{"place": "batch_start", "step": 5, "signal": "SIGSTOP"}],
    )  # fmt: skip
    wait_until_stopped(number)
    for worker in children_of(number):
        os.kill(worker, signal.SIGKILL)
    os.kill(number, signal.SIGCONT)
    ended = trainer.wait(number, log)
    assert ended.code == 1, ended.text
    assert "worker" in ended.sentence
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def children_of(number):
    """Process numbers of the children of a process."""
    words = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [int(word) for word in words]
