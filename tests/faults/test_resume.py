"""Killed at any place and any step, a run ends bitwise as if nothing had happened."""

import json
import random
import signal

import pytest

from tests.faults.harness import STEPS, checkpoints, digests, metrics, state

pytestmark = pytest.mark.faults

_CHOICE = random.Random(20)
ANYWHERE = sorted(
    {
        (_CHOICE.choice(("batch_start", "update", "batch_end", "row")), _CHOICE.randrange(1, STEPS))
        for _ in range(20)
    }
    # before anything is saved, in each validation, at the first step of a pass, at the last step
    | {("batch_start", 0), ("update", 0), ("update", 11), ("row", 12)}
    | {("validation", step) for step in (4, 8, 12)}
)
KILLED = -signal.SIGKILL


@pytest.mark.parametrize(("place", "step"), ANYWHERE)
def test_a_killed_run_ends_as_the_unbroken_one(trainer, unbroken, tmp_path, place, step):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": place, "step": step}]).code == KILLED
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def test_kills_before_any_new_checkpoint_do_no_harm(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    for step in (4, 5, 4, 3, 5, 11, 10):
        ended = trainer.run(folder, faults=[{"place": "batch_start", "step": step}])
        assert ended.code == KILLED
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def test_two_fresh_runs_are_the_same(trainer, unbroken, tmp_path):
    trainer.finish(tmp_path / "run")
    assert state(tmp_path / "run") == state(unbroken)


@pytest.mark.parametrize("workers", [1, 4])
def test_loader_workers_change_nothing_even_when_killed(trainer, unbroken, tmp_path, workers):
    folder, setting = tmp_path / "run", f"trainer.num_workers={workers}"
    fault = {"place": "update", "step": 7}
    assert trainer.run(folder, setting, faults=[fault]).code == KILLED
    trainer.finish(folder, setting)
    assert state(folder) == state(unbroken)


def traced(path):
    """(step, row) -> window and noise key; a step that was repeated must repeat them."""
    seen = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        for row, start, key in zip(entry["row"], entry["start"], entry["key"], strict=True):
            assert seen.setdefault((entry["step"], row), (start, key)) == (start, key)
    return seen


def test_accumulation_changes_neither_windows_nor_noise_nor_the_loss(trainer, tmp_path):
    seen, losses = [], []
    for micro in (8, 4, 2, 1):
        folder, trace = tmp_path / f"run{micro}", tmp_path / f"{micro}.jsonl"
        trainer.finish(
            folder, f"trainer.micro_batch_size={micro}", "backbone.dropout=0",
            faults=[{"trace": str(trace)}],
        )  # fmt: skip
        seen.append(traced(trace))
        losses.append([float(row["train_bits_per_base"]) for row in metrics(folder)])
    assert all(other == seen[0] for other in seen[1:])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-6, abs=1e-5)


def test_each_window_is_seen_once_a_pass_whatever_is_killed(trainer, tmp_path):
    # 24 windows of 64 bases; 8 a step; so four passes in twelve steps
    letters = random.Random(3)
    genome = tmp_path / "genome.fa"
    genome.write_text(">a\n" + "".join(letters.choices("ACGT", k=24 * 64)) + "\n")
    folder, trace = tmp_path / "run", tmp_path / "trace.jsonl"
    settings = (
        f"data.fasta={genome}", "data.annotation=null", f"data.cache_dir={tmp_path}/cache",
        "data.valid=[]", "data.test=[]", "data.train=[a]", "data.jitter=false",
    )  # fmt: skip
    for step in (2, 4, 7, 8, 11):
        faults = [{"place": "update", "step": step}, {"trace": str(trace)}]
        assert trainer.run(folder, *settings, faults=faults).code == KILLED
    trainer.finish(folder, *settings, faults=[{"trace": str(trace)}])
    seen = traced(trace)
    assert len(seen) == STEPS * 8
    for number in range(4):
        starts = [start for (step, _), (start, _) in seen.items() if step // 3 == number]
        assert sorted(starts) == [64 * window for window in range(24)]


def test_a_run_that_goes_back_to_an_older_checkpoint_has_each_step_once(
    trainer, unbroken, tmp_path
):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 11}]).code == KILLED
    newest = folder / "checkpoints" / "step_000000009" / "average.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    ended = trainer.finish(folder)
    assert "skipped a checkpoint" in ended.text
    assert "step_000000009/average.safetensors" in ended.text
    assert "resuming from step 6" in ended.text
    assert state(folder) == state(unbroken)
    assert checkpoints(folder) == [9, 12]
    assert (folder / "checkpoints" / "damaged_step_000000009").is_dir()


def test_a_run_without_a_good_checkpoint_does_not_begin_again_unasked(trainer, tmp_path):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 8}]).code == KILLED
    for path in folder.glob("checkpoints/*/manifest.json"):
        path.unlink()
    ended = trainer.run(folder)
    assert ended.code == 2
    assert "none of the 2 checkpoints" in ended.sentence


def test_a_longer_run_than_planned_is_the_planned_one_and_more(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    constant = "learning_rate=constant"
    trainer.finish(folder, constant)
    before = digests(folder)
    refused = trainer.run(folder, constant, "trainer.max_steps=15")
    assert refused.code == 2
    assert "trainer.max_steps was 12 and is now 15" in refused.sentence
    assert "resume.allow=[trainer.max_steps]" in refused.sentence
    trainer.finish(folder, constant, "trainer.max_steps=15", "resume.allow=[trainer.max_steps]")
    assert digests(folder) == before
    # from here on the new settings are those of the run, and need no permission any more
    trainer.finish(folder, constant, "trainer.max_steps=15")
    trainer.finish(tmp_path / "long", constant, "trainer.max_steps=15")
    # a run that had ended counts one more of Lightning's epochs, which mean nothing here
    found, wanted = digests(folder, 15), digests(tmp_path / "long", 15)
    assert {**found, "trainer.json": ""} == {**wanted, "trainer.json": ""}
    assert metrics(folder) == metrics(tmp_path / "long")
    record = json.loads((folder / "run.json").read_text())
    assert record["changes"] == [{"step": 12, "changed": {"trainer.max_steps": [12, 15]}}]
