"""Nodes of a config tree: only allowed classes, only known keys, only right types."""

import pytest

from dnamdlm.assembly.building.schema import build, check_node
from dnamdlm.errors import ConfigError
from dnamdlm.training.optimizers import AdamWSettings, WarmupCosine

ADAMW = "dnamdlm.training.optimizers.AdamWSettings"


def test_a_node_becomes_the_object_it_names():
    built = build({"_target_": ADAMW, "learning_rate": 0.1, "beta2": 0.95}, "optimizer")
    assert built == AdamWSettings(learning_rate=0.1, beta2=0.95)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "torch.hub.load",
        "logging.os.system",
        "builtins.eval",
        "dnamdlm.command_line.os",
        "dnamdlm.command_line.run_entry",
        "dnamdlm.lm.checkpoint.Path",
        "dnamdlm.nothing.Here",
        None,
        3,
    ],
)
def test_a_target_outside_the_allow_list_is_refused(target):
    with pytest.raises(ConfigError, match=r"optimizer\._target_"):
        check_node({"_target_": target}, "optimizer")


def test_an_unknown_key_is_refused_with_the_nearest_name():
    node = {"_target_": ADAMW, "learning_rate": 0.1, "wieght_decay": 0.0}
    with pytest.raises(ConfigError, match=r"did you mean optimizer\.weight_decay"):
        check_node(node, "optimizer")


def test_a_missing_argument_is_named():
    node = {"_target_": "dnamdlm.data.text.corpus.TextData", "length": 8}
    with pytest.raises(ConfigError, match=r"data\.corpus is not set; give it as"):
        check_node(node, "data")


def test_fields_of_a_base_class_are_checked_too():
    node = {"_target_": "dnamdlm.lm.sampling.samplers.AncestralSampler", "grid": "square"}
    with pytest.raises(ConfigError, match=r"sampler\.grid=square is unknown; choose linear or"):
        check_node(node, "sampler")


def test_an_argument_that_code_supplies_may_not_be_set():
    with pytest.raises(ConfigError, match=r"optimizer\.beta1 is not a setting"):
        check_node({"_target_": ADAMW, "learning_rate": 0.1, "beta1": 0.5}, "optimizer", ("beta1",))


@pytest.mark.parametrize("value", ["ten", "0.1", None, [0.1], True], ids=str)
def test_a_value_of_the_wrong_type_is_refused(value):
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate="):
        check_node({"_target_": ADAMW, "learning_rate": value}, "optimizer")


def test_a_whole_number_is_a_number_and_a_list_a_tuple():
    check_node({"_target_": ADAMW, "learning_rate": 1}, "optimizer")
    assert build(
        {"_target_": "dnamdlm.training.optimizers.WarmupCosine", "warmup_steps": 3}, "schedule"
    ) == WarmupCosine(warmup_steps=3)


def test_a_value_out_of_range_names_the_setting():
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate=-1"):
        build({"_target_": ADAMW, "learning_rate": -1.0}, "optimizer")
