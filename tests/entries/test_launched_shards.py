"""Sweeps whose jobs submitit runs, each in a process of its own, as on the nodes of a cluster."""

import random
import subprocess

import pytest

from dnamdlm.launched_jobs import lost_job
from tests.entries.commands import command
from tests.helpers.small_runs import train_small

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
LAUNCHER = ("-m", "hydra/launcher=submitit_local", "hydra.launcher.submitit_folder=jobs")
SCORE = ("model=run", "variants=v.vcf", "data.fasta=g.fa", "device=cpu", "threads=1",
         "part_rows=20", "out=s.tsv")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model, its genome and variants of it, where submitit can run jobs."""
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher",
        reason="hydra-submitit-launcher is not installed; install the extra `cluster`",
    )
    folder = tmp_path_factory.mktemp("launched")
    draw = random.Random(6)
    records = {name: "".join(draw.choices("ACGT", k=600)) for name in ("a", "b", "c")}
    (folder / "g.fa").write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    rows = [
        f"a\t{place + 1}\t.\t{ref}\t{'CGTA'['ACGT'.index(ref)]}\t.\t.\t.\n"
        for place, ref in enumerate(records["a"][:70])
    ]
    (folder / "v.vcf").write_text(HEADER + "".join(rows))
    train_small(folder, length=64)
    return folder


def run(folder, entry, *arguments):
    return subprocess.run(
        command(entry, *arguments),
        capture_output=True, text=True, check=False, cwd=folder, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_shards_that_a_launcher_runs_are_joined_to_the_bytes_of_one_command(folder):
    alone = run(folder, "score", *SCORE)
    assert alone.returncode == 0, alone.stderr
    table = folder / "s.tsv"
    expected = table.read_bytes()
    table.unlink()
    launched = run(folder, "score", *LAUNCHER, *SCORE, "shard=1/2,2/2")
    assert launched.returncode == 0, launched.stderr
    assert not table.exists()
    assert len(list((folder / "jobs").glob("*_result.pkl"))) == 2
    gathered = run(folder, "gather", "out=s.tsv")
    assert gathered.returncode == 0, gathered.stderr
    assert "of 2 shards" in gathered.stdout
    assert table.read_bytes() == expected
    assert expected.count(b"\n") > 70


@pytest.mark.slow
def test_what_a_job_of_a_launcher_refuses_is_said_in_one_sentence(folder):
    refused = run(folder, "score", *LAUNCHER, *SCORE, "batch_size=0", "shard=1/2,2/2")
    assert refused.stderr == (
        "dnamdlm: a job of the sweep failed: batch_size=0 must be at least 1\n"
    )
    assert (refused.returncode, refused.stdout) == (1, "")


def test_of_a_job_that_was_killed_the_log_is_named():
    found = lost_job(
        "Job 17 (task: 0) with path /home/me/jobs/17_0_result.pkl\n"
        "has not produced any output (state: OUT_OF_MEMORY)\nError stream produced:\nKilled\n"
    )
    assert str(found).endswith("ended without a result; see the end of /home/me/jobs/17_0_log.err")


def test_what_the_scheduler_says_of_jobs_that_it_refuses_is_repeated():
    found = lost_job("sbatch: error: Batch job submission failed: Invalid partition name\n")
    assert str(found) == (
        "the jobs of the sweep could not be sent: sbatch: error: Batch job submission failed: "
        "Invalid partition name"
    )


def test_jobs_of_a_launcher_that_would_write_one_file_are_refused_before_they_are_sent(tmp_path):
    refused = run(tmp_path, "score", *LAUNCHER, *SCORE, "seed=1,2")
    assert refused.stderr.startswith("dnamdlm: several jobs of this sweep would write out=s.tsv;")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []
