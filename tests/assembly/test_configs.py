"""Every YAML file composes, every key is read by code, and mistakes get one clear sentence."""

import difflib
import random
import re
import string
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from dnamdlm.composing import known_keys, repeated_key
from dnamdlm.errors import ConfigError
from dnamdlm.setting_files import config_folder
from tests.helpers.entries import build_language_model, check_tree

FOLDER = config_folder()
# recipes, and the folders of entries that have recipes of their own
NO_GROUPS = ("config", "finetune")
GROUPS = sorted(
    path.name for path in FOLDER.iterdir() if path.is_dir() and path.name not in NO_GROUPS
)
TEXT_RECIPES = sorted(
    path.stem
    for path in (FOLDER / "config").glob("*.yaml")
    if path.stem.startswith(("lm1b", "openwebtext", "text", "wikitext2"))
)
RECIPES = sorted(
    path.stem for path in (FOLDER / "config").glob("*.yaml") if path.stem not in TEXT_RECIPES
)
# what the recipe for tables has no value for.
MEASURED = ["data.table=x.csv", "data.numbers=y", "data.length=8"]
OPTIONS = [
    f"{group}={path.stem}" for group in GROUPS for path in sorted((FOLDER / group).glob("*.yaml"))
]


def compose(*overrides, name="train"):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(FOLDER)):
        config = hydra.compose(config_name=name, overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=True)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_passes_the_closed_schema(recipe):
    overrides = ["data.fasta=x.fa"] if recipe in ("genome", "hg38_cpu", "quick") else []
    overrides += MEASURED if recipe in ("measured", "noisy_regression") else []
    check_tree(compose(f"config={recipe}", *overrides))


@pytest.mark.parametrize("recipe", TEXT_RECIPES)
def test_every_recipe_of_text_passes_the_closed_schema(recipe):
    check_tree(compose(f"config={recipe}", "data.corpus=x"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_builds_shrunk_to_tiny(recipe):
    fasta = [] if recipe.startswith("species10") else ["data.fasta=x.fa"]
    fasta = MEASURED if recipe in ("measured", "noisy_regression") else fasta
    tree = compose(f"config={recipe}", *fasta, "backbone.hidden_size=8", "backbone.num_blocks=1")
    lm = build_language_model(tree, seed=1)
    assert sum(parameter.numel() for parameter in lm.parameters()) > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_composes_and_passes(option):
    group, _, choice = option.partition("=")
    if group == "sampler":
        tree = compose(option, "model=x", "out=y", name="sample")
        assert tree["sampler"]["_target_"]
    elif choice == "trackio":
        check_tree(compose("config=tiny", option))
    elif choice in ("tensorboard", "wandb", "mlflow"):
        assert compose("config=tiny", option)["logger"]["_target_"].startswith("lightning.")
    elif option == "data=text":
        check_tree(compose("config=text", "data.corpus=x"))
    elif option == "data=table":
        check_tree(compose("config=measured", *MEASURED))
    elif option == "data=tilted":
        weighed = ("data.table=x.csv", "data.temperature=1.0", "data.length=8")
        check_tree(compose("config=measured", option, "backbone.num_numbers=0", *weighed))
    elif choice == "mixture":
        genomes = "data.genomes={a:{fasta:x.fa}}"
        check_tree(compose("config=genome", option, "data.length=8", genomes))
    else:
        check_tree(compose("config=tiny", option))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+trainer.max_stpes=3",
            r"trainer\.max_stpes is not a setting \(did you mean trainer\.max_steps",
        ),
        ("+max_steps=3", "max_steps is not a setting"),
        ("trainer.max_steps=ten", r"trainer\.max_steps=ten"),
        ("trainer.max_steps=1.5", r"trainer\.max_steps=1\.5"),
        ("seed=-1", "seed=-1"),
        ("data.valid=[chrXV, 3]", r"data\.valid"),
        ("data.jitter=1", r"data\.jitter=1"),
        ("noise._target_=os.system", r"noise\._target_"),
    ],
    ids=lambda value: value.split("=")[0] if "=" in value else None,
)
def test_a_mistake_is_refused_before_anything_is_opened(override, message):
    with pytest.raises(ConfigError, match=message):
        check_tree(compose("config=tiny", override))


def _typo(word, rng):
    position = rng.randrange(len(word))
    letter = rng.choice(string.ascii_lowercase)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:position] + word[position + 1 :]
    if kind == 1:
        return word[:position] + letter + word[position:]
    return word[:position] + letter + word[position + 1 :]


def test_appended_typos_are_always_refused_and_mostly_corrected():
    rng = random.Random(7)
    tree = compose("config=tiny")
    places = [
        (group, key) for group in tree if isinstance(tree[group], dict) for key in tree[group]
    ]
    places = [place for place in places if place[1] != "_target_"]
    corrected = 0
    for _ in range(200):
        group, key = rng.choice(places)
        wrong = _typo(key, rng)
        while wrong in tree[group] or not wrong:
            wrong = _typo(key, rng)
        changed = tree | {group: tree[group] | {wrong: tree[group][key]}}
        with pytest.raises(ConfigError) as caught:
            check_tree(changed)
        corrected += f"did you mean {group}.{key}?" in str(caught.value)
    assert corrected >= 180


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("data.genomes={a:{fasta:x},b:{fasta:y}}", None),
        ("data.genomes={a:{fasta:x},a:{fasta:y}}", "a"),
        ("data.genomes={a:{fasta:x, fasta : y}}", "fasta"),
        ("data.genomes={a:{fasta:'{b:1,b:2}'}}", None),
        ("data.fasta=a:b:a:b", None),
    ],
)
def test_a_key_that_is_given_twice_in_braces_is_found(argument, key):
    assert repeated_key(argument) == key


def test_known_keys_hold_groups_and_dotted_settings():
    keys = known_keys("train", ["config=tiny"])
    assert {"config", "backbone", "trainer.max_steps"} <= set(keys)
    assert difflib.get_close_matches("trainer.max_stpes", keys, n=1) == ["trainer.max_steps"]


def _run(entry, *arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", f"dnamdlm.{entry}", *arguments],
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config=tiny", "trainer.max_stpes=3"], "did you mean trainer.max_steps?"),
        (["config=hg83"], "did you mean hg38?"),
        ([], "choose a recipe with config=NAME"),
        (["config=tiny", "backbone=dti"], "did you mean dit?"),
        (["config=genome"], "data.fasta"),
        pytest.param(
            ["config=tiny", "data.fasta=no/such.fa"], "no/such.fa", marks=pytest.mark.slow
        ),
        (["config=tiny", "x=["], "cannot be read"),
        (["config=hg38"], "python -m data_prep.hg38 out=data/hg38"),
    ],
    ids=["typo", "recipe", "nothing", "backbone", "no value", "no file", "syntax", "no genome"],
)
def test_the_command_line_says_one_sentence_and_exits_2(tmp_path, arguments, message):
    result = _run("train", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entry", ["train", "evaluate", "sample", "report"])
def test_help_lists_the_settings_without_loading_torch(entry):
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        f"runpy.run_module('dnamdlm.{entry}', run_name='__main__')\n"
        "assert 'torch' not in sys.modules and 'lightning' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "Settings (key=value; " in result.stdout
    primary = (Path(FOLDER) / f"{entry}.yaml").read_text()
    settings = re.findall(r"^([a-z_]+): [^ #]", primary, flags=re.MULTILINE)
    assert settings
    assert all(f"  {name}=" in result.stdout for name in settings)
