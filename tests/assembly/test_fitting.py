"""Training a user's own network from Python: a run like any other, and who may load it."""

import csv
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

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
from tests.helpers.foreign_package import NAME, VERSION, write_package
from tests.helpers.rounding import additions, rounding

ROOT = Path(__file__).resolve().parents[2]
STEPS = 8
SMALL = {
    "device": "cpu", "threads": 1, "length": 32, "valid": ["r2"], "global_batch_size": 4,
    "warmup_steps": 2, "valid_every": 4, "valid_windows": 4, "valid_draws": 1, "log_every": 1,
    "checkpoint_every": 3,
}  # fmt: skip
SCRIPT = """
import sys
import torch
from dnamdlm.assembly.train.fitting import fit
from mynet.nets import Killed

torch.manual_seed(0)
fit(Killed(), sys.argv[1], run_dir=sys.argv[2], max_steps={steps}, **{small})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the package and a FASTA file of three records."""
    folder = tmp_path_factory.mktemp("own")
    write_package(folder / "site")
    letters = np.random.default_rng(0).choice(list("ACGT"), (3, 400))
    lines = [f">r{i}\n{''.join(row)}\n" for i, row in enumerate(letters, start=1)]
    (folder / "my.fa").write_text("".join(lines))
    return folder


@pytest.fixture
def forgotten():
    """Forgets the package, as a new process that has not imported it."""

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]

    return forget


@pytest.fixture
def nets(folder, monkeypatch, forgotten):
    """The networks of the package, which is installed while the test runs."""
    monkeypatch.syspath_prepend(str(folder / "site"))
    yield importlib.import_module(f"{NAME}.nets")
    forgotten()


def made(kind, *arguments, **keywords):
    torch.manual_seed(0)
    return kind(*arguments, **keywords)


def fitted(folder, model, run_dir, max_steps=STEPS, data=None, **changes):
    data = folder / "my.fa" if data is None else data
    return fit(model, data, run_dir=run_dir, max_steps=max_steps, **SMALL | changes)


def digests(run_dir, step=STEPS):
    found = Path(run_dir) / "checkpoints" / f"step_{step:09d}"
    names = ("weights.safetensors", "average.safetensors", "trainer.safetensors", "trainer.json")
    return {name: hashlib.sha256((found / name).read_bytes()).hexdigest() for name in names}


def rows(run_dir):
    timed = ("seconds", "bases_per_second")
    with (Path(run_dir) / "metrics.csv").open() as stream:
        return [
            {key: value for key, value in row.items() if key not in timed}
            for row in csv.DictReader(stream)
        ]


def description_of(run_dir):
    (newest,) = sorted((Path(run_dir) / "checkpoints").iterdir())[-1:]
    return json.loads((newest / "model.json").read_text())


def logits_of(lm):
    ids = torch.tensor([[7, 8, 9, 10, 3, 3, 7, 8]])
    time = torch.full((1,), 0.5)
    with torch.no_grad():
        return lm.logits(ids, time)


def test_a_network_of_another_package_gets_a_whole_run(folder, nets, tmp_path):
    net = made(nets.Plain)
    before = net.out.weight.clone()
    loaded = fitted(folder, net, tmp_path / "run")
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


def test_a_checkpoint_says_which_class_of_which_version_it_needs(folder, nets, tmp_path):
    fitted(folder, made(nets.Plain, width=6), tmp_path / "run", max_steps=2)
    (record,) = description_of(tmp_path / "run")["foreign"]
    assert record == {
        "place": "backbone.module",
        "module": "mynet.nets",
        "class": "Plain",
        "package": NAME,
        "version": VERSION,
        "arguments": {"num_ids": 12, "width": 6, "dilations": [1, 2]},
    }


def test_a_run_of_a_network_of_ours_needs_no_other_package(folder, tmp_path):
    network = made(DiT, 12, 8, 1, 1)
    fitted(folder, network, tmp_path / "run", max_steps=2)
    assert "foreign" not in description_of(tmp_path / "run")
    loaded = load_model(str(tmp_path / "run"))
    assert torch.equal(logits_of(loaded.lm), network(torch.tensor([[7, 8, 9, 10, 3, 3, 7, 8]])))


def test_only_a_trusted_package_is_imported(folder, nets, tmp_path, forgotten):
    loaded = fitted(folder, made(nets.Plain), tmp_path / "run", max_steps=2)
    # the stored config names the package as trusted, which must not count.
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trust"] == [NAME]
    forgotten()
    message = rf"needs the class mynet\.nets\.Plain of the package mynet {VERSION}.*trust=\[mynet\]"
    for trust in ((), ("dnamdlm",), ("my",), ("mynet.nets",), ("os",)):
        with pytest.raises(ConfigError, match=message):
            dnamdlm.load(tmp_path / "run", device="cpu", trust=trust)
    assert NAME not in sys.modules
    trusted = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert torch.equal(logits_of(trusted.loaded.lm), logits_of(loaded.lm))


