"""Which classes a config may name, wherever in the tree it names them."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from dnamdlm.assembly.building.class_targets import TARGET, resolve_target
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.building.schema import build, check_node
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import json_writer, tensors_writer, write_folder

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DANGEROUS = [
    "os.system", "os.popen", "posix.system", "subprocess.Popen", "subprocess.run", "builtins.eval",
    "builtins.exec", "builtins.open", "builtins.__import__", "pickle.loads", "pickle.Unpickler",
    "torch.load", "torch.hub.load", "torch.serialization.load", "torch.package.PackageImporter",
    "logging.os.system", "logging.config.dictConfig", "shutil.rmtree", "importlib.import_module",
    "runpy.run_path", "code.InteractiveInterpreter", "ctypes.CDLL", "webbrowser.open",
    "hydra.utils.instantiate", "lightning.pytorch.Trainer", "pathlib.Path", "numpy.load",
    "functools.partial", "operator.methodcaller", "dnamdlmx.a.B", "dnamdlm", "",
    # attribute chains and names that the package imports
    "dnamdlm.command_line.os.system", "dnamdlm.command_line.sys.modules",
    "dnamdlm.lm.checkpoint.os.system", "dnamdlm.lm.checkpoint.shutil.rmtree",
    "dnamdlm.lm.checkpoint.Path", "dnamdlm.lm.checkpoint.save_file",
    "dnamdlm.training.run_folder.FileLock", "dnamdlm.training.trainer.pl.Trainer",
    "dnamdlm.assembly.building.schema.importlib.import_module",
    "dnamdlm.assembly.building.schema.TypeAdapter",
    "dnamdlm.lm.published.import_mdlm.pickle.loads", "dnamdlm.lm.published.import_mdlm.torch.load",
    "dnamdlm.training.callbacks.Any", "dnamdlm.backbones.dit.nn.Module",
    # functions of the package, and classes that do something when they are made
    "dnamdlm.command_line.run_entry", "dnamdlm.lm.checkpoint.remove_checkpoint_folder",
    "dnamdlm.training.metrics.MetricsFile", "dnamdlm.training.checkpointing.FolderCheckpointIO",
    "dnamdlm.data.genome.store.GenomeStore.open",
    # a logger in another place, and a class that its module only imports
    "lightning.pytorch.loggers.CSVLogger", "lightning.pytorch.loggers.WandbLogger",
    "lightning.pytorch.loggers.wandb.ModelCheckpoint",
    # names that are none
    "dnamdlm..os", "dnamdlm.", "dnamdlm.\0", "dnamdlm.os system", " dnamdlm.lm.masked.X",
    "dnamdlm/lm/masked.X", "dnamdlm.__builtins__.eval", "dnamdlm.lm.__loader__",
    "dnamdlm.lm.masked.MaskedDiffusionLM.__init__.__globals__", "DNAMDLM.lm.masked.X",
    "dnamdlm.lm.masked.MaskedDiffusionLM\n", "\uff44namdlm.lm.masked.MaskedDiffusionLM",
    None, 3, True, ["dnamdlm.lm.masked.MaskedDiffusionLM"], {"a": "b"},
]  # fmt: skip
GOOD = "dnamdlm.training.optimizers.WarmupCosine"


@pytest.mark.parametrize("target", DANGEROUS, ids=repr)
def test_a_target_that_is_not_a_part_of_a_model_is_refused(target):
    with pytest.raises(ConfigError):
        resolve_target(target, "backbone")


@pytest.mark.parametrize(
    "target", [item for item in DANGEROUS if not str(item).startswith("lightning.pytorch.log")],
    ids=repr,
)  # fmt: skip
def test_the_place_of_the_logger_takes_loggers_alone(target):
    with pytest.raises(ConfigError):
        resolve_target(target, "logger")


def test_a_class_that_a_logger_module_imports_is_no_logger():
    with pytest.raises(ConfigError):
        resolve_target("lightning.pytorch.loggers.wandb.ModelCheckpoint", "logger")


@pytest.mark.parametrize("target", ["os.system", "dnamdlm.training.metrics.MetricsFile"])
def test_a_nested_target_is_refused_at_any_depth(target):
    inner = {TARGET: target}
    for _ in range(3):
        inner = {TARGET: GOOD, "warmup_steps": inner}
        with pytest.raises(ConfigError):
            check_node(inner, "lm")
        with pytest.raises(ConfigError):
            build(inner, "lm")


def test_a_target_in_a_list_is_never_called():
    marker = []
    for value in ([{TARGET: "os.system", "command": "true"}], [[{TARGET: "os.system"}]]):
        node = {TARGET: "dnamdlm.training.trainer_settings.ResumeSettings", "allow": value}
        with pytest.raises(ConfigError):
            marker.append(build(node, "resume"))
    assert marker == []


def test_every_target_of_a_shipped_config_is_allowed():
    def targets(tree, place):
        if isinstance(tree, dict):
            for key, value in tree.items():
                if key == TARGET:
                    yield place, value
                else:
                    yield from targets(value, key)

    found = {
        pair
        for path in CONFIGS.rglob("*.yaml")
        for pair in targets(yaml.safe_load(path.read_text()), path.parent.name)
    }
    assert len(found) > 25
    for place, target in found:
        if place == "logger" and not target.endswith("TensorBoardLogger"):
            continue
        assert resolve_target(target, place).__name__ == re.split(r"\.", target)[-1]


@pytest.mark.parametrize(
    "node",
    [
        {TARGET: "os.system", "command": "touch {marker}"},
        {TARGET: "dnamdlm.training.metrics.MetricsFile", "path": "{marker}", "resumed_step": 0},
        {TARGET: "lightning.pytorch.loggers.CSVLogger", "save_dir": "{marker}"},
        {TARGET: "builtins.open", "file": "{marker}", "mode": "w"},
    ],
    ids=lambda node: node[TARGET],
)
@pytest.mark.parametrize("place", ["backbone", "noise", "times", "lm"])
def test_the_config_inside_a_checkpoint_of_a_stranger_does_nothing(tmp_path, place, node):
    marker = tmp_path / "marker"
    node = json.loads(json.dumps(node).replace("{marker}", str(marker)))
    tree = {
        "backbone": {TARGET: "dnamdlm.backbones.dit.DiT"},
        "noise": {TARGET: "dnamdlm.diffusion.schedules.Linear"},
        "times": {TARGET: "dnamdlm.diffusion.times.Uniform"},
        "lm": {TARGET: "dnamdlm.lm.masked.MaskedDiffusionLM"},
    } | {place: node}
    weights = tensors_writer({"w": torch.zeros(1)})
    folder = write_folder(
        tmp_path / "step_000000001",
        {
            "weights.safetensors": weights,
            "average.safetensors": weights,
            "model.json": json_writer({"config": tree, "vocabulary": "x", "step": 1}),
        },
    )
    with pytest.raises(ConfigError):
        ModelConfig(tree).check()
    with pytest.raises(ConfigError):
        load_model(str(folder))
    assert not marker.exists()
