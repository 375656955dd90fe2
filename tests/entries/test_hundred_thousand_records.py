"""100,000 records: every step takes seconds. The limits guard against the square of the number."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "many.fa"
    draw = random.Random(1)
    with path.open("w") as stream:
        for number in range(100_000):
            stream.write(f">contig_{number}\n{''.join(draw.choices('ACGT', k=100))}\n")
    return path


def run(entry, *given):
    done = subprocess.run(
        [sys.executable, "-m", f"dnamdlm.{entry}", *given],
        cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_it_is_checked_trained_on_evaluated_and_searched(genome, tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    data = [f"data.fasta={genome}", "data.annotation=null", "data.valid=null", "data.test=null"]
    recipe = ["config=tiny", *data, "data.length=64", f"run_dir={tmp_path}/run"]
    assert "100,000 records" in run("train", *recipe, "dry_run=true")
    run("train", *recipe)
    run("evaluate", f"model={tmp_path}/run", f"out={tmp_path}/e.json")
    run("sample", f"model={tmp_path}/run", "num_sequences=9", "length=64", f"out={tmp_path}/s.fa")
    run("judge", f"model={tmp_path}/run", f"samples={tmp_path}/s.fa", f"out={tmp_path}/j.json")
