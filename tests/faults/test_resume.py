"""Killed at any place and any step, a run ends bitwise as if nothing had happened."""

import json
import random
import shutil
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


OF_THE_OPTIMIZER = (
    "optimizer.learning_rate=0.1", "optimizer.beta1=0.1", "optimizer.beta2=0.5",
    "optimizer.eps=0.1", "optimizer.weight_decay=0.9", "learning_rate.warmup_steps=100",
    "trainer.gradient_clip=0.001", "trainer.averaging_decay=0.1",
)  # fmt: skip


def test_each_setting_that_may_change_acts_from_the_resumed_step_on(trainer, tmp_path):
    first = tmp_path / "first"
    settings = ("learning_rate=constant", "learning_rate.warmup_steps=1")
    trainer.finish(first, *settings)
    longer = (*settings, "trainer.max_steps=15", "trainer.keep_checkpoints=9")
    found = {}
    for number, change in enumerate(("", *OF_THE_OPTIMIZER)):
        folder = tmp_path / f"{number}"
        shutil.copytree(first, folder)
        changes = [item for item in (*longer, change) if item]
        trainer.finish(folder, *changes, "resume.allow=[optimizer,learning_rate,trainer]")
        found[change] = folder
    weights = [tuple(digests(folder, 15).items())[:2] for folder in found.values()]
    assert len(set(weights)) == len(weights)
    # steps before it are those of the run that did not know of it
    assert all(metrics(folder)[:STEPS] == metrics(first) for folder in found.values())
    rates = [float(row["learning_rate"]) for row in metrics(found[OF_THE_OPTIMIZER[0]])[STEPS:]]
    assert rates == [0.1] * 3
    rates = [float(row["learning_rate"]) for row in metrics(found[OF_THE_OPTIMIZER[5]])[STEPS:]]
    # the row of a step has the rate of the next one
    assert rates == pytest.approx([0.001 * (step + 1) / 100 for step in (13, 14, 15)], rel=1e-8)


def test_a_setting_that_only_a_beginning_uses_is_refused_later(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    ended = trainer.run(folder, f"init_from={unbroken}", "resume.allow=[init_from]")
    assert ended.code == 2
    assert "init_from is of use at the beginning of a run" in ended.sentence
    assert state(folder) == state(unbroken)


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
@pytest.mark.parametrize("content", [None, b"", b"[1]", b'{"data": "x"}', b"\xff\x00", b"[" * 9999])
def test_a_torn_record_is_written_anew_and_the_run_ends_as_it_would_have(
    trainer, unbroken, tmp_path, name, content
):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 5}]).code == KILLED
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    ended = trainer.finish(folder)
    assert name in ended.text
    assert state(folder) == state(unbroken)
    aside = folder / f"{name}.1"
    assert aside.exists() == (content is not None)
    assert content is None or aside.read_bytes() == content
    assert json.loads((folder / "run.json").read_text())["seed"] == 1
    # what was written anew still tells other settings apart
    ended = trainer.run(folder, "seed=2")
    assert ended.code == 2
    assert "seed was 1 and is now 2" in ended.sentence


def test_a_run_says_that_it_resumes_with_other_threads(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 5}]).code == KILLED
    record = json.loads((folder / "run.json").read_text())
    assert set(record["versions"]) >= {"threads", "instruction_set", "device", "torch"}
    record["versions"] |= {"threads": "77", "instruction_set": "ABC"}
    (folder / "run.json").write_text(json.dumps(record))
    ended = trainer.finish(folder)
    assert "from step 3 on the run has 1 thread instead of 77, the instruction set" in ended.text
    assert json.loads((folder / "run.json").read_text())["resumed"][0]["step"] == 3
    assert "instead of 77" not in trainer.finish(folder).text


def semicolons(text):
    """As a spreadsheet of another country stores it."""
    return text.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize(
    ("spoil", "warning"),
    [
        (semicolons, "kept as metrics.csv.1"), (lambda text: None, "no rows of the steps 1 to 3"),
        (lambda text: "", "no rows of the steps 1 to 3"),
        (lambda text: "\ufeff" + text, "kept as metrics.csv.1"),
        (lambda text: text.replace("\n2,", "\ntwo,"), "line 3 cannot be read"),
        (lambda text: text[: text.index("\n3,") + 1], "no rows of the steps 3 to 3"),
        (lambda text: "my notes\n", "kept as metrics.csv.1"),
    ],
    ids=["semicolons", "absent", "empty", "mark", "one row", "cut", "notes"],
)  # fmt: skip
def test_figures_are_never_dropped_without_a_word(trainer, unbroken, tmp_path, spoil, warning):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 5}]).code == KILLED
    path = folder / "metrics.csv"
    text = spoil(path.read_text())
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    ended = trainer.finish(folder)
    assert warning in ended.text
    assert metrics(folder)[-9:] == metrics(unbroken)[-9:]
    aside = folder / "metrics.csv.1"
    assert aside.exists() == ("kept as" in ended.text)
    assert not aside.exists() or aside.read_text(encoding="utf-8") == text
