"""Networks of another package: what a checkpoint says of them, and who may load it."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.objectives import ExactCount
from tests.helpers.fitted_runs import description_of, fitted, logits_of, made
from tests.helpers.foreign_package import NAME, VERSION
from tests.helpers.rounding import additions, rounding


def test_a_checkpoint_says_which_class_of_which_version_it_needs(own_package, nets, tmp_path):
    fitted(own_package, made(nets.Plain, width=6), tmp_path / "run", max_steps=2)
    (record,) = description_of(tmp_path / "run")["foreign"]
    assert record == {
        "place": "backbone.module",
        "module": "mynet.nets",
        "class": "Plain",
        "package": NAME,
        "version": VERSION,
        "arguments": {"num_ids": 12, "width": 6, "dilations": [1, 2]},
    }


def test_a_run_of_a_network_of_ours_needs_no_other_package(own_package, tmp_path):
    network = made(DiT, 12, 8, 1, 1)
    fitted(own_package, network, tmp_path / "run", max_steps=2)
    assert "foreign" not in description_of(tmp_path / "run")
    loaded = load_model(str(tmp_path / "run"))
    assert torch.equal(logits_of(loaded.lm), network(torch.tensor([[7, 8, 9, 10, 3, 3, 7, 8]])))


def test_only_a_trusted_package_is_imported(own_package, nets, tmp_path, forgotten):
    loaded = fitted(own_package, made(nets.Plain), tmp_path / "run", max_steps=2)
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


def test_a_model_is_loaded_into_a_network_that_the_user_gives(own_package, nets, tmp_path):
    loaded = fitted(own_package, made(nets.Plain), tmp_path / "run", max_steps=2)
    given = nets.Plain()
    model = dnamdlm.load(tmp_path / "run", device="cpu", backbone=given)
    assert model.loaded.lm.backbone.module is given
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))
    raw = dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Plain(), weights="raw")
    assert not torch.equal(logits_of(raw.loaded.lm), logits_of(loaded.lm))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Plain(width=4))


def test_a_name_in_a_stored_config_runs_no_code(own_package, nets, tmp_path, forgotten):
    fitted(own_package, made(nets.Plain), tmp_path / "run", max_steps=2)
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


def test_a_network_whose_arguments_are_not_kept_can_only_be_given(own_package, nets, tmp_path):
    net = made(nets.Hidden, (12, 6))
    loaded = fitted(own_package, net, tmp_path / "run", max_steps=2)
    (record,) = description_of(tmp_path / "run")["foreign"]
    assert record["arguments"] is None
    with pytest.raises(ConfigError, match=r"arguments are not known; give the .* backbone="):
        dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    model = dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Hidden((12, 6)))
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))


def test_given_arguments_make_a_model_loadable(own_package, nets, tmp_path):
    net = made(nets.Hidden, (12, 6))
    loaded = fitted(own_package, net, tmp_path / "run", max_steps=2, arguments={"sizes": [12, 6]})
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
    own_package, nets, tmp_path, arguments, message
):
    with pytest.raises(ConfigError, match=message):
        fitted(own_package, made(nets.Hidden, (12, 6)), tmp_path / "run", arguments=arguments)
    assert not (tmp_path / "run").exists()


def test_an_attribute_that_is_not_the_argument_of_its_name_is_noticed(own_package, nets, tmp_path):
    fitted(own_package, made(nets.Doubling), tmp_path / "run", max_steps=1)
    assert description_of(tmp_path / "run")["foreign"][0]["arguments"] is None


def test_a_class_of_a_script_can_only_be_given(own_package, tmp_path):
    class Local(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.width = width
            self.embed = nn.Embedding(12, width)
            self.out = nn.Linear(width, 12)

        def forward(self, ids):
            return self.out(self.embed(ids))

    fitted(own_package, made(Local), tmp_path / "run", max_steps=1)
    with pytest.raises(ConfigError, match="class cannot be imported by name"):
        dnamdlm.load(tmp_path / "run", device="cpu", trust=["tests"])
    assert dnamdlm.load(tmp_path / "run", device="cpu", backbone=Local()).loaded.step == 1


def test_a_network_with_time_padding_and_states_is_used_with_them(own_package, nets, tmp_path):
    loaded = fitted(own_package, made(nets.Hidden, (12, 6)), tmp_path / "run", max_steps=1)
    assert loaded.lm.backbone.time_conditioning
    model = dnamdlm.load(tmp_path / "run", device="cpu", backbone=nets.Hidden((12, 6)))
    assert model.embed(["ACGT", "ACGTACGT"]).shape == (2, 6)
    # a longer neighbour pads the row, and padding does not change it.
    alone = model.log_likelihood(["ACGT"])
    beside = model.log_likelihood(["ACGT", "ACGTACGTAA"])[:1]
    np.testing.assert_allclose(beside, alone, rtol=rounding(additions(model.loaded.lm)))


def test_a_backbone_of_another_package_is_taken_as_it_is(own_package, nets, tmp_path):
    net = made(nets.Whole, 12, width=6)
    loaded = fitted(own_package, net, tmp_path / "run", max_steps=2)
    assert loaded.lm.backbone is net
    (record,) = description_of(tmp_path / "run")["foreign"]
    # the size of the vocabulary is that of the data.
    assert (record["place"], record["arguments"]) == ("backbone", {"width": 6})
    model = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert torch.equal(logits_of(model.loaded.lm), logits_of(loaded.lm))
    with pytest.raises(ConfigError, match=r"made with vocab_size=13, but .* has 12"):
        fitted(own_package, made(nets.Whole, 13), tmp_path / "other")


def test_a_network_that_sees_only_the_past_is_trained_from_left_to_right(
    own_package, nets, tmp_path
):
    loaded = fitted(own_package, made(nets.Causal), tmp_path / "run", max_steps=2)
    assert isinstance(loaded.lm, CausalLM)
    model = dnamdlm.load(tmp_path / "run", device="cpu", trust=[NAME])
    assert len(model.sample(1, length=10)[0]) == 10
    with pytest.raises(ConfigError, match="objective= is for masked diffusion"):
        fitted(own_package, made(nets.Causal), tmp_path / "other", objective=ExactCount())
