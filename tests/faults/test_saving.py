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
from tests.faults.harness import checkpoints, leftovers, metrics, state, wait_until_stopped

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
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]
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