def test_a_model_is_loaded_into_a_network_that_the_user_gives(folder, nets, tmp_path):
    loaded = fitted(folder, made(nets.Plain), tmp_path / "run", max_steps=2)
    given = nets.Plain()
    model = dnamdlm.load(tmp_path / "run", device="cpu", backbone=given)
    assert model.loaded.lm.backbone.module is given
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))
    raw = dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Plain(), weights="raw")
    assert not torch.equal(logits_of(raw.loaded.lm), logits_of(loaded.lm))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Plain(width=4))


def test_a_name_in_a_stored_config_runs_no_code(folder, nets, tmp_path, forgotten):
    fitted(folder, made(nets.Plain), tmp_path / "run", max_steps=2)
    config = description_of(tmp_path / "run")
    for target in (
        "os.system",
        "mynet.nets.os.system",
        "mynet.layers",
        "mynet.nets.signal.Signals",
    ):
        config["config"]["backbone"]["module"]["_target_"] = target
        config["foreign"] = []
        folder_of = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
        text = json.dumps(config)
        (folder_of / "model.json").write_text(text)
        manifest = json.loads((folder_of / "manifest.json").read_text())
        manifest["files"]["model.json"] = {
            "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }  # fmt: skip
        (folder_of / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ConfigError):
            dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])


def test_a_network_whose_arguments_are_not_kept_can_only_be_given(folder, nets, tmp_path):
    net = made(nets.Hidden, (12, 6))
    loaded = fitted(folder, net, tmp_path / "run", max_steps=2)
    (record,) = description_of(tmp_path / "run")["foreign"]
    assert record["arguments"] is None
    with pytest.raises(ConfigError, match=r"arguments are not known; give the .* backbone="):
        dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    model = dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Hidden((12, 6)))
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))


def test_given_arguments_make_a_model_loadable(folder, nets, tmp_path):
    net = made(nets.Hidden, (12, 6))
    loaded = fitted(folder, net, tmp_path / "run", max_steps=2, arguments={"sizes": [12, 6]})
    model = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [12, 5]}, "the names or shapes of its weights differ"),
        ({"width": 3}, "its constructor fails"),
        ({"sizes": {1, 2}}, "a set is not a plain value"),
    ],
)
def test_arguments_that_do_not_rebuild_the_network_are_refused(
    folder, nets, tmp_path, arguments, message
):
    with pytest.raises(ConfigError, match=message):
        fitted(folder, made(nets.Hidden, (12, 6)), tmp_path / "run", arguments=arguments)
    assert not (tmp_path / "run").exists()


def test_an_attribute_that_is_not_the_argument_of_its_name_is_noticed(folder, nets, tmp_path):
    fitted(folder, made(nets.Doubling), tmp_path / "run", max_steps=1)
    assert description_of(tmp_path / "run")["foreign"][0]["arguments"] is None


def test_a_class_of_a_script_can_only_be_given(folder, tmp_path):
    class Local(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.width = width
            self.embed = nn.Embedding(12, width)
            self.out = nn.Linear(width, 12)

        def forward(self, ids):
            return self.out(self.embed(ids))

    fitted(folder, made(Local), tmp_path / "run", max_steps=1)
    with pytest.raises(ConfigError, match="class cannot be imported by name"):
        dnamdlm.load(tmp_path / "run", device="cpu", trust=["tests"])
    assert dnamdlm.load(tmp_path / "run", device="cpu", backbone=Local()).loaded.step == 1


def test_a_network_with_time_padding_and_states_is_used_with_them(folder, nets, tmp_path):
    loaded = fitted(folder, made(nets.Hidden, (12, 6)), tmp_path / "run", max_steps=1)
    assert loaded.lm.backbone.time_conditioning
    model = dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Hidden((12, 6)))
    assert model.embed(["ACGT", "ACGTACGT"]).shape == (2, 6)
    # a longer neighbour pads the row, and padding does not change it.
    alone = model.log_likelihood(["ACGT"])
    beside = model.log_likelihood(["ACGT", "ACGTACGTAA"])[:1]
    np.testing.assert_allclose(beside, alone, rtol=rounding(additions(model.loaded.lm)))


