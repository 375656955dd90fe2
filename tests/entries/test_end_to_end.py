"""The entries as a user runs them: train, sample, evaluate, report, interrupt, go on."""

import csv
import hashlib
import importlib.util
import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from Bio import SeqIO
from pyfaidx import Fasta

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.train.model_training import build_loggers
from dnamdlm.errors import ConfigError
from tests.entries.commands import SHORT, command, run
from tests.entries.forks import run_all
from tests.helpers.entries import composed


def digests(folder, step=20):
    names = ("weights.safetensors", "average.safetensors", "trainer.safetensors")
    checkpoint = folder / "checkpoints" / f"step_{step:09d}"
    return [hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in names]


def metrics(folder):
    with (folder / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    timed = ("seconds", "bases_per_second")
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def test_a_run_folder_holds_what_made_it(trained):
    record = json.loads((trained / "run.json").read_text())
    assert record["data"]["num_bases"] == 12_071_326
    assert record["versions"]["torch"]
    assert (trained / "config.yaml").is_file()
    assert [row["step"] for row in metrics(trained)] == ["5", "10", "15", "20"]
    assert [p.name for p in sorted((trained / "checkpoints").iterdir())] == [
        "step_000000014", "step_000000020",
    ]  # fmt: skip


@pytest.mark.slow
def test_training_again_does_nothing_more(trained):
    before = digests(trained)
    result = run("train", *SHORT, f"run_dir={trained}")
    assert "done already" in result.stderr
    assert digests(trained) == before


def _stop_after_rows(folder, rows, number):
    process = subprocess.Popen(
        command("train", *SHORT, f"run_dir={folder}"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    path = Path(folder) / "metrics.csv"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if path.is_file() and len(path.read_text().splitlines()) > rows:
            break
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(timeout=120)


# the sampled faults (tests/faults/test_sampled.py) do the same in seconds.
@pytest.mark.slow
def test_a_killed_and_a_stopped_run_end_bitwise_as_the_unbroken_one(trained, tmp_path):
    folder = tmp_path / "broken"
    assert _stop_after_rows(folder, 1, signal.SIGKILL) == -signal.SIGKILL
    assert _stop_after_rows(folder, 2, signal.SIGTERM) == 128 + signal.SIGTERM
    run("train", *SHORT, f"run_dir={folder}")
    assert digests(folder) == digests(trained)
    assert metrics(folder) == metrics(trained)


def test_the_recorded_config_alone_gives_the_same_weights(trained, tmp_path):
    run(
        "train",
        "--config-dir",
        str(trained),
        "--config-name",
        "config",
        f"run_dir={tmp_path}/again",
    )
    assert digests(tmp_path / "again") == digests(trained)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_loader_workers_do_not_change_what_is_trained(trained, tmp_path, workers):
    run("train", *SHORT, f"run_dir={tmp_path}/w", f"trainer.num_workers={workers}")
    assert digests(tmp_path / "w") == digests(trained)


@pytest.fixture(scope="module")
def samples(trained):
    out = trained / "samples.fa"
    run("sample", f"model={trained}", "num_sequences=6", "length=96", "seed=7", f"out={out}")
    return out


def test_the_same_seed_gives_the_same_bytes_whatever_the_batch_size(trained, samples, tmp_path):
    other = tmp_path / "x.fa"
    run(
        "sample", f"model={trained}", "num_sequences=6", "length=96", "seed=7", f"out={other}",
        "batch_size=4",
    )  # fmt: skip
    assert other.read_bytes() == samples.read_bytes()
    assert list(tmp_path.iterdir()) == [other]


def test_samples_are_plain_dna_for_other_programs(samples):
    with samples.open() as stream:
        records = list(SeqIO.parse(stream, "fasta"))
    assert [record.id for record in records] == [f"sample_{i:06d}" for i in range(1, 7)]
    assert all(set(str(record.seq)) <= set("ACGT") and len(record) == 96 for record in records)
    assert all("seed=7" in record.description for record in records)
    with Fasta(str(samples)) as reader:
        assert [str(reader[record.id]) for record in records] == [str(r.seq) for r in records]


def test_a_template_keeps_its_letters(trained, tmp_path):
    template = tmp_path / "t.fa"
    template.write_text(">motif\nNNNNTATAAAANNNN..ACGT\n")
    out = tmp_path / "o.fa"
    run("sample", f"model={trained}", f"template={template}", "num_sequences=3", f"out={out}")
    with out.open() as stream:
        records = [str(record.seq) for record in SeqIO.parse(stream, "fasta")]
    assert len(records) == 3
    for record in records:
        assert record[4:11] == "TATAAAA"
        assert record[-4:] == "ACGT"
        assert set(record) <= set("ACGT")


def test_evaluation_and_report_of_a_run(trained, samples):
    result = run("evaluate", f"model={trained}", "limit=40", "draws=2", "max_order=3")
    assert "bits per base" in result.stdout
    judged = run("judge", f"model={trained}", f"samples={samples}", "infill_windows=2")
    assert "Divergence, k = 6" in judged.stdout
    content = json.loads((trained / "evaluation" / "test.json").read_text())
    assert {"provenance", "likelihood", "quality"} <= set(content)
    run("report", f"run_dir={trained}")
    page = (trained / "report.html").read_text()
    assert "bits per base" in page


def _fasta(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


BAD_GENOMES = {
    "empty": (b"", "empty"),
    "fastq": (b"@r\nACGT\n+\nIIII\n", "FASTQ"),
    "protein": (b">p\n" + b"MKVLAAGIVGLLLAQWERTYIPASDFGHKLMNQ" * 9 + b"\n", "protein"),
    "duplicates": (b">a\nACGT\n>a\nACGT\n", "twice"),
    "binary": (bytes(range(256)) * 20, "text"),
    "truncated": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b", "cut"),
    "short": (b">a\nACGTACGT\n>b\nACGT\n>c\nACGTTT\n", "64"),
    "all n": (b">a\n" + b"N" * 500 + b"\n", "N"),
}


BAD_SETTINGS: dict[str, tuple[list[str], str]] = {
    "unknown record": (["data.test=[chrXX]"], "chrXX"),
    "record in two splits": (["data.test=[chrXV]"], "chrXV"),
    "run folder": (["run_dir=/proc/nowhere/run"], "cannot be written"),
    "window": (["data.length=5000000"], "5000000"),
    "batch": (["trainer.micro_batch_size=3"], "divide"),
    "device": (["trainer.accelerator=tpu9"], "tpu9"),
}
if importlib.util.find_spec("wandb") is None:
    BAD_SETTINGS["logger"] = (["logger=wandb"], "dnamdlm[loggers]")


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """Answers of `train` to each bad genome and setting, and whether a run folder was left."""
    folder = tmp_path_factory.mktemp("refused")
    commands = {}
    for name, (content, _) in BAD_GENOMES.items():
        path = _fasta(folder, f"{name}.bad.fa", content)
        commands[name] = [
            f"data.fasta={path}", "data.annotation=null", "data.valid=null", "data.test=null",
            f"data.cache_dir={folder}/cache",
        ]  # fmt: skip
    commands |= {name: arguments for name, (arguments, _) in BAD_SETTINGS.items()}
    answers = run_all(
        [["train", *SHORT, f"run_dir={folder}/{name}", *arguments]
         for name, arguments in commands.items()], folder,
    )  # fmt: skip
    return {
        name: (*answer, (folder / name).exists())
        for name, answer in zip(commands, answers, strict=True)
    }


@pytest.mark.parametrize("name", BAD_GENOMES)
def test_a_bad_genome_gets_one_sentence_and_leaves_nothing(refused, name):
    code, _, errors, is_there = refused[name]
    assert code == 2, errors
    assert len(errors.strip().splitlines()) == 1
    assert "bad.fa" in errors or "data.length" in errors
    assert not is_there


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_get_one_sentence(refused, name):
    code, _, errors, is_there = refused[name]
    assert code == 2, errors
    lines = [line for line in errors.strip().splitlines() if line.startswith("dnamdlm:")]
    assert len(lines) == 1
    assert BAD_SETTINGS[name][1] in lines[0]
    assert "Traceback" not in errors
    assert not is_there


def test_a_run_folder_of_another_config_is_refused(trained):
    before = digests(trained)
    result = run("train", *SHORT, "seed=2", f"run_dir={trained}", check=False)
    assert result.returncode == 2
    assert "seed was 1 and is now 2" in result.stderr
    assert digests(trained) == before


SAMPLING_MISTAKES = {
    "model": (["model=no/where/run", "out=x.fa"], "does not exist"),
    "folder": (["out=no/folder/x.fa"], "folder"),
    "temperature": (["out=x.fa", "temperature=0"], "temperature"),
    "steps": (["out=x.fa", "sampler.num_steps=0"], "num_steps"),
    "length": (["out=x.fa", "length=0"], "length"),
    "template": (["out=x.fa", "template=no.fa"], "no.fa"),
    "device": (["out=x.fa", "device=cuda:7"], "cuda:7"),
}


def test_sampling_mistakes_get_one_sentence(trained, tmp_path):
    commands = [
        ["sample", *([] if name == "model" else [f"model={trained}"]), *arguments]
        for name, (arguments, _) in SAMPLING_MISTAKES.items()
    ]
    answers = run_all(commands, tmp_path)
    for (_, message), (code, _, errors) in zip(SAMPLING_MISTAKES.values(), answers, strict=True):
        assert code == 2, errors
        assert message in errors
        assert len(errors.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_report_without_a_run_says_how_to_make_one(tmp_path):
    result = run("report", f"run_dir={tmp_path}", check=False)
    assert result.returncode == 2
    assert "dnamdlm.train" in result.stderr


@pytest.mark.slow
def test_tensorboard_gets_the_metrics(tmp_path):
    pytest.importorskip("tensorboard")
    run("train", *SHORT, f"run_dir={tmp_path}/run", "logger=tensorboard")
    assert list((tmp_path / "run" / "tensorboard").rglob("events.*"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "database"), [("trackio", "trackio/dnamdlm.db"),
                                                ("mlflow", "mlflow.db")])  # fmt: skip
def test_a_local_database_gets_the_metrics(tmp_path, name, database):
    pytest.importorskip(name)
    run("train", *SHORT, f"run_dir={tmp_path}/run", f"logger={name}")
    with sqlite3.connect(tmp_path / "run" / database) as found:
        text = "\n".join(found.iterdump())
    # trackio stores numbers as bytes.
    name = "train_bits_per_base"
    assert name in text or name.encode().hex().upper() in text


@pytest.mark.parametrize("name", ["trackio", "mlflow"])
def test_a_logger_without_its_package_names_its_extra(tmp_path, name):
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    tree = composed("train", "config=tiny", f"logger={name}", f"run_dir={tmp_path}/run")
    with pytest.raises(ConfigError, match=rf"dnamdlm\[{name}\]"):
        build_loggers(ModelConfig(tree))
