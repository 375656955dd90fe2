"""The loss compiled by torch.compile: equal to the plain one, and unknown to the rest of a run."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dnamdlm.data.batch import batch_of_ids
from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from dnamdlm.training import compilation
from dnamdlm.training.compilation import CompiledLoss, check_compile, compiler_of
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant
from dnamdlm.training.trainer_settings import TrainerSettings
from tests.repository.sources import ROOT

GAINS = ROOT / "benchmarks/results/speed-compiled_amd-epyc-1-threads_2026-11.json"


class Terms(NamedTuple):
    """As `LossTerms`, whose shapes pytest checks in a way that a compiler cannot follow."""

    nats: torch.Tensor
    valid: torch.Tensor
    minimised: None = None


class Scores(nn.Module):
    """A language model of one table."""

    vocabulary = NUCLEOTIDE_VOCABULARY

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.linspace(0.1, 1.0, 12, dtype=torch.float64))

    def loss_terms(self, batch):
        """The square of the number of each token."""
        return Terms(self.table[batch.tokens] ** 2, batch.valid)


@pytest.fixture
def batch():
    """Two sequences."""
    encode = NucleotideTokenizer().encode
    return batch_of_ids([encode("ACGT"), encode("TTNA")], NUCLEOTIDE_VOCABULARY)


def settings(**given):
    return TrainerSettings(max_steps=1, accelerator="cpu", **given)


def report_of(*arguments, launcher=(), **variables):
    """What the helper prints, in a process without the shape checks of pytest."""
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.helpers.compiled_losses", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=1200,
        env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_value_that_is_neither_is_refused():
    with pytest.raises(ConfigError, match=r"trainer\.compile=maybe must be auto, true or false"):
        settings(compile="maybe")


def test_without_a_compiler_one_sentence_says_what_to_install(monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match=r"=true, but there is no C\+\+ compiler .*; install one"):
        check_compile(settings(compile=True))
    caplog.set_level(logging.INFO)
    assert compiler_of(settings(compile="auto"), Scores()) is None
    assert "trainer.compile=auto does not compile the loss: there is no C++" in caplog.text
    check_compile(settings())


def test_sharded_weights_are_not_compiled():
    with pytest.raises(ConfigError, match=r"strategy=fsdp2 gathers weights .*strategy=ddp"):
        check_compile(settings(compile=True, strategy="fsdp2"))


def test_a_cpu_compiles_on_its_own_only_what_was_measured_to_gain(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(compilation, "GAINS_ON_CPU", {"Scores": 1.01})
    assert compiler_of(settings(compile="auto"), Scores()) is None
    assert "became 1 times as fast on a CPU, too little" in caplog.text
    monkeypatch.setattr(compilation, "GAINS_ON_CPU", {"Scores": 1.3})
    assert compiler_of(settings(compile="auto"), Scores()) == "inductor"
    assert compiler_of(settings(), Scores()) is None


def test_the_gains_on_a_cpu_are_those_that_were_measured():
    rows = json.loads(GAINS.read_text(encoding="utf-8"))["rows"]
    measured = {}
    for row in rows:
        name, gain = row[0].split()[0], row[4]
        measured[name] = max(gain, measured.get(name, 0.0))
    assert measured == compilation.GAINS_ON_CPU


def test_the_training_step_takes_the_compiled_loss_and_keeps_its_names(batch):
    lm = Scores()
    names = list(_module(lm).state_dict())
    module = _module(lm, CompiledLoss(lm, "aot_eager", fullgraph=True))
    assert list(module.state_dict()) == list(names)
    assert list(module.average.shadow) == ["table"]
    loss = module.training_step(batch, 0)
    (found,) = torch.autograd.grad(loss, [lm.table])
    (expected,) = torch.autograd.grad(_module(lm).training_step(batch, 0), [lm.table])
    torch.testing.assert_close(found, expected)


def test_a_compiler_that_fails_is_an_error_or_is_done_without(batch, caplog):
    def failing(graph, inputs):
        raise RuntimeError("no space left")

    lm = Scores()
    with pytest.raises(ConfigError, match=r"cannot be compiled \(.*no space left.*compile=auto"):
        CompiledLoss(lm, failing)(batch)
    calls = []
    loss = CompiledLoss(lm, failing, must=False, given_up=lambda: calls.append("given up"))
    for _ in range(2):
        torch.testing.assert_close(loss(batch).nats, lm.loss_terms(batch).nats)
    assert loss.is_given_up
    assert calls == ["given up"]
    assert caplog.text.count("the loss is not compiled") == 1


@pytest.mark.slow
def test_the_record_of_a_run_does_not_name_a_compiler_that_failed(tmp_path):
    report_of("failing", str(tmp_path / "run"))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "loss" not in record["versions"]
    assert "resumed" not in record
    assert "torch" in record["versions"]


@pytest.mark.slow
def test_every_model_is_one_graph_with_the_loss_and_gradients_of_the_plain_one():
    rows = report_of("losses")
    assert {name: row["graphs"] for name, row in rows.items() if row["graphs"] != 1} == {}
    # float64: the compiler may sum in another order, of at most some thousand terms.
    wrong = {n: r for n, r in rows.items() if max(r["loss"], r["gradients"]) > 1e-9}
    assert wrong == {}


@pytest.mark.slow
def test_a_run_is_resumed_with_and_without_compilation(tmp_path):
    report_of("run", str(tmp_path))
    weights = {
        name: load_file(next((tmp_path / name / "checkpoints").glob("*4/weights.safetensors")))
        for name in ("plain", "first", "second")
    }
    for name in ("first", "second"):
        assert weights[name].keys() == weights["plain"].keys()
        torch.testing.assert_close(weights[name], weights["plain"])
    record = json.loads(Path(tmp_path / "first" / "run.json").read_text())
    assert record["versions"]["loss"] == "compiled by aot_eager"
    assert "loss" not in record["resumed"][0]["versions"]
    record = json.loads(Path(tmp_path / "second" / "run.json").read_text())
    assert record["resumed"][0]["versions"]["loss"] == "compiled by aot_eager"


@pytest.mark.slow
def test_two_ranks_that_compile_have_the_loss_of_one_that_does_not(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    report_of("ranks", str(one), "false", OMP_NUM_THREADS="1")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    report_of("ranks", str(two), "true", launcher=launcher, OMP_NUM_THREADS="1")
    record = json.loads((two / "run.json").read_text())
    assert record["versions"]["loss"] == "compiled by aot_eager"
    found, expected = (_losses(run) for run in (two, one))
    assert len(found) == 4
    # float64: sums over two ranks have another order.
    assert found == pytest.approx(expected, rel=1e-9)
    weights = [
        load_file(next((run / "checkpoints").glob("*4/weights.safetensors"))) for run in (two, one)
    ]
    torch.testing.assert_close(*weights)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_code_is_kept_for_the_next_run_in_the_cache_of_the_package(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    first, second = (report_of("cache", DNAMDLM_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first["folder"] == str(tmp_path / "kernels" / "inductor")
    assert sum(first["hits"].values()) == 0
    assert sum(second["hits"].values()) > 0
    # float32 sums of a few hundred terms in another order.
    assert max(first["gradients"], second["gradients"]) < 1e-4


def _module(lm, loss_terms=None):
    return TrainingModule(
        lm,
        AdamWSettings(),
        WarmupConstant(1),
        max_steps=1,
        averaging_decay=0.5,
        loss_terms=loss_terms,
    )


def _losses(run):
    """What each step of a run lost."""
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [float(row["train_bits_per_base"]) for row in rows]
