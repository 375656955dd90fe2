"""`--help` of every command, with every recipe and option: each key once, with what it means."""

import functools
import re
import subprocess
import sys

import pytest

from dnamdlm.__main__ import ENTRIES
from dnamdlm.composing import composed
from dnamdlm.help_text import entry_help, shown
from dnamdlm.setting_files import RECIPES, config_folder, groups_of, options_of

CHOICES = [
    (entry, f"{group}={option}")
    for entry in ENTRIES
    for group in groups_of(config_folder(entry), entry)
    for option in options_of(config_folder(entry), group)
]


@functools.cache
def help_of(entry, *settings):
    return entry_help(config_folder(entry), entry, *composed(entry, settings))


def settings_in(text):
    """Dotted key -> (value, what follows it), of the settings of a help text."""
    part = re.split(r"Settings \(.*\):\n", text)[1].split("\n\n")[0]
    # what a line has no room for stands below it.
    lines = re.sub(r"\n {6,}", " ", part).splitlines()
    found = [re.fullmatch(r"  ([a-z_0-9.]+)=(.*?)(?:\s{2,}|\s(?=[A-Za-z]))(.*)", line)
             for line in (f"{line}  " for line in lines)]  # fmt: skip
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    keys = [match[1] for match in found]
    assert len(keys) == len(set(keys))
    return {match[1]: (match[2], match[3].strip()) for match in found}


def leaves(tree, prefix=""):
    for key, value in tree.items():
        if key == "_target_":
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        elif value != {}:
            yield f"{prefix}{key}"


@pytest.mark.parametrize(
    ("entry", "choice"), [*((entry, None) for entry in ENTRIES), *CHOICES], ids=str
)
def test_help_has_each_key_once_and_says_what_it_means(entry, choice):
    settings = [choice] if choice else []
    tree, described = composed(entry, settings)
    found = settings_in(entry_help(config_folder(entry), entry, tree, described))
    groups = groups_of(config_folder(entry), entry)
    wanted = {key for key in leaves(tree) if key not in groups}
    # genomes of a mixture are shown as one setting.
    wanted = {"data.genomes" if key.startswith("data.genomes.") else key for key in wanted}
    assert found.keys() == wanted
    assert [key for key, (_, text) in found.items() if not text] == []


@pytest.mark.parametrize(
    ("entry", "choice", "key", "value"),
    [
        ("train", "config=genome", "trainer.max_steps", "5000"),
        ("train", "config=hg38_cpu", "backbone.directions", "add"),
        ("train", "config=text", "data.layout", "packed"),
        ("train", "backbone=caduceus_ps", "backbone.exchange_strands", "false"),
        ("train", "trainer.max_steps=7", "trainer.max_steps", "7"),
        ("sample", "sampler=entropy_bounded", "sampler.bound", "5.0"),
        ("finetune", "config=table", "data.train", "???"),
        ("finetune", "config=glue", "training.batch_size", "32"),
    ],
)
def test_help_shows_the_values_of_what_is_chosen(entry, choice, key, value):
    assert settings_in(help_of(entry, choice))[key][0] == value


def test_help_lists_every_recipe_and_every_option():
    for entry, choice in CHOICES:
        group, _, option = choice.partition("=")
        text = help_of(entry)
        listed = rf"^  {option}\b" if group == RECIPES else rf"^  {group}=[^A-Z]*\b{option}\b"
        assert re.search(listed, text, flags=re.MULTILINE), choice


def test_values_are_shown_as_they_are_typed():
    assert shown(None) == "null"
    assert shown(True) == "true"
    assert shown(["a", 1]) == "[a,1]"
    assert shown({"a": 1, "b": 2}) == "{a, b}"


def _run(entry, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"dnamdlm.{entry}", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--help", "sampler=remask"], ["sampler=remask", "--help"], ["sampler=remask", "-h"]],
    ids=" ".join,
)
def test_help_may_stand_in_any_place(arguments):
    done = _run("sample", *arguments)
    assert done.returncode == 0, done.stderr
    assert settings_in(done.stdout)["sampler.eta"][0] == "0.02"


def test_help_of_an_unknown_choice_is_one_sentence():
    done = _run("train", "--help", "config=hg83")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dnamdlm: config=hg83 is unknown (did you mean hg38?)")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cfg", "job", "config=tiny", "seed=9"],
        ["config=tiny", "--cfg", "job", "seed=9"],
        ["config=tiny", "seed=9", "--cfg=job"],
    ],
    ids=" ".join,
)
def test_the_composed_config_is_printed_wherever_cfg_stands(arguments):
    done = _run("train", *arguments)
    assert done.returncode == 0, done.stderr
    assert "\nseed: 9\n" in f"\n{done.stdout}"
    assert "run_dir: runs/${name}" in done.stdout
    resolved = _run("train", *arguments, "--resolve")
    assert "run_dir: runs/tiny" in resolved.stdout
