"""Commands whose model is divided over two processes of torchrun: the bytes of one process."""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.entries.commands import command, run
from tests.helpers.model_with_heads import make_models

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
SCORE = ["variants=v.vcf", "data.fasta=g.fa", "batch_size=4", "draws=1", "scores=[llr,elbo]"]
TABLES = {
    "score": ("o.tsv", [*SCORE, "strands=both"]),
    "evaluate": ("o.json", ["batch_size=8", "draws=1", "max_order=1"]),
    "embed": ("o.npz", ["data.fasta=g.fa", "batch_size=4", "pooling=bin", "bin_size=50"]),
    "predict": ("o.tsv", ["input=t.csv"]),
    "tracks": ("o", ["data.fasta=g.fa", "batch_size=4", "stride=2"]),
    "sample": ("o.fa", ["num_sequences=9", "length=64", "batch_size=3", "sampler.num_steps=6"]),
    "interpret": ("o", ["locus=r0:100-140", "data.fasta=g.fa", "parts=[mutagenesis,dependency]"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model, heads of it, a genome, variants and a table."""
    folder = tmp_path_factory.mktemp("ranks")
    draw = random.Random(4)
    records = ["".join(draw.choices("ACGT", k=k)) for k in (1500, 200, 300)]
    (folder / "g.fa").write_text("".join(f">r{i}\n{x}\n" for i, x in enumerate(records)))
    rows = []
    for place in range(50, 1450, 9):
        ref = records[0][place]
        rows.append(f"r0\t{place + 1}\t.\t{ref}\t{'CA'[ref != 'A']}\t.\t.\t.\n")
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "v.vcf").write_text(head + "".join(rows))
    texts = ["".join(draw.choices("ACGT", k=60)) for _ in range(80)]
    lines = [f"{text},{'ab'[text.count('A') > 15]}\n" for text in texts]
    (folder / "t.csv").write_text("sequence,label\n" + "".join(lines))
    make_models(folder, "run", "heads", table="t.csv", blocks=2)
    return folder


@pytest.fixture(autouse=True)
def _place(folder, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(folder)


def settings_of(entry, place):
    name, given = TABLES[entry]
    model = "model=heads" if entry == "predict" else "model=run"
    return [model, *given, "device=cpu", f"out={place / name}"]


def start(entry, *settings):
    program, *rest = command(entry, *settings)
    return subprocess.Popen(
        [program, *TORCHRUN, *rest], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(entry, *settings):
    process = start(entry, *settings)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out


def content_of(path):
    """The bytes of a file, or of all files of a folder by name; the figures of an evaluation."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        # what says who made them, and how long it took.
        del content["provenance"]["command"], content["likelihood"]["seconds"]
        return content
    if path.is_file():
        return path.read_bytes()
    return {item.name: item.read_bytes() for item in sorted(path.iterdir())}


@pytest.mark.parametrize("entry", TABLES)
def test_two_ranks_write_the_bytes_of_one_process(entry, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    run(entry, *settings_of(entry, one))
    out = finish(entry, *settings_of(entry, two))
    name = TABLES[entry][0]
    assert content_of(two / name) == content_of(one / name)
    assert [path.name for path in two.iterdir()] == [name]
    assert out.count(str(two / name)) == 1


def children(number):
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(number)], capture_output=True, check=True
    )
    return [int(text) for text in found.stdout.split()]


def wait_for_parts(out, number, process):
    deadline = time.monotonic() + 120
    parts = out.with_name(f"{out.name}.parts")
    while len(list(parts.glob("part-*"))) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("victim", [0, 1], ids=["first", "second"])
def test_after_one_rank_was_killed_the_same_command_resumes(victim, folder, tmp_path):
    # many rows of much work.
    (tmp_path / "one").mkdir()
    given = [*settings_of("score", tmp_path / "one")[:-1], "draws=8", "part_rows=1"]
    run("score", *given, f"out={tmp_path / 'one' / 'o.tsv'}")
    place = tmp_path / "killed"
    place.mkdir()
    out = place / "o.tsv"
    process = start("score", *given, f"out={out}")
    wait_for_parts(out, 1, process)
    os.kill(children(process.pid)[victim], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert not out.exists()
    assert list(place.glob("o.tsv.parts/part-*"))
    assert "Traceback" not in errors.partition("ChildFailedError")[0].partition("torch/dist")[0]
    finish("score", *given, f"out={out}")
    assert out.read_bytes() == (tmp_path / "one" / "o.tsv").read_bytes()
    assert [path.name for path in place.iterdir()] == ["o.tsv"]


def test_a_signal_ends_all_ranks_and_the_command_resumes(folder, tmp_path):
    given = [*settings_of("score", tmp_path), "draws=8", "part_rows=1"]
    out = tmp_path / "o.tsv"
    process = start("score", *given)
    wait_for_parts(out, 1, process)
    ranks = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "stopped by SIGTERM while o.tsv was written" in errors
    assert not [number for number in ranks if Path(f"/proc/{number}").exists()]
    assert list(tmp_path.glob("o.tsv.parts/part-*"))


def test_a_shard_of_ranks_joins_one_of_a_single_process(tmp_path):
    (tmp_path / "one").mkdir()
    run("score", *settings_of("score", tmp_path / "one"))
    given = [*settings_of("score", tmp_path), "part_rows=1"]
    assert "shard 1/2" in finish("score", *given, "shard=1/2")
    run("score", *given, "shard=2/2")
    run("gather", f"out={tmp_path / 'o.tsv'}")
    assert (tmp_path / "o.tsv").read_bytes() == (tmp_path / "one" / "o.tsv").read_bytes()


@pytest.mark.parametrize(
    ("entry", "settings", "message"),
    [
        ("score", ["workers=2"], "workers=2 starts processes that have the whole model each"),
        ("score", ["devices=auto"], "devices=auto starts processes"),
        ("score", ["variants=none.vcf"], "none.vcf"),
        ("score", ["stride=2"], "stride"),
        ("judge", [], "torchrun started 2 processes of dnamdlm judge"),
    ],
)
def test_a_mistake_is_one_sentence_and_the_exit_status_of_all(entry, settings, message, tmp_path):
    given = settings_of(entry, tmp_path) if entry in TABLES else ["samples=g.fa"]
    process = start(entry, *given, *settings)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    (sentence,) = [line for line in errors.splitlines() if line.startswith("dnamdlm: ")]
    assert message in sentence
    codes = set(re.findall(r"exitcode\s*: (-?\d+)", errors))
    # torchrun ends what has not ended by itself.
    assert "2" in codes <= {"2", "-15"}
    assert not list(tmp_path.iterdir())


def test_help_is_printed_once():
    assert finish("score", "--help").count("usage: ") == 1
