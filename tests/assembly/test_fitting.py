"""Training a network from Python: a run like any other, and the same as the command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import dnamdlm
from data_prep.text import main as prepare_text
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.reports import ReportSettings, report
from dnamdlm.assembly.train.fitting import fit
from dnamdlm.assembly.train.training_run import train
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.text.corpus import TextData
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.entries import settings_of
from tests.helpers.fitted_runs import SMALL, STEPS, digests, fitted, logits_of, made, rows
from tests.helpers.foreign_package import NAME

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
import torch
from dnamdlm.assembly.train.fitting import fit
from mynet.nets import Killed

torch.manual_seed(0)
fit(Killed(), sys.argv[1], run_dir=sys.argv[2], max_steps={steps}, **{small})
"""


def test_a_network_of_another_package_gets_a_whole_run(own_package, nets, tmp_path):
    net = made(nets.Plain)
    before = net.out.weight.clone()
    loaded = fitted(own_package, net, tmp_path / "run")
    assert loaded.step == STEPS
    assert isinstance(loaded.lm, MaskedDiffusionLM)
    assert loaded.lm.backbone.module is net
    assert not torch.equal(net.out.weight, before)
    losses = [row["valid_bits_per_base"] for row in rows(tmp_path / "run")]
    assert [loss != "" for loss in losses] == [step in (4, 8) for step in range(1, STEPS + 1)]
    page = report(ReportSettings(str(tmp_path / "run"))).read_text()
    assert "Training curve" in page
    model = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert "Plain" in repr(model)
    assert set(model.sample(1, length=20)[0]) <= set("ACGT")


def test_objective_noise_and_times_of_a_network_can_be_chosen(own_package, nets, tmp_path):
    fitted(
        own_package, made(nets.Plain), tmp_path / "run", max_steps=1,
        objective=ExactCount(power=2.0), schedule=LogLinear(floor=1e-3), times=Stratified(),
    )  # fmt: skip
    lm = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME]).loaded.lm
    assert lm.objective == ExactCount(power=2.0)
    assert lm.schedule == LogLinear(floor=1e-3)


