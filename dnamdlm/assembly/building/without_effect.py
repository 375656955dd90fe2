"""Settings that were given and change nothing: one mechanism for all entries.

A settings class, a network or a language model may have a method `without_effect`, which maps the
names of its own settings that have no effect, given the others, to the reason. What was given on
the command line, or from Python with another value than the default, is refused if it is among
them; a recipe may hold such values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from dnamdlm.errors import ConfigError


def changed_from_default(settings: Any, prefix: str = "") -> frozenset[str]:
    """Dotted names of the settings of a dataclass that differ from their defaults.

    These count as given where settings come from Python.

    Args:
        settings: an instance of a dataclass; groups within it are looked into.
        prefix: put before each name.
    """
    found: set[str] = set()
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{prefix}{field.name}"
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(value) and type(value) is type(default):
            found |= changed_from_default(value, f"{name}.")
        elif default is not dataclasses.MISSING and value != default:
            found.add(name)
    return frozenset(found)


def reasons_of(settings: Any, prefix: str = "") -> dict[str, str]:
    """Dotted name of each setting without effect, and why, for an object and the groups within.

    Args:
        settings: a settings object or a module.
        prefix: put before each name, such as `sampler.`.
    """
    found: dict[str, str] = {}
    own = getattr(settings, "without_effect", None)
    if own is not None:
        found |= {f"{prefix}{name}": reason for name, reason in own().items()}
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                found |= reasons_of(value, f"{prefix}{field.name}.")
    return found


def refuse_without_effect(given: Collection[str], reasons: Mapping[str, str]) -> None:
    """Refuse the first setting that was given and has no effect.

    Args:
        given: dotted names of what the user gave; a group stands for itself.
        reasons: dotted name of a setting or group without effect -> why, the end of a sentence.

    Raises:
        ConfigError: naming the setting and the reason.
    """
    for name in sorted(given):
        for key, reason in reasons.items():
            if name == key or name.startswith(f"{key}."):
                raise ConfigError(f"{name} was given but has no effect: {reason}; leave it out")
