"""Targets of real commands: nothing that a command reads is harmed, and nothing is left over."""

import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.entries.commands import command, run
from tests.entries.forks import run_all

BASES = "".join(np.random.default_rng(3).choice(list("ACGT"), 2000))
VCF = (
    "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    f"a\t150\t.\t{BASES[149]}\t{'A' if BASES[149] != 'A' else 'C'}\t.\t.\t.\n"
)
ROOT = Path(__file__).resolve().parents[2]
FEW = ("num_sequences=1", "length=20")


@pytest.fixture(scope="module")
def inputs(trained, tmp_path_factory):
    """A folder with a run, and with everything that commands read, linked and linked hard."""
    folder = tmp_path_factory.mktemp("inputs")
    shutil.copytree(trained, folder / "run")
    (folder / "g.fa").write_text(f">a\n{BASES}\n")
    (folder / "t.fa").write_text(">t\nNNNNACGTNNNN\n")
    (folder / "s.fa").write_text(f">s\n{BASES[:100]}\n>r\n{BASES[100:200]}\n")
    (folder / "i.bed").write_text("a\t100\t120\n")
    (folder / "v.vcf").write_text(VCF)
    rows = [f"{BASES[i : i + 20]},{i % 2}" for i in range(40)]
    (folder / "tab.csv").write_text("\n".join(["sequence,label", *rows]) + "\n")
    (folder / "e.html").write_text('{"format": "dnamdlm.evaluation"}')
    (folder / "link.html").symlink_to("e.html")
    (folder / "link.fa").symlink_to("t.fa")
    os.link(folder / "g.fa", folder / "genome.tsv")
    os.link(folder / "tab.csv", folder / "hard.csv")
    shutil.copytree(folder / "run", folder / "ft2")
    (folder / "ft2" / "results.tsv").write_text((folder / "tab.csv").read_text())
    return folder


