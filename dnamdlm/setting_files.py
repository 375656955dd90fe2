"""What the YAML files say of settings: the comment above a file, and those of its keys.

A comment belongs to the key in its line, or to the one below it. So help and completion are made
from the files that commands read, and cannot be stale.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = "# @package "
_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z_]\w*):(?P<rest>.*)")
_NOT_SETTINGS = ("defaults", "hydra")
_TARGET = "_target_"
_PACKAGE_FOLDER = Path(__file__).resolve().parent
RECIPES = "config"
"""The group whose options set values in all others."""


def config_folder(name: str = "") -> Path:
    """The folder of YAML files: inside an installed package, else next to it in a checkout.

    Args:
        name: entry; one with recipes of its own has its primary config and groups in a folder of
            that name.
    """
    installed = _PACKAGE_FOLDER / "configs"
    folder = installed if installed.is_dir() else _PACKAGE_FOLDER.parent / "configs"
    return folder / name if (folder / name / f"{name}.yaml").is_file() else folder


@dataclass(frozen=True)
class SettingFile:
    """A YAML file of settings.

    Attributes:
        about: lines of the comment that it begins with.
        notes: dotted key -> its comment, empty where it has none.
        bases: files of the same folder that it begins from.
        groups: group -> the option that it chooses.
        package: dotted key that its settings lie under; None is the name of its group.
    """

    about: tuple[str, ...]
    notes: Mapping[str, str]
    bases: tuple[str, ...]
    groups: Mapping[str, str]
    package: str | None = None

    @property
    def leaves(self) -> tuple[str, ...]:
        """Keys that have a value rather than further keys."""
        inner = {key.rpartition(".")[0] for key in self.notes}
        return tuple(key for key in self.notes if key not in inner)

    @property
    def sentence(self) -> str:
        """The first sentence of what it is about."""
        return re.split(r":\s|\.\s(?=[A-Z])", " ".join(self.about))[0].rstrip(".")


@functools.cache
def read_setting_file(path: Path) -> SettingFile:
    """Read the comments of a file."""
    lines = path.read_text(encoding="ascii").splitlines()
    about, start = _beginning(lines)
    notes: dict[str, str] = {}
    parents: list[str] = []
    above: list[str] = []
    for line in lines[start:]:
        match = _KEY.fullmatch(line)
        if match is None:
            is_comment = line.lstrip().startswith("# ")
            above = [*above, line.lstrip()[2:]] if is_comment else []
            continue
        parents = [*parents[: len(match["indent"]) // 2], match["key"]]
        note = re.split(r"(?:^|\s)# ", match["rest"], maxsplit=1)[1:]
        if parents[0] not in _NOT_SETTINGS and _TARGET not in parents:
            notes[".".join(parents)] = "; ".join(filter(None, [" ".join(above), *note]))
        above = []
    bases, groups = _defaults(yaml.safe_load("\n".join(lines)))
    packages = [line.removeprefix(_PACKAGE) for line in lines if line.startswith(_PACKAGE)]
    return SettingFile(about, notes, bases, groups, packages[0] if packages else None)


def _beginning(lines: list[str]) -> tuple[tuple[str, ...], int]:
    """The comment at the beginning, and the number of the line after it."""
    about: list[str] = []
    for number, line in enumerate(lines):
        if not line.startswith("# "):
            return tuple(about), number
        if not line.startswith(_PACKAGE):
            about.append(line[2:])
    return tuple(about), len(lines)


def _defaults(tree: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    bases: list[str] = []
    groups: dict[str, str] = {}
    for entry in (tree or {}).get("defaults", []):
        if isinstance(entry, str):
            bases += [entry] if entry != "_self_" else []
        else:
            ((group, option),) = entry.items()
            if not group.startswith("override hydra/"):
                groups[group.removeprefix("override").strip(" /")] = option
    return tuple(bases), groups


def groups_of(folder: Path, name: str) -> dict[str, str]:
    """Group -> default option of a primary config, in the order of its files.

    Args:
        folder: the folder of YAML files.
        name: entry and primary config.
    """
    file = read_setting_file(folder / f"{name}.yaml")
    groups: dict[str, str] = {}
    for base in file.bases:
        groups |= groups_of(folder, base)
    return {**groups, **file.groups}


def options_of(folder: Path, group: str) -> list[str]:
    """Options of a group."""
    return sorted(path.stem for path in (folder / group).glob("*.yaml"))


def files_of(folder: Path, group: str, option: str) -> list[SettingFile]:
    """The file of an option, after those that it begins from."""
    path = folder / group / f"{option}.yaml"
    if not path.is_file():
        return []
    file = read_setting_file(path)
    before = [found for base in file.bases for found in files_of(folder, group, base)]
    return [*before, file]


def notes_of(folder: Path, name: str, choices: Mapping[str, str]) -> dict[str, str]:
    """Dotted key of a command -> what its files say of it.

    What an option says of its keys counts more than what a recipe says of the values it gives them.

    Args:
        folder: the folder of YAML files.
        name: entry and primary config.
        choices: group -> chosen option.
    """
    found: dict[str, str] = {}
    for group in (RECIPES, *(group for group in choices if group != RECIPES)):
        for file in files_of(folder, group, choices.get(group, "")):
            prefix = "" if group == RECIPES else f"{file.package or group}."
            found |= {f"{prefix}{key}": note for key, note in file.notes.items() if note}
    own = read_setting_file(folder / f"{name}.yaml").notes
    return found | {key: note for key, note in own.items() if note}


def keys_of_option(folder: Path, group: str, option: str) -> dict[str, Any]:
    """What an option holds, with what it begins from, as nested keys and their values."""
    path = folder / group / f"{option}.yaml"
    tree: dict[str, Any] = {}
    for base in read_setting_file(path).bases:
        tree = _joined(tree, keys_of_option(folder, group, base))
    own = yaml.safe_load(path.read_text(encoding="ascii")) or {}
    return _joined(tree, {key: value for key, value in own.items() if key != "defaults"})


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _joined(first[key], second[key])
        for key in first.keys() & second.keys()
        if isinstance(first[key], dict) and isinstance(second[key], dict)
    }
    return first | second | both
