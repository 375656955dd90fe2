"""Saving: killed in the middle, on full, read-only and forbidden disks, beside foreign files."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
import torch

from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import list_checkpoints, newest_valid, verify_checkpoint
from dnamdlm.training.checkpointing import FolderCheckpointIO, prune
from tests.faults.harness import (
    ROOT,
    STEPS,
    checkpoints,
    leftovers,
    metrics,
    state,
    wait_until_stopped,
)

pytestmark = pytest.mark.faults

STOPPED = {"place": "batch_start", "signal": "SIGSTOP"}


@contextmanager
def mounted(folder, *options):
    """A file system in memory; skips where none may be mounted."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def small_disk(folder, size):
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@pytest.mark.parametrize(
    ("place", "count"),
    [("save_begin", 0), *(("save_file", count) for count in range(1, 8)), ("save_end", 0)],
)
def test_a_run_killed_in_a_save_keeps_a_good_checkpoint(trainer, unbroken, tmp_path, place, count):
    folder = tmp_path / "run"
    fault = {"place": place, "step": 6, "count": count}
    assert trainer.run(folder, faults=[fault]).code == -signal.SIGKILL
    for step in checkpoints(folder):
        verify_checkpoint(folder / "checkpoints" / f"step_{step:09d}")
    assert checkpoints(folder)[0] == 3
    trainer.finish(folder)
    assert leftovers(folder) == []
    assert state(folder) == state(unbroken)


