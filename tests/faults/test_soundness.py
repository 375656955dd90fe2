"""Losses, gradients and weights that are not sound: no update, no save, and an end in time."""

import json
import signal

import pytest

from tests.faults.harness import checkpoints, digests, metrics, state

pytestmark = pytest.mark.faults

EVERY = ("trainer.checkpoint_every=1", "trainer.keep_checkpoints=20")


@pytest.mark.parametrize("poison", ["loss", "gradient"])
@pytest.mark.parametrize("clip", ["1.0", "0"])
def test_a_step_that_is_not_finite_makes_no_update(trainer, tmp_path, poison, clip):
    folder = tmp_path / "run"
    setting = f"trainer.gradient_clip={clip}"
    ended = trainer.finish(folder, *EVERY, setting, faults=[{"poison": poison, "step": 5}])
    assert "step 6 made no update" in ended.text
    before, after = digests(folder, 5), digests(folder, 6)
    for name in ("weights.safetensors", "average.safetensors", "trainer.safetensors"):
        assert before[name] == after[name]
    assert digests(folder, 7)["weights.safetensors"] != after["weights.safetensors"]
    assert [row["skipped_updates"] for row in metrics(folder)] == ["0"] * 5 + ["1"] * 7
    assert all("nan" not in row.values() for row in metrics(folder))


def test_the_windows_of_a_bad_step_are_written_down(trainer, unbroken, tmp_path):
    folder, trace = tmp_path / "run", tmp_path / "trace.jsonl"
    trainer.finish(folder, faults=[{"poison": "loss", "step": 5}, {"trace": str(trace)}])
    (path,) = (folder / "bad_batches").iterdir()
    content = json.loads(path.read_text())
    assert (content["step"], content["seed"], content["loss"]) == (5, 1, "nan")
    traced = [json.loads(line) for line in trace.read_text().splitlines()]
    seen = [(entry["start"], entry["key"]) for entry in traced if entry["step"] == 5]
    assert [(m["window_start"], m["noise_key"]) for m in content["micro_batches"]] == seen


@pytest.mark.parametrize(
    "faults",
    [
        [{"place": "batch_start", "step": 6}],
        [{"place": "batch_end", "step": 6, "signal": "SIGTERM"}],
        [{"place": "update", "step": 9}],
    ],
    ids=["killed after", "stopped after", "killed later"],
)
def test_a_run_with_a_bad_step_resumes_bitwise(trainer, tmp_path, faults):
    bad = {"poison": "loss", "step": 5}
    trainer.finish(tmp_path / "whole", faults=[bad])
    assert trainer.run(tmp_path / "run", faults=[*faults, bad]).code != 0
    trainer.finish(tmp_path / "run", faults=[bad])
    assert state(tmp_path / "run") == state(tmp_path / "whole")


def test_bad_steps_in_a_row_end_the_run_and_leave_the_good_checkpoints(trainer, tmp_path):
    folder = tmp_path / "run"
    ended = trainer.run(
        folder, "trainer.max_skipped_in_a_row=3",
        faults=[{"poison": "loss", "step": 4, "number": 99}],
    )  # fmt: skip
    assert ended.code == 1, ended.text
    assert "3 steps in a row made no update" in ended.sentence
    assert len(list((folder / "bad_batches").iterdir())) == 3
    assert checkpoints(folder) == [3, 6]
    # the same command with the cause removed goes on
    trainer.finish(folder, "trainer.max_skipped_in_a_row=3")


@pytest.mark.parametrize("poison", ["weight", "moment"])
def test_a_weight_or_moment_that_is_not_finite_ends_the_run(trainer, unbroken, tmp_path, poison):
    folder = tmp_path / "run"
    ended = trainer.run(folder, faults=[{"poison": poison, "step": 4}])
    assert ended.code == 1, ended.text
    assert "a weight, average or moment is nan or infinite at step" in ended.sentence
    assert checkpoints(folder) == [3]
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


LONG = ("trainer.max_steps=44", "trainer.checkpoint_every=10", "trainer.valid_every=44")


def test_a_loss_spike_is_left_out_and_the_rule_survives_a_kill(trainer, tmp_path):
    spike = {"poison": "loss", "step": 38, "factor": 1e4}
    ended = trainer.finish(tmp_path / "whole", *LONG, faults=[spike])
    assert "step 39 made no update: the loss is" in ended.text
    rows = metrics(tmp_path / "whole")
    assert [row["skipped_updates"] for row in rows] == ["0"] * 38 + ["1"] * 6
    # resumed at 30 the rule has seen too few losses of its own to judge step 38
    killed = trainer.run(tmp_path / "run", *LONG, faults=[{"place": "update", "step": 36}])
    assert killed.code == -signal.SIGKILL
    trainer.finish(tmp_path / "run", *LONG, faults=[spike])
    assert state(tmp_path / "run", 44) == state(tmp_path / "whole", 44)


def test_a_loss_spike_passes_where_the_rule_is_off(trainer, tmp_path):
    spike = {"poison": "loss", "step": 38, "factor": 1e4}
    trainer.finish(tmp_path / "run", *LONG, "trainer.spike_sigmas=0", faults=[spike])
    assert metrics(tmp_path / "run")[-1]["skipped_updates"] == "0"
