"""What a config that came with a model may say about the machine that it is read on: nothing.

Whoever trained a model named places and commands of another machine. A folder of prepared genomes
is not made where a stranger's file says, and a command that somebody may paste into a shell is
shown only if it is one of this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# a module, and arguments without any sign that a shell acts on.
_OWN_COMMAND = re.compile(
    r"(python -m data_prep\.[a-z0-9_]+|dnamdlm prepare [a-z0-9_]+)( [A-Za-z0-9_.,/:=+@\[\]-]+)*"
)


def without_local_places(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the defaults in place of `data.cache_dir`, foreign commands and `lm.teacher`.

    >>> without_local_places({"data": {"cache_dir": "../cache", "length": 64}})
    {'data': {'cache_dir': None, 'length': 64}}
    """
    data, lm = tree.get("data"), tree.get("lm")
    cleaned = dict(tree)
    if isinstance(data, Mapping):
        cleaned["data"] = _cleaned(data)
    # a model that was distilled is used without its teacher.
    if isinstance(lm, Mapping) and "teacher" in lm:
        cleaned["lm"] = {**lm, "teacher": None}
    return cleaned


def _cleaned(group: Mapping[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, value in group.items():
        if key == "cache_dir":
            cleaned[key] = None
        elif key == "download_command":
            is_own = isinstance(value, str) and _OWN_COMMAND.fullmatch(value)
            cleaned[key] = value if is_own else None
        else:
            cleaned[key] = _cleaned(value) if isinstance(value, Mapping) else value
    return cleaned
