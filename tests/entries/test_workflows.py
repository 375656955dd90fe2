"""The workflow for Snakemake gives over four shards the bytes of one command."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.entries.commands import run

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = ROOT / "workflows" / "snakemake" / "Snakefile"
SETTINGS = {
    "score": ("o.tsv", ["variants=v.csv", "scores=[llr]", "batch_size=4", "part_rows=1"]),
    "embed": ("o.npz", ["batch_size=4", "part_rows=1"]),
    "tracks": ("o", ["batch_size=2", "stride=2", "part_rows=1"]),
}


@pytest.fixture(scope="module")
def snakemake():
    found = os.environ.get("SNAKEMAKE") or shutil.which("snakemake")
    if found is None:
        pytest.skip("no snakemake on the path, nor named by SNAKEMAKE; pip install snakemake")
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    draw = random.Random(3)
    bases = "".join(draw.choices("ACGT", k=3000))
    (tmp_path / "g.fa").write_text(f">a\n{bases}\n>b\n{bases[:700]}\n")
    rows = [
        f"a,{i},{bases[i - 1]},{'A' if bases[i - 1] != 'A' else 'C'}" for i in range(9, 2900, 9)
    ]
    (tmp_path / "v.csv").write_text("\n".join(["chrom,pos,ref,alt", *rows]) + "\n")
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content_of(path):
    if path.is_file():
        return path.read_bytes()
    return {item.name: item.read_bytes() for item in path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("entry", SETTINGS)
def test_four_shards_give_the_bytes_of_one_command(snakemake, folder, entry):
    name, given = SETTINGS[entry]
    settings = ["model=yeast-demo", "data.fasta=g.fa", "device=cpu", "threads=1", *given]
    (folder / "whole").mkdir()
    run(entry, *settings, f"out=whole/{name}")
    config = {
        "entry": entry, "out": name, "shards": 4, "settings": settings,
        "command": f"{sys.executable} -m dnamdlm",
    }  # fmt: skip
    (folder / "my.yaml").write_text(json.dumps(config))
    ended = subprocess.run(
        [snakemake, "--snakefile", str(SNAKEFILE), "--configfile", "my.yaml", "--cores", "1"],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert content_of(folder / name) == content_of(folder / "whole" / name)
    assert not list(folder.glob("o*.shard-*")) + list(folder.glob("o*.parts"))


@pytest.mark.slow
def test_the_model_may_be_trained_first(snakemake, folder):
    training = [
        "config=tiny", "data.fasta=g.fa", "data.annotation=null", "data.length=64",
        "data.valid=[b]", "data.test=null", "data.train=[a]", "trainer.max_steps=2",
        "trainer.valid_windows=2", "trainer.global_batch_size=4", "trainer.accelerator=cpu",
        "run_dir=run",
    ]  # fmt: skip
    config = {
        "entry": "sample", "out": "o.fa", "shards": 2, "train": training,
        "settings": ["model=run", "num_sequences=8", "length=40", "batch_size=2", "threads=1"],
        "command": f"{sys.executable} -m dnamdlm",
    }  # fmt: skip
    (folder / "my.yaml").write_text(json.dumps(config))
    subprocess.run(
        [snakemake, "--snakefile", str(SNAKEFILE), "--configfile", "my.yaml", "--cores", "1"],
        capture_output=True, text=True, check=True, timeout=500,
    )  # fmt: skip
    assert (folder / "o.fa").read_text().count(">") == 8
