"""Streams that are closed or no longer read, folders that vanish, file systems without locks."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dnamdlm.data.file_locks import soft_lock_of
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.errors import ConfigError
from dnamdlm.training.run_lock import claimed
from tests.faults.harness import ROOT, STEPS, TINY, checkpoints, metrics, state, wait_until_stopped

pytestmark = pytest.mark.faults

STOPPED = {"place": "batch_start", "signal": "SIGSTOP"}


def shell(script, **variables):
    """A script of bash in which $PY is Python."""
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PY": sys.executable, "TINY": " ".join(TINY)} | variables, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_without_standard_streams_is_a_run(unbroken, tmp_path, closed):
    folder = tmp_path / "run"
    done = shell(f"$PY -m dnamdlm.train $TINY run_dir=$RUN {closed}", RUN=str(folder))
    assert done.returncode == 0, done.stderr
    assert state(folder) == state(unbroken)
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(b"resuming" in content or b"wrote checkpoints" in content for content in written)


def test_a_result_for_a_closed_standard_output_is_refused(unbroken):
    done = shell("$PY -m dnamdlm.sample model=$RUN num_sequences=1 length=20 out=- >&-",
                 RUN=str(unbroken))  # fmt: skip
    assert done.returncode == 2
    assert "out=- cannot be used" in done.stderr


def test_a_mistake_is_a_mistake_without_standard_error():
    done = shell("$PY -m dnamdlm.train config=tyni 2>&-")
    assert (done.returncode, done.stdout) == (2, "")


READ_ONE_LINE = "head -n 1 >/dev/null"


@pytest.mark.parametrize(
    "command",
    [
        "dnamdlm.train $TINY run_dir=$OUT/run 2>&1", "dnamdlm.train $TINY run_dir=$OUT/run",
        "dnamdlm.sample model=$RUN num_sequences=2 length=20 out=$OUT/s.fa 2>&1",
        "dnamdlm.embed model=$RUN data.fasta=$FASTA out=$OUT/e.npz 2>&1", "dnamdlm.train --help",
        "dnamdlm.doctor", "dnamdlm.evaluate model=$RUN limit=4 draws=1 out=$OUT/e.json 2>&1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("reader", [READ_ONE_LINE, "true"])
def test_a_reader_of_messages_that_leaves_changes_nothing(unbroken, tmp_path, command, reader):
    fasta = tmp_path / "g.fa"
    fasta.write_text(">a\n" + 40 * "ACGTTGCA" + "\n")
    done = shell(
        f"$PY -m {command} | {reader}; echo ${{PIPESTATUS[0]}}",
        RUN=str(unbroken), OUT=str(tmp_path), FASTA=str(fasta),
    )  # fmt: skip
    assert done.stdout.split()[-1] == "0", done.stderr
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr
    if "run_dir" in command:
        assert state(tmp_path / "run") == state(unbroken)
    elif "out=" in command:
        assert [path for path in tmp_path.iterdir() if path.name[0] in "se"]


def test_a_reader_of_a_result_that_leaves_ends_the_command_as_a_broken_pipe_does(unbroken):
    done = shell(
        "$PY -m dnamdlm.sample model=$RUN num_sequences=2000 length=64 sampler.num_steps=1 out=- "
        "| true; echo ${PIPESTATUS[0]}", RUN=str(unbroken),
    )  # fmt: skip
    assert done.stdout.split()[-1] == "141", done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("dnamdlm: ")]
    assert sentence == "dnamdlm: standard output is no longer read, and not all was written"


def test_a_full_disk_behind_standard_output_is_named_and_no_failure(unbroken, tmp_path):
    done = shell(
        "$PY -m dnamdlm.sample model=$RUN num_sequences=1 length=20 out=$OUT/s.fa >/dev/full",
        RUN=str(unbroken), OUT=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "standard output cannot be written (No space left on device)" in done.stderr
    assert (tmp_path / "s.fa").read_text().startswith(">")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder, place: folder.rename(place), "was moved or deleted"),
        (lambda folder, place: shutil.copytree(folder, place) and shutil.rmtree(folder),
         "was moved or deleted"),
        (lambda folder, place: folder.rename(place) and folder.mkdir(), "was replaced"),
        (lambda folder, place: (folder / "config.yaml").rename(place), "has lost its config.yaml"),
        (lambda folder, place: (folder / ".lock").rename(place), "has lost its lock"),
    ],
    ids=["moved", "deleted", "replaced", "without config", "without lock"],
)  # fmt: skip
@pytest.mark.parametrize("signalled", [False, True])
def test_a_run_whose_folder_is_gone_stops_and_writes_nothing(
    trainer, unbroken, tmp_path, change, words, signalled
):
    folder, place = tmp_path / "run", tmp_path / "elsewhere"
    number, log = trainer.start(folder, faults=[STOPPED | {"step": 5}])
    wait_until_stopped(number)
    change(folder, place)
    before = sorted(folder.rglob("*"))
    if signalled:
        os.kill(number, signal.SIGTERM)
    os.kill(number, signal.SIGCONT)
    ended = trainer.wait(number, log)
    assert ended.code == 1, ended.text
    assert words in ended.sentence
    assert "the same command resumes from its newest checkpoint" in ended.sentence
    assert [path for path in sorted(folder.rglob("*")) if path.name != ".owner"] == [
        path for path in before if path.name != ".owner"
    ]
    if place.is_dir():
        trainer.finish(place)
        assert state(place) == state(unbroken)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = tmp_path / "run"
    with (
        claimed(folder),
        pytest.raises(ConfigError, match="in use by another"),
        claimed(folder),
    ):
        pass
    with claimed(folder):
        pass
    fasta = tmp_path / "g.fa"
    fasta.write_text(">a\nACGT\n")
    assert open_genome(fasta, cache_dir=tmp_path / "cache").num_bases == 4


def test_a_soft_lock_of_a_dead_process_does_not_count(tmp_path, monkeypatch):
    script = (
        "import os, sys, errno, fcntl\nfrom pathlib import Path\n"
        "def refuse(*_): raise OSError(errno.ENOLCK, 'No locks available')\n"
        "fcntl.flock = refuse\n"
        "from dnamdlm.training.run_lock import claimed\n"
        "held = claimed(Path(sys.argv[1]))\nheld.__enter__()\nos._exit(0)\n"
    )
    folder = tmp_path / "run"
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, cwd=ROOT)
    assert soft_lock_of(folder / ".lock").exists()

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claimed(folder):
        pass


# a process that a shell without job control has started in the background ignores SIGINT.
LISTENING = (
    sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])",
)  # fmt: skip
INTERRUPTED = """
import os, signal, sys
from dnamdlm.command_line import run_entry
from dnamdlm.errors import WorkerLost

