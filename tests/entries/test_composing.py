"""From settings to a config: backbones other than that of a recipe, and sweeps."""

import subprocess
import sys

import pytest

from dnamdlm.assembly.train.train_settings import read_train_settings
from dnamdlm.composing import _folder_name, check_apart, composed, given_settings
from dnamdlm.errors import ConfigError
from dnamdlm.setting_files import config_folder, keys_of_option, options_of

RECIPES_OF_DNA = ("demo", "tiny", "quick", "genome", "hg38", "hg38_cpu")


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize("backbone", options_of(config_folder("train"), "backbone"))
@pytest.mark.parametrize("recipe", RECIPES_OF_DNA)
def test_any_backbone_goes_with_any_recipe(recipe, backbone):
    tree, _ = composed("train", [f"config={recipe}", f"backbone={backbone}"])
    known = keys_of_option(config_folder("train"), "backbone", backbone)
    assert tree["backbone"].keys() == known.keys()


@pytest.mark.slow
def test_a_key_that_the_user_gives_to_a_backbone_without_it_is_refused(tmp_path):
    done = run(
        "dnamdlm.train", "config=demo", "backbone=caduceus_ps", "backbone.num_heads=2",
        "dry_run=true", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "backbone.num_heads is not a setting" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_recipe_sets_for_another_backbone_is_left_out_and_said(tmp_path):
    done = run("dnamdlm.train", "config=demo", "backbone=caduceus_ps", "dry_run=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "backbone=caduceus_ps does not have " in done.stderr
    assert "backbone.num_heads" in done.stderr
    assert "which config=demo sets for another backbone; left out" in done.stderr
    assert "kept from config=demo: backbone.hidden_size=64" in done.stderr


def test_the_backbone_of_the_recipe_loses_nothing():
    for recipe in RECIPES_OF_DNA:
        whole, choices = composed("train", [f"config={recipe}"])
        own = f"backbone={choices['backbone']}"
        again, _ = composed("train", [f"config={recipe}", own])
        assert again == whole


def test_given_settings_are_dotted_names():
    found = given_settings(["sampler.begin=0.9", "+a.b=1", "backbone=dit", "~config", "x/y=z"])
    assert found == {"sampler.begin", "a.b", "backbone", "config", "x.y"}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["config=tiny", "seed=1"], "config=tiny,seed=1"),
        (["run='a b'", "data.fasta='\xfcn\xefc (1).fa'"], "data.fasta=\xfcn\xefc__1_.fa,run=a_b"),
        ([], "default"),
    ],
)
def test_the_folder_of_a_job_is_named_by_what_it_was_given(overrides, name):
    assert _folder_name(overrides) == name


def test_a_long_name_of_a_job_is_cut_and_stays_its_own():
    first, second = (_folder_name([f"x={'a' * 300}{n}"]) for n in (1, 2))
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= 255


def test_jobs_of_a_sweep_that_would_write_one_file_are_refused():
    check_apart([{"out": "a"}, {"out": "b"}], "sample")
    check_apart([{"out": "-"}, {"out": "-"}], "sample")
    check_apart([{"out": "a"}, {"out": "a"}], "evaluate")
    with pytest.raises(ConfigError, match=r"would write out=a; .* as in out=NAME_\$\{seed\}"):
        check_apart([{"out": "a"}, {"out": "a"}], "sample")


def test_settings_of_a_mixed_config_are_read():
    tree, _ = composed("train", ["config=demo", "backbone=caduceus_ps", "run_dir=x"])
    assert read_train_settings(tree).config.backbone_node["hidden_size"] == 64
