"""The batch script of CLUSTER.md and the launcher for SLURM, on a SLURM of one node."""

import gzip
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.entries.commands import command, run
from tests.helpers.one_node_slurm import missing_programs, running
from tests.helpers.small_runs import train_small

ROOT = Path(__file__).resolve().parents[2]
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
INPUTS = ("model=run", "variants=my.vcf.gz", "data.fasta=my.fa")
# 16 parts of 64 rows; a shard that has written its first part is at work for a second or more.
PARTED = ("batch_size=4", "part_rows=4", "device=cpu", "threads=1")
LAUNCHER = (
    "-m", "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.submitit_folder=runs/.submitit",
)  # fmt: skip
SMALL = ("--parsable", "--cpus-per-task=1", "--mem=500M")
GATHER = "--wrap=python -m dnamdlm.gather out=scores.tsv"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm():
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)} on this machine; apt-get install slurm-wlm munge")
    # the path of a socket may have 107 letters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, running(Path(folder)) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A small model, its genome, variants of it, the script, and their scores by one command."""
    folder = tmp_path_factory.mktemp("inputs")
    draw = random.Random(6)
    records = {name: "".join(draw.choices("ACGT", k=600)) for name in "abc"}
    text = "".join(f">{name}\n{bases}\n" for name, bases in records.items())
    for name in ("g.fa", "my.fa"):
        (folder / name).write_text(text)
    rows = [
        f"{name}\t{place + 1}\t.\t{ref}\t{'CGTA'['ACGT'.index(ref)]}\t.\t.\t.\n"
        for name in "ab"
        for place, ref in enumerate(records[name][:512])
    ]
    (folder / "my.vcf.gz").write_bytes(gzip.compress((HEADER + "".join(rows)).encode(), mtime=0))
    train_small(folder, length=64)
    text = (ROOT / "CLUSTER.md").read_text(encoding="utf-8")
    script = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", text, re.S)[1]
    assert script.count("export SHARDS=64\n") == 1
    (folder / "score.sbatch").write_text(script.replace("SHARDS=64", "SHARDS=4"))
    return folder


@pytest.fixture
def folder(slurm, inputs, monkeypatch):
    """Where jobs are sent from, without results of a test before."""
    monkeypatch.chdir(inputs)
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    for name, value in {"PYTHONPATH": str(ROOT), "MODEL": "run", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
        slurm.environment[name] = value
    yield inputs
    (inputs / "scores.tsv").unlink(missing_ok=True)
    shutil.rmtree(inputs / "scores.tsv.parts", ignore_errors=True)


@pytest.fixture(scope="module")
def expected(inputs):
    table = inputs / "plain.tsv"
    ended = subprocess.run(
        command("score", *INPUTS, *PARTED, "out=plain.tsv"),
        cwd=inputs, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return table.read_bytes()


def wait(is_so):
    end = time.monotonic() + 100
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def log_of(folder, job, task):
    return (folder / f"dna-score-{job}-{task}.log").read_text()


def test_an_array_with_a_killed_and_a_requeued_task_gives_the_bytes_of_one_command(
    slurm, folder, expected
):
    parts = folder / "scores.tsv.parts"
    job = slurm.say("sbatch", *SMALL, "--array=1-4%2", "score.sbatch", *PARTED)
    after = slurm.say("sbatch", *SMALL, f"--dependency=afterok:{job}", GATHER)
    wait((parts / "part-000000").exists)
    slurm.say("scancel", "--signal=KILL", "--full", f"{job}_1")
    wait((parts / "part-000004").exists)
    slurm.say("scontrol", "requeue", f"{job}_2")
    wait(lambda: slurm.states(job)["2"] == "BeginTime")
    # SLURM lets a requeued job wait for two minutes.
    slurm.say("scontrol", "update", f"jobid={job}_2", "starttime=now")
    wait(lambda: set(slurm.states(job).values()) <= {"COMPLETED", "CANCELLED", "FAILED"})
    assert slurm.states(job)["1"] != "COMPLETED"
    assert [slurm.states(job)[task] for task in "234"] == ["COMPLETED"] * 3
    assert "DUE TO JOB REQUEUE" in log_of(folder, job, 2)
    assert re.search(r" [123] of 4 parts are there already", log_of(folder, job, 2))
    wait(lambda: slurm.states(after)["N/A"] == "DependencyNeverSatisfied")
    slurm.say("scancel", after)
    again = slurm.say("sbatch", *SMALL, "--array=1", "score.sbatch", *PARTED)
    slurm.say("sbatch", *SMALL, "--wait", f"--dependency=afterok:{again}", GATHER)
    assert re.search(r" [123] of 4 parts are there already", log_of(folder, again, 1))
    assert (folder / "scores.tsv").read_bytes() == expected
    assert not parts.exists()


def launched(*settings):
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher",
        reason="hydra-submitit-launcher is not installed; install the extra `cluster`",
    )
    given = (*INPUTS, *PARTED, "out=scores.tsv", "shard=1/2,2/2", *settings)
    return run("score", *LAUNCHER, *given, check=False, fresh=True)


def test_shards_that_the_launcher_sends_give_the_bytes_of_one_command(folder, expected):
    ended = launched()
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    run("gather", "out=scores.tsv", fresh=True)
    assert (folder / "scores.tsv").read_bytes() == expected


def test_the_launcher_says_why_a_shard_failed(folder):
    ended = launched("seed=-1")
    assert ended.stderr.startswith("dnamdlm: a job of the sweep failed: ")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)


def test_the_launcher_says_why_the_scheduler_refused_its_jobs(folder):
    ended = launched("hydra.launcher.partition=none")
    assert ended.stderr.splitlines()[-1].startswith(
        "dnamdlm: the jobs of the sweep could not be sent: sbatch: error: "
    )
    assert ended.returncode == 1