def task(tree, given):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass
    except KeyboardInterrupt:
        KIND

run_entry("doctor", task, [])
"""


@pytest.mark.parametrize(
    "kind",
    ["None._invalidate_flags_cache()", "raise WorkerLost('a worker is gone')", "raise",
     "sys.exit(1)", "import no_such_module", "0 / 0"],
)  # fmt: skip
def test_whatever_an_interrupt_breaks_is_interrupted(kind):
    done = subprocess.run(
        [*LISTENING, sys.executable, "-c", INTERRUPTED.replace("KIND", kind)], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stderr.splitlines()[-1] == "dnamdlm: interrupted"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("delay", [0.3, 1.0, 1.8, 2.5, 3.2])
@pytest.mark.parametrize("entry", ["finetune", "sample"])
def test_three_interrupts_at_any_early_moment_are_one(unbroken, tmp_path, delay, entry):
    table = tmp_path / "t.csv"
    rows = "\n".join(f"{'ACGT' * 8},{row % 2}" for row in range(40))
    table.write_text(f"sequence,label\n{rows}\n")
    arguments = {
        "finetune": ["config=table", f"data.train={table}", f"run_dir={tmp_path}/ft", "seeds=50"],
        "sample": ["num_sequences=100000", f"out={tmp_path}/s.fa"],
    }[entry]
    process = subprocess.Popen(
        [*LISTENING, sys.executable, "-m", f"dnamdlm.{entry}", f"model={unbroken}", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(delay)
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=120)
    # before the command has begun to run, Python itself answers, with a traceback.
    assert process.returncode in (-signal.SIGINT, 130), said
    assert not list(tmp_path.glob(".s.fa*"))


def test_a_run_resumes_after_its_folder_was_renamed(trainer, unbroken, tmp_path):
    folder = tmp_path / "run"
    assert trainer.run(folder, faults=[{"place": "batch_start", "step": 5}]).code < 0
    folder.rename(tmp_path / "renamed")
    trainer.finish(tmp_path / "renamed")
    assert checkpoints(tmp_path / "renamed")[-1] == STEPS
    assert metrics(tmp_path / "renamed") == metrics(unbroken)
