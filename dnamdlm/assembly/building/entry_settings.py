"""A composed config tree to the settings object of an entry.

Each entry has one frozen dataclass. Its fields are the keys of the entry's YAML file, with the same
defaults (a test compares them); the annotations hold types and ranges. Beyond this package nothing
reads the tree.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from dnamdlm.assembly.building.class_targets import TARGET
from dnamdlm.assembly.building.field_types import check_value, is_plain, listed
from dnamdlm.assembly.building.schema import build, unknown_key
from dnamdlm.assembly.building.without_effect import reasons_of, refuse_without_effect
from dnamdlm.errors import ConfigError

Settings = TypeVar("Settings")

SUPPLIED = ("given", "record")
"""Fields that are filled here, and are not keys of the tree."""
OF_COMMAND: Mapping[str, Any] = {"debug": bool}
"""Keys of every entry that only the command line reads."""


def read_settings(
    kind: type[Settings],
    tree: Mapping[str, Any],
    given: Collection[str] = (),
    *,
    left_out: Collection[str] = (),
) -> Settings:
    """The settings of an entry.

    Args:
        kind: its frozen dataclass. A field `given`, if there is one, gets the names below, and a
            field `record` the tree as it is, to be written down.
        tree: the resolved config tree.
        given: dotted names of the settings that the user gave on the command line.
        left_out: keys of the tree that are read from `record` elsewhere.

    Raises:
        ConfigError: for an unknown key, a missing key, a wrong type, a value out of range, or a
            setting that was given and has no effect.
    """
    for key, annotation in OF_COMMAND.items():
        if key in tree:
            check_value(tree[key], annotation, key)
    kept = {key: value for key, value in tree.items() if key not in {*OF_COMMAND, *left_out}}
    supplied = {"given": frozenset(given), "record": dict(tree)}
    settings = _from_mapping(kind, kept, "", supplied)
    refuse_without_effect(given, reasons_of(settings))
    return settings


def keys_of(kind: Any) -> dict[str, Any]:
    """Field name -> annotation, without what code supplies."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(kind)
        if field.name not in SUPPLIED and field.init
    }


def _from_mapping(
    kind: type[Settings], tree: Mapping[str, Any], prefix: str, supplied: Mapping[str, Any]
) -> Settings:
    fields = keys_of(kind)
    for key in tree:
        if key not in fields:
            raise unknown_key(f"{prefix}{key}", [f"{prefix}{known}" for known in fields])
    values: dict[str, Any] = {}
    for key, annotation in fields.items():
        name = f"{prefix}{key}"
        if key not in tree:
            raise ConfigError(f"{name} is not set; give it as {name}=VALUE")
        values[key] = _value(tree[key], annotation, name)
    own = {field.name for field in dataclasses.fields(typing.cast(Any, kind))}
    values |= {name: value for name, value in supplied.items() if name in own}
    return kind(**values)


def _value(value: Any, annotation: Any, name: str) -> Any:
    if isinstance(value, Mapping) and TARGET in value:
        return build(value, name)
    if not is_plain(annotation):
        group = _group(annotation)
        if group is not None and isinstance(value, Mapping):
            return _from_mapping(group, value, f"{name}.", {})
        if not value and type(None) in typing.get_args(annotation):
            return None
        raise ConfigError(f"{name}={value!r} must be a group of settings; see --help")
    value = listed(value, annotation)
    check_value(value, annotation, name)
    return tuple(value) if isinstance(value, list) else value


def _group(annotation: Any) -> Any:
    """The dataclass of a plain group of settings, or None where the group names its class."""
    for part in (annotation, *typing.get_args(annotation)):
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            return part
    return None