@pytest.mark.parametrize("name", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_killed_run_ends_as_the_uninterrupted_one(own_package, nets, tmp_path, name):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(steps=STEPS, small=SMALL))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(own_package / "site")]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()), "SIGNAL": name, "SIGNAL_AT": "6",
    }  # fmt: skip
    killed = subprocess.run(
        [sys.executable, str(script), str(own_package / "my.fa"), str(tmp_path / "run")],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if name == "SIGKILL":
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    else:
        assert "Interrupted: stopped by SIGTERM after step 6" in killed.stderr
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept[-1] == ("step_000000003" if name == "SIGKILL" else "step_000000006")
    # a resumed run has the weights of its checkpoint, whatever the object has.
    torch.manual_seed(9)
    fitted(own_package, nets.Killed(), tmp_path / "run")
    fitted(own_package, made(nets.Killed), tmp_path / "whole")
    assert digests(tmp_path / "run") == digests(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_finished_run_gives_its_weights_to_any_object(own_package, nets, tmp_path):
    first = fitted(own_package, made(nets.Plain), tmp_path / "run", max_steps=2)
    second = fitted(own_package, nets.Plain(), tmp_path / "run", max_steps=2)
    assert second.lm is not first.lm
    assert torch.equal(logits_of(first.lm), logits_of(second.lm))


def test_a_folder_with_a_run_of_another_network_is_refused(own_package, nets, tmp_path):
    fitted(own_package, made(nets.Plain), tmp_path / "run", max_steps=2)
    with pytest.raises(ConfigError, match=r"backbone\.module\.width was 8 and is now 4"):
        fitted(own_package, made(nets.Plain, width=4), tmp_path / "run", max_steps=2)
    fitted(own_package, made(nets.Hidden, (12, 6)), tmp_path / "other", max_steps=2)
    with pytest.raises(CheckpointError, match="belongs to another model"):
        fitted(own_package, made(nets.Hidden, (12, 5)), tmp_path / "other", max_steps=2)


def test_fit_and_the_command_train_are_one(tmp_path):
    steps = ["trainer.max_steps=4", "trainer.valid_every=2", "trainer.accelerator=cpu"]
    run = settings_of("train", "config=tiny", f"run_dir={tmp_path / 'command'}", *steps)
    train(run)
    node = dict(run.config.backbone_node)
    del node["_target_"]
    torch.manual_seed(1)
    network = DiT(vocab_size=12, **node)
    data = {
        key: value for key, value in run.record["data"].items() if key not in ("_target_", "fasta")
    }
    trainer = {k: v for k, v in run.record["trainer"].items() if k not in ("_target_", "max_steps")}
    fit(
        network, "embedded:yeast", run_dir=tmp_path / "python", name="tiny", max_steps=4,
        warmup_steps=5, **data, **trainer,
    )  # fmt: skip
    assert digests(tmp_path / "python", 4) == digests(tmp_path / "command", 4)
    assert rows(tmp_path / "python") == rows(tmp_path / "command")
    recorded = [
        yaml.safe_load((tmp_path / n / "config.yaml").read_text()) for n in ("python", "command")
    ]
    for tree in recorded:
        del tree["run_dir"], tree["logger"]
    assert recorded[0] == recorded[1]


def test_a_language_model_of_ours_is_trained_as_it_is(own_package, tmp_path):
    network = made(CausalTransformer, 12, 8, 1, 2)
    lm = CausalLM(network, NUCLEOTIDE_VOCABULARY)
    loaded = fitted(own_package, lm, tmp_path / "run", max_steps=2)
    assert loaded.lm is lm
    assert torch.equal(
        logits := load_model(str(tmp_path / "run")).lm.backbone.head.weight, network.head.weight
    )
    assert logits.shape[0] == 12
    with pytest.raises(ConfigError, match="schedule= is for a network"):
        fitted(own_package, lm, tmp_path / "run", schedule=LogLinear())


def test_a_network_is_trained_on_text(nets, tmp_path):
    (tmp_path / "lines.txt").write_text("".join(f"line {i} of text\n" for i in range(300)))
    assert prepare_text([f"files={tmp_path / 'lines.txt'}", f"out={tmp_path / 'bytes'}"]) == 0
    data = TextData(str(tmp_path / "bytes"), length=16)
    net = made(nets.Plain, num_ids=len(data.vocabulary))
    loaded = fit(
        net, data, run_dir=tmp_path / "run", max_steps=2, device="cpu", global_batch_size=4,
        valid_windows=2, log_every=1,
    )  # fmt: skip
    assert loaded.modality.unit == "token"
    assert "valid_bits_per_token" in rows(tmp_path / "run")[0]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Narrow", r"must give logits of shape .* = \(2, 32, 12\), got \(2, 32, 4\)"),
        ("Twofold", "must give logits of shape .* got tuple"),
        ("Extra", "a checkpoint stores tensors only"),
        ("Frozen", "has no weights to train"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_before_anything_is_written(
    own_package, nets, tmp_path, kind, message
):
    with pytest.raises(ConfigError, match=message):
        fitted(own_package, made(getattr(nets, kind)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lenght": 3}, r"lenght=3 is not a setting of fit \(did you mean length\?\)"),
        ({"max_lenght": 3, "length": 0}, "max_lenght=3 is not a setting"),
        ({"length": 0}, "data.length must be at least 1"),
        ({"global_batch_size": 0}, "trainer.global_batch_size=0"),
        ({"learning_rate": -1.0}, "optimizer.learning_rate=-1.0"),
        ({"device": "cuda:1"}, "CUDA_VISIBLE_DEVICES=1"),
        ({"device": "cpu", "accelerator": "cpu"}, "leave one out"),
        ({"seed": -1}, "seed=-1"),
        ({"arguments": {"width": 8}}, "keeps its own; leave arguments out"),
    ],
)
def test_a_wrong_setting_is_named(own_package, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        fitted(own_package, made(DiT, 12, 8, 1, 1), tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_run_never_writes_over_its_genome(own_package, tmp_path):
    genome = tmp_path / "metrics.csv"
    genome.write_text((own_package / "my.fa").read_text())
    with pytest.raises(ConfigError, match="would write over the input"):
        fitted(own_package, made(DiT, 12, 8, 1, 1), tmp_path, data=str(genome))
    assert genome.read_text() == (own_package / "my.fa").read_text()


def test_settings_of_a_path_are_refused_for_settings_objects(own_package, tmp_path):
    data = GenomeData(str(own_package / "my.fa"), length=32)
    with pytest.raises(ConfigError, match="length= is for data that are given as a path; set"):
        fitted(own_package, made(DiT, 12, 8, 1, 1), tmp_path / "run", data=data)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("net", "my.fa", "model is a str; give a torch module"),
        (made(DiT, 12, 8, 1, 1), 3, "data is a int; give the path"),
        (made(DiT, 12, 8, 1, 1), ".", "is a folder; give a FASTA file"),
        (made(DiT, 13, 8, 1, 1), "my.fa", "make it with vocab_size=12"),
    ],
)
def test_a_wrong_model_or_wrong_data_are_named(tmp_path, model, data, message):
    with pytest.raises(ConfigError, match=message):
        fit(model, data, run_dir=tmp_path / "run", max_steps=1)