def test_a_backbone_of_another_package_is_taken_as_it_is(folder, nets, tmp_path):
    net = made(nets.Whole, 12, width=6)
    loaded = fitted(folder, net, tmp_path / "run", max_steps=2)
    assert loaded.lm.backbone is net
    (record,) = description_of(tmp_path / "run")["foreign"]
    # the size of the vocabulary is that of the data.
    assert (record["place"], record["arguments"]) == ("backbone", {"width": 6})
    model = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))
    with pytest.raises(ConfigError, match=r"made with vocab_size=13, but .* has 12"):
        fitted(folder, made(nets.Whole, 13), tmp_path / "other")


def test_a_network_that_sees_only_the_past_is_trained_from_left_to_right(folder, nets, tmp_path):
    loaded = fitted(folder, made(nets.Causal), tmp_path / "run", max_steps=2)
    assert isinstance(loaded.lm, CausalLM)
    model = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert len(model.sample(1, length=10)[0]) == 10
    with pytest.raises(ConfigError, match="objective= is for masked diffusion"):
        fitted(folder, made(nets.Causal), tmp_path / "other", objective=ExactCount())


def test_objective_noise_and_times_of_a_network_can_be_chosen(folder, nets, tmp_path):
    fitted(
        folder, made(nets.Plain), tmp_path / "run", max_steps=1,
        objective=ExactCount(power=2.0), schedule=LogLinear(floor=1e-3), times=Stratified(),
    )  # fmt: skip
    lm = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME]).loaded.lm
    assert lm.objective == ExactCount(power=2.0)
    assert lm.schedule == LogLinear(floor=1e-3)


@pytest.mark.parametrize("name", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_killed_run_ends_as_the_uninterrupted_one(folder, nets, tmp_path, name):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(steps=STEPS, small=SMALL))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()), "SIGNAL": name, "SIGNAL_AT": "6",
    }  # fmt: skip
    killed = subprocess.run(
        [sys.executable, str(script), str(folder / "my.fa"), str(tmp_path / "run")],
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
    fitted(folder, nets.Killed(), tmp_path / "run")
    fitted(folder, made(nets.Killed), tmp_path / "whole")
    assert digests(tmp_path / "run") == digests(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_finished_run_gives_its_weights_to_any_object(folder, nets, tmp_path):
    first = fitted(folder, made(nets.Plain), tmp_path / "run", max_steps=2)
    second = fitted(folder, nets.Plain(), tmp_path / "run", max_steps=2)
    assert second.lm is not first.lm
    assert torch.equal(logits_of(first.lm), logits_of(second.lm))


def test_a_folder_with_a_run_of_another_network_is_refused(folder, nets, tmp_path):
    fitted(folder, made(nets.Plain), tmp_path / "run", max_steps=2)
    with pytest.raises(ConfigError, match=r"backbone\.module\.width was 8 and is now 4"):
        fitted(folder, made(nets.Plain, width=4), tmp_path / "run", max_steps=2)
    fitted(folder, made(nets.Hidden, (12, 6)), tmp_path / "other", max_steps=2)
    with pytest.raises(CheckpointError, match="belongs to another model"):
        fitted(folder, made(nets.Hidden, (12, 5)), tmp_path / "other", max_steps=2)


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


def test_a_language_model_of_ours_is_trained_as_it_is(folder, tmp_path):
    network = made(CausalTransformer, 12, 8, 1, 2)
    lm = CausalLM(network, NUCLEOTIDE_VOCABULARY)
    loaded = fitted(folder, lm, tmp_path / "run", max_steps=2)
    assert loaded.lm is lm
    assert torch.equal(
        logits := load_model(str(tmp_path / "run")).lm.backbone.head.weight, network.head.weight
    )
    assert logits.shape[0] == 12
    with pytest.raises(ConfigError, match="schedule= is for a network"):
        fitted(folder, lm, tmp_path / "run", schedule=LogLinear())


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
    folder, nets, tmp_path, kind, message
):
    with pytest.raises(ConfigError, match=message):
        fitted(folder, made(getattr(nets, kind)), tmp_path / "run")
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
def test_a_wrong_setting_is_named(folder, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        fitted(folder, made(DiT, 12, 8, 1, 1), tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_run_never_writes_over_its_genome(folder, tmp_path):
    genome = tmp_path / "metrics.csv"
    genome.write_text((folder / "my.fa").read_text())
    with pytest.raises(ConfigError, match="would write over the input"):
        fitted(folder, made(DiT, 12, 8, 1, 1), tmp_path, data=str(genome))
    assert genome.read_text() == (folder / "my.fa").read_text()


def test_settings_of_a_path_are_refused_for_settings_objects(folder, tmp_path):
    data = GenomeData(str(folder / "my.fa"), length=32)
    with pytest.raises(ConfigError, match="length= is for data that are given as a path; set"):
        fitted(folder, made(DiT, 12, 8, 1, 1), tmp_path / "run", data=data)


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