def state(folder):
    """What lies in a folder: names, kinds, content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".lock" not in path.name
    }


WEIGHTS = "run/checkpoints/step_000000020/weights.safetensors"
S = ("sample", "model=run", "num_sequences=1")
TABLE = ("finetune", "config=table", "model=run", "baselines=[]", "seeds=1")
TRACK = (
    "tracks", "model=run", "locus=a:100-200", "data.fasta=g.fa", "data.train=null",
    "data.valid=null", "data.test=null", "max_order=0",
)  # fmt: skip
# case of the public reports or of the injected faults, command, and what it answers.
REFUSED = [
    ("G3", (*S, "template=t.fa", "out=t.fa"), "is an input of the command"),
    ("G3", (*S, "template=t.fa", "out=link.fa"), "is an input of the command"),
    ("G3", (*S, "template=link.fa", "out=t.fa"), "is an input of the command"),
    ("G3", (*S, "infill=i.bed", "data.fasta=g.fa", "out=g.fa"), "is an input of the command"),
    ("G3", (*S, "infill=i.bed", "data.fasta=g.fa", "out=i.bed"), "is an input of the command"),
    ("G3", (*S, f"out={WEIGHTS}"), "holds a checkpoint or prepared data"),
    ("G3", (*S, "out=run/checkpoints/step_000000020/new.fa"), "holds a checkpoint"),
    ("G3", (*S, "out=run/config.yaml"), "belongs to the run"),
    ("G3", ("predict", "model=ft2", "input=tab.csv", "out=tab.csv"), "is an input of the command"),
    ("G3", ("predict", "model=ft2", "input=tab.csv", "out=hard.csv"), "is an input of the command"),
    ("G3", ("predict", "model=ft2", "input=tab.csv", "out=ft2/results.json"), "belongs to the run"),
    ("G3", (*TABLE, "data.train=ft2/results.tsv", "run_dir=ft2"), "over the input ft2/results.tsv"),
    ("G3", ("score", "model=run", "variants=v.vcf", "data.fasta=g.fa", "out=v.vcf"), "is an input"),
    ("G3", ("embed", "model=run", "data.fasta=g.fa", "out=run/checkpoints/x.npz"), "belongs to"),
    ("G24", ("judge", "samples=s.fa", "reference=g.fa", "out=g.fa"), "is an input"),
    ("G24", ("judge", "samples=s.fa", "reference=g.fa", "out=i.bed"), "readable evaluation"),
    ("G24", ("evaluate", "model=run", "split=test", "out=tab.csv"), "readable evaluation file"),
    ("G24", ("evaluate", "model=run", "split=test", "out=run/run.json"), "belongs to the run"),
    ("G3", ("slim", "run_dir=run", "out=run/checkpoints/slim"), "belongs to the run"),
    ("G3", ("slim", "run_dir=run", "out=ft2"), "exists; choose a folder that does not"),
    ("G3", (*TRACK, "out=genome.tsv"), "is an input of the command"),
    ("G3", (*TRACK, "out=run/checkpoints/x.tsv"), "belongs to the run"),
    ("G3", ("report", "evaluation=e.html"), "would be replaced by its own page"),
    ("G3", ("report", "evaluation=link.html"), "would be replaced by its own page"),
    ("F21", (*S, "out=x.fa.bz2"), "a compression that is not written here"),
    ("F21", ("predict", "model=ft2", "input=tab.csv", "out=x.tsv.gz"), "leave .gz out"),
    ("F1", (*S, "out=run"), "is a folder; give a file name"),
    ("F1", (*S, "out=none/x.fa"), "lies in a folder that does not exist"),
]


@pytest.mark.slow
def test_no_command_harms_what_it_reads(inputs):
    before = state(inputs)
    answers = run_all([asked for _, asked, _ in REFUSED], inputs)
    for (case, asked, message), (code, out, err) in zip(REFUSED, answers, strict=True):
        assert (code, out) == (2, ""), (case, asked, out, err)
        assert message in err, (case, asked, err)
        assert len([line for line in err.splitlines() if line.startswith("dnamdlm: ")]) == 1
    assert state(inputs) == before


@pytest.mark.slow
def test_links_pipes_devices_and_standard_output_are_written_to(inputs, tmp_path):
    (tmp_path / "real.fa").write_text("old")
    (tmp_path / "link.fa").symlink_to("real.fa")
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    names = [tmp_path / "plain.fa", tmp_path / "link.fa", tmp_path / "pipe", "/dev/null", "-",
             "/dev/stdout"]  # fmt: skip
    answers = run_all([[*S, *FEW, f"out={name}"] for name in names], inputs)
    reader.join(timeout=60)
    plain = (tmp_path / "plain.fa").read_text()
    assert plain.startswith(">sample_000001 length=20 ")
    assert [code for code, *_ in answers] == [0] * len(names)
    assert (tmp_path / "link.fa").is_symlink()
    assert (tmp_path / "real.fa").read_text() == plain
    assert found == [plain.encode()]
    assert Path("/dev/null").is_char_device()
    # what is said goes elsewhere where the output is the FASTA.
    assert [out for _, out, _ in answers[-2:]] == [plain, plain]
    assert all("wrote 1 sequence of" in err for *_, err in answers[-2:])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "link.fa", "pipe", "plain.fa", "real.fa",
    ]  # fmt: skip


# in parts of one batch, none of which is complete when the command is ended.
LONG = {
    "sample": ["num_sequences=5000", "length=400", "out=o.fa"],
    "score": [
        "variants=many.vcf",
        "data.fasta=g.fa",
        "scores=[elbo]",
        "draws=20000",
        "out=o.vcf.gz",
    ],
    "embed": ["data.fasta=many.fa", "part_rows=100000", "batch_size=1", "out=o.npz"],
}


def begin(inputs, folder, entry):
    """Start a command that takes minutes, and wait until it writes."""
    rows = [VCF.splitlines()[-1]] * 3000
    (folder / "g.fa").write_text(f">a\n{BASES}\n")
    (folder / "many.vcf").write_text(VCF + "\n".join(rows) + "\n")
    (folder / "many.fa").write_text("".join(f">r{i}\n{BASES}\n" for i in range(3000)))
    process = subprocess.Popen(
        command(entry, f"model={inputs / 'run'}", *LONG[entry]), cwd=folder,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not [*folder.glob(".o.*"), *folder.glob("o.*.parts/.part-*")]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "name"), [
    ("sample", "SIGTERM"), ("sample", "SIGHUP"), ("sample", "SIGINT"),
    ("score", "SIGTERM"), ("embed", "SIGTERM"),
])  # fmt: skip
def test_a_command_that_is_ended_before_its_first_part_leaves_nothing(
    inputs, tmp_path, entry, name
):
    process = begin(inputs, tmp_path, entry)
    number = getattr(signal, name)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode in (128 + number, -number)
    assert not list(tmp_path.glob("*o.*"))


@pytest.mark.slow
def test_what_a_killed_command_left_is_removed_by_the_next(inputs, tmp_path):
    process = begin(inputs, tmp_path, "sample")
    process.kill()
    process.communicate()
    assert [path.name for path in tmp_path.glob(".o.*")] == [f".o.fa.partial-{process.pid}"]
    run("sample", f"model={inputs / 'run'}", *FEW, f"out={tmp_path / 'o.fa'}")
    assert [path.name for path in tmp_path.glob("*o.*")] == ["o.fa"]
