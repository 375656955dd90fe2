"""Recipes and protocols of `finetune`, and of which kind a task is."""

import pytest

from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.data.tasks.families import kind_of
from dnamdlm.setting_files import config_folder
from tests.helpers.entries import composed

RECIPES = sorted(path.stem for path in (config_folder("finetune") / "config").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_passes_the_closed_schema(recipe):
    tree = composed("finetune", f"config={recipe}", "model=x", "run_dir=y", "task=z",
                   *(["data.train=t.csv"] if recipe == "table" else []))  # fmt: skip
    read_settings(FinetuneEntry, tree)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ({"y": ["0.5", "1"]}, "regression"),
        ({"y": ["1.0", "0.0"]}, "classes"),
        ({"y": ["7", "-8"]}, "classes"),
        ({"y": ["a", "0.5"]}, "classes"),
        ({"y": [*(f"0.{i}" for i in range(1, 10)), "NA"]}, "classes"),
        ({"y": [*(f"0.{i}1" for i in range(11)), *["NA"] * 90, "ND"]}, "regression"),
        ({"y": [*(f"0.{i}1" for i in range(11)), *map(str, range(11))]}, "regression"),
        ({"y": [*(f"0.{i}1" for i in range(11)), *"abcdefghijk"]}, "classes"),
        ({"y": [*(f"0.{i}1" for i in range(11)), "inf"]}, "regression"),
        ({"y": [str(i) for i in range(101)]}, "regression"),
        ({"y": [str(i) for i in range(101)] * 2}, "classes"),
        ({"a": ["0", "1"], "b": ["1", "1"]}, "labels"),
        ({"a": ["0", "1"], "b": ["1", "2"]}, "regression"),
    ],
)
def test_labels_say_of_which_kind_a_task_is(labels, kind):
    assert kind_of(labels) == kind


def test_thorough_takes_five_splits_and_all_baselines_of_what_the_model_reads():
    tree = composed("finetune", "config=table", "model=x", "run_dir=y", "data.train=t.csv")
    first = read_settings(FinetuneEntry, tree)
    whole = read_settings(FinetuneEntry, tree | {"thorough": True})
    found = [entry.protocol(reads) for entry in (first, whole) for reads in ("dna", "text")]
    assert [settings.seeds for settings in found] == [1, 1, 5, 5]
    assert [settings.baselines for settings in found] == [
        ("kmer",), ("bag_of_words",), ("kmer", "cnn", "random_weights"),
        ("bag_of_words", "majority", "random_weights"),
    ]  # fmt: skip
