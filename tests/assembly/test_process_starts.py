"""How worker processes are started: what a fork may share, and where it is not sound."""

import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dnamdlm.assembly import process_starts
from dnamdlm.assembly.process_starts import can_fork
from dnamdlm.assembly.workers import spread
from dnamdlm.threads import Place, Plan

ONE = Plan(threads=1, workers=2)


@pytest.fixture
def one_thread(monkeypatch):
    """As if this process had no thread of Python besides the main one."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
@pytest.mark.usefixtures("one_thread")
def test_a_process_of_one_thread_is_forked():
    assert can_fork(ONE)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "plan",
    [
        Plan(threads=2, workers=2),
        Plan(threads=None, workers=2),
        Plan(threads=1, workers=2, places=(Place((0,)), Place((1,)))),
    ],
    ids=["two threads", "threads of torch", "places"],
)
def test_what_a_fork_cannot_have_needs_an_interpreter(plan):
    assert not can_fork(plan)


@pytest.mark.usefixtures("one_thread")
def test_a_process_that_uses_a_gpu_is_not_forked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert not can_fork(ONE)


@pytest.mark.usefixtures("one_thread")
def test_other_systems_start_an_interpreter(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not can_fork(ONE)


def test_another_thread_needs_an_interpreter():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert not can_fork(ONE)
    finally:
        done.set()
        thread.join()


@dataclass(frozen=True)
class Inherited:
    """What a worker process finds of the process that started it."""

    marker: str

    def open(self):
        # what is opened now must not be closed by what was open before.
        return Path(self.marker).open()

    def work(self, context, item, advance):
        del item, advance
        names = set()
        for path in list(Path("/proc/self/fd").iterdir()):
            # the list itself is closed by now.
            with suppress(FileNotFoundError):
                names.add(str(path.readlink()))
        context.seek(0)
        return self.marker in "".join(names), sorted(names), context.read()


def test_a_fork_has_no_file_of_the_process_that_started_it(tmp_path, monkeypatch):
    monkeypatch.setattr(process_starts, "can_fork", lambda plan: True)
    marker, open_here = tmp_path / "marker", tmp_path / "open_here"
    marker.write_text("ACGT")
    with open_here.open("w") as stream:
        stream.write("not yet written")
        with spread(Inherited(str(marker)), range(4), ONE) as results:
            found = list(results)
        assert open_here.read_text() == ""
    assert open_here.read_text() == "not yet written"
    assert all(has_own and text == "ACGT" for has_own, _, text in found)
    assert not any("open_here" in name for _, names, _ in found for name in names)


SCRIPT = """
import os
import sys
import warnings
import dnamdlm
from dnamdlm.assembly import process_starts
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sampling import sample

warnings.simplefilter("error")
forks = []
fork = os.fork
os.fork = lambda: forks.append(1) or fork()
if sys.argv[1] == "interpreter":
    process_starts.can_fork = lambda plan: False
print("buffered", end=" ")
sample(SampleSettings(
    "yeast-demo", num_sequences=4, length=32, batch_size=1, seed=5, device="cpu",
    workers=2, threads=1, out=sys.argv[2],
))
print(len(forks))
"""


def test_forks_make_the_same_bytes_as_interpreters(tmp_path):
    made = {}
    for way, number in (("fork", 2), ("interpreter", 0)):
        path = tmp_path / f"{way}.fa"
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, way, path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["buffered", str(number)]
        made[way] = path.read_text()
    assert made["fork"] == made["interpreter"]
    assert made["fork"].count(">") == 4
