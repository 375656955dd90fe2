"""The setting `threads`: chosen by the size of the network unless it is given."""

import json

import pytest

from tests.entries.commands import SHORT, run

SOON = ("trainer.max_steps=1", "trainer.valid_windows=2")


@pytest.fixture(autouse=True)
def _no_choice_of_the_environment(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def threads_of_training(folder, *settings):
    run("train", *SHORT, *SOON, f"run_dir={folder}", *settings)
    return json.loads((folder / "run.json").read_text())["versions"]["threads"]


@pytest.mark.slow
def test_a_small_network_trains_with_one_thread_or_as_many_as_are_given(tmp_path, monkeypatch):
    assert threads_of_training(tmp_path / "chosen") == "1"
    assert threads_of_training(tmp_path / "given", "threads=2") == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_of_training(tmp_path / "environment") == "2"
    # a run is resumed with another number
    assert "all 1 steps are done" in run(
        "train", *SHORT, *SOON, f"run_dir={tmp_path / 'given'}", "threads=1"
    ).stderr  # fmt: skip


@pytest.mark.slow
def test_an_evaluation_records_its_threads(trained, tmp_path):
    def threads(*settings):
        out = tmp_path / "e.json"
        run("evaluate", f"model={trained}", "limit=2", "draws=1", "max_order=1", f"out={out}",
            *settings)  # fmt: skip
        return json.loads(out.read_text())["provenance"]["versions"]["threads"]

    assert threads() == "1"
    assert threads("threads=2") == "2"


def test_zero_threads_are_refused(trained, tmp_path):
    done = run("sample", f"model={trained}", f"out={tmp_path / 'a.fa'}", "threads=0", check=False)
    assert (done.returncode, done.stderr) == (2, "dnamdlm: threads=0 must be at least 1\n")
