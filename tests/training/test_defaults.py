"""Settings have one default, whether they come from a config or from Python."""

import dataclasses

import pytest
import yaml

from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.training.muon import MuonSettings
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant, WarmupCosine
from dnamdlm.training.trainer_settings import TrainerSettings
from tests.repository.sources import ROOT


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("trainer/default.yaml", TrainerSettings),
        ("optimizer/adamw.yaml", AdamWSettings),
        ("optimizer/muon.yaml", MuonSettings),
        ("learning_rate/cosine.yaml", WarmupCosine),
        ("learning_rate/constant.yaml", WarmupConstant),
    ],
)
def test_a_class_has_the_defaults_of_its_config(path, kind):
    node = yaml.safe_load((ROOT / "configs" / path).read_text())
    assert node.pop("_target_") == f"{kind.__module__}.{kind.__qualname__}"
    fields = dataclasses.fields(kind)
    assert set(node) == {field.name for field in fields}
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    assert {name: node[name] for name in defaults} == defaults


@pytest.mark.parametrize("optimizer", [AdamWSettings, MuonSettings])
def test_no_two_groups_of_fit_have_a_setting_of_one_name(optimizer):
    kinds = (GenomeData, TrainerSettings, optimizer, WarmupCosine)
    names = [field.name for kind in kinds for field in dataclasses.fields(kind)]
    assert len(names) == len(set(names))