def test_a_run_killed_while_it_deletes_leaves_nothing_behind(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    ended = trainer.run(folder, faults=[{"place": "prune", "step": 9}])
    assert ended.code == -signal.SIGKILL
    assert checkpoints(folder) == [6, 9]
    assert leftovers(folder) == [".partial-step_000000003"]
    trainer.finish(folder)
    assert leftovers(folder) == []
    assert state(folder) == state(unbroken)


def test_a_disk_that_fills_up_costs_a_checkpoint_but_not_the_run(trainer, unbroken, tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        folder = disk / "run"
        number, log = trainer.start(folder, faults=[STOPPED | {"step": step} for step in (4, 8)])
        wait_until_stopped(number)
        fill(disk)
        os.kill(number, signal.SIGCONT)
        wait_until_stopped(number)
        assert checkpoints(folder) == [3]
        assert leftovers(folder) == []
        (disk / "filler").unlink()
        os.kill(number, signal.SIGCONT)
        ended = trainer.wait(number, log)
        assert ended.code == 0, ended.text
        assert "step 6 is not saved" in ended.text
        assert "No space left on device" in ended.text
        assert state(folder) == state(unbroken)


def test_a_disk_that_stays_full_ends_the_run_with_one_sentence(trainer, unbroken, tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        folder = disk / "run"
        number, log = trainer.start(folder, faults=[STOPPED | {"step": 4}])
        wait_until_stopped(number)
        fill(disk)
        os.kill(number, signal.SIGCONT)
        ended = trainer.wait(number, log)
        assert ended.code == 1, ended.text
        assert "step 12 is not saved" in ended.sentence
        assert "No space left on device" in ended.sentence
        assert checkpoints(folder) == [3]
        assert leftovers(folder) == []
        verify_checkpoint(folder / "checkpoints" / "step_000000003")
        (disk / "filler").unlink()
        trainer.finish(folder)
        assert state(folder) == state(unbroken)


def fill(disk):
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as stream:
        for size in (1 << 16, 1):
            with suppress(OSError):
                while True:
                    stream.write(bytes(size))
    assert shutil.disk_usage(disk).free == 0


def test_too_little_space_is_refused_before_the_first_step(trainer, tmp_path):
    with small_disk(tmp_path / "disk", "600k") as disk:
        ended = trainer.run(disk / "run")
        assert ended.code == 2
        assert "MB free" in ended.sentence
        assert "trainer.keep_checkpoints" in ended.sentence
        assert list(disk.iterdir()) == []


def test_a_read_only_disk_is_refused_before_the_first_step(trainer, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro", "tmpfs") as disk:
        ended = trainer.run(disk / "run")
        assert ended.code == 2
        assert "cannot be written (Read-only file system)" in ended.sentence


def test_a_disk_that_becomes_read_only_leaves_the_earlier_checkpoint(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    number, log = trainer.start(folder, faults=[STOPPED | {"step": 4}])
    wait_until_stopped(number)
    place = folder / "checkpoints"
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        os.kill(number, signal.SIGCONT)
        ended = trainer.wait(number, log)
    assert ended.code == 1, ended.text
    assert "Read-only file system" in ended.sentence
    assert checkpoints(folder) == [3]
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_run_that_loses_its_permissions_leaves_the_earlier_checkpoint(
    trainer, unbroken, tmp_path
):
    folder = tmp_path / "run"
    ended = trainer.run(folder, faults=[{"place": "batch_start", "step": 4, "user": 65534}])
    assert ended.code == 1, ended.text
    assert "step 12 is not saved" in ended.sentence
    assert "Permission denied" in ended.sentence
    assert checkpoints(folder) == [3]
    trainer.finish(folder)
    assert state(folder) == state(unbroken)


def test_a_signal_on_a_full_disk_is_no_success(trainer, tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        folder = disk / "run"
        number, log = trainer.start(folder, faults=[STOPPED | {"step": 4}])
        wait_until_stopped(number)
        fill(disk)
        os.kill(number, signal.SIGTERM)
        os.kill(number, signal.SIGCONT)
        ended = trainer.wait(number, log)
        assert ended.code == 1, ended.text
        assert "is not saved" in ended.sentence
        assert checkpoints(folder) == [3]


def test_retention_leaves_alone_what_it_did_not_make(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    place = folder / "checkpoints"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 4}]).code < 0
    (place / "step_notes").mkdir()
    (place / "step_notes" / "a.txt").write_text("mine")
    (place / "best").symlink_to(place / "step_000000003")
    other = tmp_path / "other" / "step_000000001"
    other.mkdir(parents=True)
    (place / "step_000000001").symlink_to(other)
    trainer.finish(folder)
    assert other.is_dir()
    assert (place / "step_notes" / "a.txt").read_text() == "mine"
    assert (place / "best").is_symlink()
    assert (place / "step_000000001").is_symlink()
    assert [p.name for p in list_checkpoints(place) if p.is_dir()] == [
        "step_000000009", "step_000000012",
    ]  # fmt: skip
    assert metrics(folder) == metrics(unbroken)


def content(step):
    """A checkpoint as Lightning hands it over."""
    return {
        "global_step": step,
        "state_dict": {"lm.w": torch.full((3,), float(step))},
        "average": {"weights": {"w": torch.ones(3)}, "num_updates": step},
        "optimizer_states": [],
    }


def test_a_foreign_file_in_a_checkpoint_keeps_its_folder(tmp_path, caplog):
    storage = FolderCheckpointIO({})
    for step in (1, 2, 3):
        storage.save_checkpoint(content(step), tmp_path / f"step_{step:09d}")
    (tmp_path / "step_000000001" / "notes.txt").write_text("mine")
    prune(tmp_path, 1)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step_000000001", "step_000000003",
    ]  # fmt: skip
    assert "is kept" in caplog.text


WATCHED = """
import sys
from pathlib import Path

from dnamdlm.lm.checkpoint import newest_valid
from dnamdlm.training.checkpointing import FolderCheckpointIO, prune
from tests.faults.test_saving import content

folder, changes, busy = Path(sys.argv[1]), 0, False

def watch(event, arguments):
    global changes, busy
    if busy or event not in ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "open"):
        return
    if str(folder) not in str(arguments[0]) or not (folder / "step_000000001").parent.is_dir():
        return
    busy = True
    changes += 1
    if saved and newest_valid(folder) is None:
        print("no good checkpoint at", event, arguments)
    busy = False

saved = 0
sys.addaudithook(watch)
storage = FolderCheckpointIO({})
for step in range(1, 51):
    storage.save_checkpoint(content(step), folder / f"step_{step:09d}")
    assert storage.failure is None
    saved = step
    prune(folder, 1)
print("changes", changes > 500)
"""


def test_at_every_instant_of_fifty_saves_a_good_checkpoint_is_there(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "changes True\n", done.stdout + done.stderr
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000000050"]


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE]
)
def test_whatever_the_disk_says_earlier_checkpoints_stay(tmp_path, monkeypatch, number):
    storage = FolderCheckpointIO({})
    storage.save_checkpoint(content(1), tmp_path / "step_000000001")

    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    storage.save_checkpoint(content(2), tmp_path / "step_000000002")
    assert isinstance(storage.failure, CheckpointError)
    assert os.strerror(number) in str(storage.failure)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]
    assert newest_valid(tmp_path) == tmp_path / "step_000000001"


def limited(kilobytes, name, *arguments):
    """An entry that may write files of so many kB, as on a disk that is nearly full."""
    command = f'ulimit -f {kilobytes}; exec "$0" "$@"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, "-m", f"dnamdlm.{name}", *arguments], cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "entry", ["predict", "evaluate", "report", "sample", "judge", "tracks", "interpret"]
)
def test_a_full_disk_is_one_sentence_and_changes_nothing(trainer, unbroken, tmp_path, entry):
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(unbroken, run)
    out.mkdir()
    fasta = tmp_path / "made.fa"
    fasta.write_text("".join(f">{i}\n{'ACGTTGCA' * 16}\n" for i in range(40)))
    arguments = {
        "evaluate": [f"model={run}", "limit=8", "draws=1", "max_order=2"],
        "report": [f"run_dir={run}"],
        "sample": [f"model={run}", "num_sequences=200", "length=64", f"out={out}/s.fa"],
        "judge": [f"samples={fasta}", f"reference={fasta}", f"out={out}/j.json"],
        "tracks": [f"model={run}", "locus=chrI:1000-1200", f"out={out}/t.tsv"],
        "interpret": [f"model={run}", "locus=chrI:1000-1008", f"out={out}"],
        "predict": [f"model={tmp_path}/ft", f"input={fasta}", f"out={out}/p.tsv"],
    }[entry]
    if entry == "report":
        done = limited("unlimited", *("report", f"run_dir={run}"))
        assert done.returncode == 0, done.stderr
    if entry == "predict":
        table = tmp_path / "t.csv"
        table.write_text("sequence,label\n" + "".join(f"{'ACGT' * 8},{i % 2}\n" for i in range(40)))
        done = limited(
            "unlimited", "finetune", "config=table", f"data.train={table}", f"model={run}",
            f"run_dir={tmp_path}/ft", "baselines=[]", "seeds=1", "training.epochs=1", "bootstrap=0",
            "method=probe",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    before = contents(run), contents(out)
    done = limited(1, entry, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("dnamdlm: ")]
    assert "cannot be written (File too large)" in sentence
    assert (contents(run), contents(out)) == before


def test_a_report_is_that_of_one_time(trainer, unbroken, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    assert limited("unlimited", "report", f"run_dir={run}").returncode == 0
    sizes = sorted(path.stat().st_size for path in (run / "report_data").iterdir())
    before = contents(run)
    with (run / "metrics.csv").open("a") as stream:
        stream.write(f"{STEPS + 1}" + "," * 9 + "\n")
    # the tables fit and the page does not
    done = limited(sizes[0] // 1024 + 1, "report", f"run_dir={run}")
    assert done.returncode == 2, done.stdout + done.stderr
    after = contents(run)
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed == {"metrics.csv"}


def test_a_slim_copy_is_half_as_large_loads_and_names_no_folder(trainer, unbroken, tmp_path):
    run, out = tmp_path / "run", tmp_path / "slim"
    fasta = tmp_path / "own.fa"
    fasta.write_text(">a\n" + "ACGTTGCA" * 4000 + "\n")
    trainer.finish(
        run, f"data.fasta={fasta}", "data.annotation=null", "data.valid=null", "data.test=null",
        "data.train=null", f"data.cache_dir={tmp_path}/cache",
    )  # fmt: skip
    done = limited("unlimited", "slim", f"run_dir={run}", f"out={out}")
    assert done.returncode == 0, done.stderr
    for path, content in contents(out).items():
        assert str(tmp_path).encode() not in content, path
        assert str(ROOT).encode() not in content, path
    newest = f"checkpoints/step_{STEPS:09d}"
    size = [sum(map(len, contents(folder / newest).values())) for folder in (run, out)]
    assert size[1] < 0.55 * size[0]
    assert metrics(out) == metrics(run)
    made = []
    for folder in (run, out):
        target = tmp_path / f"{folder.name}.fa"
        done = limited("unlimited", "sample", f"model={folder}", "num_sequences=2", "length=64",
                       f"out={target}")  # fmt: skip
        assert done.returncode == 0, done.stderr
        made.append(target.read_bytes())
    assert made[0] == made[1]
    with pytest.raises(CheckpointError, match="has no optimizer state"):
        FolderCheckpointIO({}).load_checkpoint(out / newest)
    done = limited("unlimited", "slim", f"run_dir={run}", f"out={out}")
    assert done.returncode == 2
    assert "exists" in done.stderr
