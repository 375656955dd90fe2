"""What a benchmark keeps between its calls: results, and the settings that they were made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.files import write_text
from dnamdlm.errors import ConfigError

_SETTINGS = "settings.json"

Piece = tuple[Path, Callable[[], Any]]
"""A file that is there once a piece of work is done, and how it is done."""


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What a JSON file holds, which is computed where there is none."""
    if not path.is_file():
        write_text(path, json.dumps(compute(), indent=1) + "\n")
    return read_kept(path)


def read_kept(path: Path) -> Any:
    """What a JSON file holds that is there."""
    return json.loads(path.read_text(encoding="utf-8"))


def worked(pieces: Iterable[Piece], most: int | None = None) -> bool:
    """Do pieces of work that are not done, in order; whether all are done now.

    Args:
        pieces: a generator may read what the pieces before have made.
        most: pieces that are done at most; None: all.

    >>> worked([(Path("no such file"), lambda: print("works"))], most=1)
    works
    True
    >>> worked([(Path("no such file"), lambda: print("works"))], most=0)
    False
    """
    done = 0
    for path, compute in pieces:
        if path.exists():
            continue
        if done == most:
            return False
        compute()
        done += 1
    return True


def of_settings(folder: Path, settings: Mapping[str, Any]) -> Path:
    """The folder within `folder` of results with these settings, which it records."""
    text = json.dumps(settings, sort_keys=True)
    found = folder / f"results_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    recorded(found, settings)
    return found


def recorded(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder with its settings, or check that it was made with the same ones.

    Args:
        folder: of runs.
        settings: values of JSON that decide what the runs are.

    Raises:
        ConfigError: if it was made with others, or holds files and says nothing of settings.
    """
    path = folder / _SETTINGS
    wanted = json.loads(json.dumps(settings))
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder} holds files without the settings that they were made with, as an "
                "earlier version of this benchmark left them; give another --runs"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    found = read_kept(path)
    for name in [*wanted, *found]:
        if found.get(name) != wanted.get(name):
            raise ConfigError(
                f"{folder} was made with {name}={found.get(name)}, and {name}={wanted.get(name)} "
                "is given now; give the same, or another --runs"
            )
