"""Fine-tuning that a signal ends: nothing but the running epoch is lost."""

import json
import signal
import subprocess

import numpy as np
import pytest

from tests.entries.commands import command, run


@pytest.fixture(scope="module")
def heads(trained, tmp_path_factory):
    """The command of a fine-tuning, without its run folder, and the results of a whole run."""
    folder = tmp_path_factory.mktemp("heads")
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), size=60)) for _ in range(200)]
    lines = [f"{row},{'x' if row.count('A') > 15 else 'y'}" for row in rows]
    (folder / "t.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    arguments = [
        "config=table", f"data.train={folder / 't.csv'}", f"model={trained}", "seeds=1",
        "baselines=[kmer]", "kmer=2", "bootstrap=5", "training.epochs=6", "training.batch_size=4",
        "threads=1",
    ]  # fmt: skip
    run("finetune", *arguments, f"run_dir={folder / 'whole'}")
    return arguments, folder / "whole"


def compared(run_dir):
    """Results without times."""
    content = json.loads((run_dir / "results.json").read_text())
    splits = [{k: v for k, v in split.items() if k != "seconds"} for split in content["splits"]]
    return content["summary"], splits


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        signal.SIGINT,
    ],
)
def test_the_same_command_resumes_after_the_last_epoch_and_ends_alike(heads, tmp_path, number):
    arguments, whole = heads
    arguments = [*arguments, f"run_dir={tmp_path / 'run'}"]
    with subprocess.Popen(
        command("finetune", *arguments), stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if "epoch 2/6" in line:
                process.send_signal(number)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=120) == 128 + number, rest
    assert rest.splitlines()[-1] == (
        f"dnamdlm: stopped by {number.name}; the same command resumes after the last epoch"
    )
    assert not (tmp_path / "run/splits").exists()
    resumed = run("finetune", *arguments)
    assert "epoch 2/6" not in resumed.stderr
    assert "model, seed 1: resumes after epoch" in resumed.stderr
    assert compared(tmp_path / "run") == compared(whole)
    weights = "splits/model_seed_1/head.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (whole / weights).read_bytes()
    assert not (tmp_path / "run/unfinished").exists()


@pytest.mark.slow
def test_a_killed_fine_tuning_resumes_after_an_epoch_that_it_finished(heads, tmp_path):
    arguments, whole = heads
    arguments = [*arguments, f"run_dir={tmp_path / 'run'}"]
    with subprocess.Popen(
        command("finetune", *arguments), stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            # the state of the third epoch may be written already, that of the second is.
            if "epoch 3/6" in line:
                process.kill()
                break
        process.wait(timeout=120)
    resumed = run("finetune", *arguments)
    assert "epoch 2/6" not in resumed.stderr
    assert "model, seed 1: resumes after epoch" in resumed.stderr
    assert compared(tmp_path / "run") == compared(whole)
    weights = "splits/model_seed_1/head.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (whole / weights).read_bytes()
    left = [path for path in (tmp_path / "run").rglob("*") if "partial" in path.name]
    assert not left
    assert not (tmp_path / "run/unfinished").exists()


@pytest.mark.slow
def test_a_first_try_is_a_part_of_the_thorough_protocol(heads, tmp_path):
    arguments = [item for item in heads[0] if not item.startswith(("seeds=", "training."))]
    arguments += ["method=probe", f"run_dir={tmp_path / 'run'}"]
    run("finetune", *arguments)
    first = tmp_path / "run/splits/model_seed_1"
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    assert len(list(first.parent.glob("model_seed_*"))) == 1
    result = run("finetune", *arguments, "thorough=true")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    content = json.loads((tmp_path / "run/results.json").read_text())
    pairs = [(split["predictor"], split["seed"]) for split in content["splits"]]
    assert sorted(pairs) == [(name, seed) for name in ("kmer", "model") for seed in range(1, 6)]
    assert "model, seed 1: test" not in result.stderr


@pytest.mark.slow
def test_a_damaged_state_of_a_fit_is_a_warning_and_a_new_start(heads, tmp_path):
    arguments, whole = heads
    folder = tmp_path / "run/unfinished/model_seed_1"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    result = run("finetune", *arguments, f"run_dir={tmp_path / 'run'}")
    assert "the fit starts anew" in result.stderr
    assert compared(tmp_path / "run") == compared(whole)
