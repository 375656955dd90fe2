"""Settings and records of a run for other people: without the folders and commands of a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COMMAND = "command"
_FOLDERS = ("cache_dir",)


def without_folders(tree: Any) -> Any:
    """A tree of settings or records in which every path is a file name, without command lines.

    >>> without_folders({"command": ["train"], "data": {"fasta": "../genomes/g.fa", "length": 64}})
    {'data': {'fasta': 'g.fa', 'length': 64}}
    """
    if isinstance(tree, Mapping):
        return {
            key: None if key in _FOLDERS else without_folders(value)
            for key, value in tree.items()
            if key != _COMMAND
        }
    if isinstance(tree, list | tuple):
        return [without_folders(item) for item in tree]
    if isinstance(tree, str) and _is_local(tree):
        return Path(tree).name
    return tree


def _is_local(text: str) -> bool:
    """Whether a text is a path of this machine; a name of the hub, as ORGANISATION/NAME, is not."""
    is_path = "/" in text and "\n" not in text and "://" not in text
    return is_path and (text.startswith(("/", "~", ".")) or os.path.lexists(text))
