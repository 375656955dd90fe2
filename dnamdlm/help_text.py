"""The text of `--help`: what a command is for, its groups, and every setting with its value.

It is made from the composed config, so it shows the values of the recipe and of the options that
were chosen, and from the comments of the YAML files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnamdlm.setting_files import (
    RECIPES,
    files_of,
    groups_of,
    notes_of,
    options_of,
    read_setting_file,
)

_COLUMNS = 100
_KEY_WIDTH, _GROUP_WIDTH = 34, 18
_MISSING = "???"
_MOST_LETTERS = 60


def entry_help(folder: Path, name: str, tree: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """Usage, recipes, groups and every key with its value and its unit or meaning.

    Args:
        folder: the folder of YAML files.
        name: entry and primary config.
        tree: the composed config, not resolved.
        choices: group -> option in that config; a recipe only where one was chosen.
    """
    groups = groups_of(folder, name)
    blocks = [
        f"usage: python -m dnamdlm.{name} key=value ...",
        "\n".join(read_setting_file(folder / f"{name}.yaml").about),
        "Options, in any place: --help this text, of the recipe and the groups that are given with "
        "it;\n--cfg job prints the composed config; -m sweeps over key=a,b.\n"
        "Exit codes: 0 done, 1 failed, 2 mistake in the input, 128+n stopped by signal n.",
    ]
    if RECIPES in groups:
        blocks.append("\n".join(_recipes(folder, choices)))
    if lines := list(_groups(folder, groups, choices)):
        blocks.append("\n".join(["Groups (group=option):", *lines]))
    notes = notes_of(folder, name, choices)
    settings = list(_settings(tree, notes, ""))
    # those of the command itself come first.
    settings.sort(key=lambda pair: pair[0].partition(".")[0] in groups)
    settings = [pair for pair in settings if pair[0] not in groups]
    head = f"Settings (key=value; {_MISSING} has to be given):"
    blocks.append("\n".join([head, *(_line(*pair, notes) for pair in settings)]))
    if RECIPES in groups and RECIPES not in choices:
        blocks.append(
            "A recipe sets and adds values; "
            f"python -m dnamdlm.{name} --help config=NAME shows them."
        )
    return "\n\n".join(blocks)


def _recipes(folder: Path, choices: Mapping[str, str]) -> Iterator[str]:
    yield "Recipes (config=NAME):"
    for option in options_of(folder, RECIPES):
        sentence = files_of(folder, RECIPES, option)[-1].sentence
        yield _wrapped(f"  {option}", sentence, _GROUP_WIDTH + 4)
    if RECIPES in choices:
        chosen = choices[RECIPES]
        yield ""
        yield f"config={chosen} is shown here:"
        yield from files_of(folder, RECIPES, chosen)[-1].about


def _groups(folder: Path, groups: Mapping[str, str], choices: Mapping[str, str]) -> Iterator[str]:
    for group, default in groups.items():
        if group == RECIPES:
            continue
        yield _wrapped(f"  {group}=", "|".join(options_of(folder, group)), _GROUP_WIDTH)
        chosen = choices.get(group, default)
        word = "default" if chosen == default else "chosen"
        about = " ".join(files_of(folder, group, chosen)[-1].about)
        yield _wrapped("", f"{word} {chosen}" + (f": {about}" if about else ""), _GROUP_WIDTH)


def _settings(
    tree: Mapping[str, Any], notes: Mapping[str, str], prefix: str
) -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values, as far down as there are comments of their own."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key == "_target_":
            continue
        has_inner = any(note.startswith(f"{name}.") for note in notes)
        if isinstance(value, Mapping) and value and (has_inner or not notes.get(name)):
            yield from _settings(value, notes, f"{name}.")
        else:
            yield name, value


def _line(name: str, value: Any, notes: Mapping[str, str]) -> str:
    return _wrapped(f"  {name}={shown(value)}", notes.get(name, ""), _KEY_WIDTH + 3)


def _wrapped(head: str, text: str, width: int) -> str:
    """A text behind a head, in a column of its own."""
    head = head if len(head) < width else f"{head} "
    lines = textwrap.wrap(
        text, _COLUMNS, initial_indent=f"{head:<{width}}", subsequent_indent=" " * width,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines) if lines else head.rstrip()


def shown(value: Any) -> str:
    """A value as it is written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        names = ", ".join(map(str, value))
        return f"{{{textwrap.shorten(names, _MOST_LETTERS, placeholder=' ...')}}}"
    return str(value)
