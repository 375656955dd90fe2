"""Nodes of a config tree to objects: a closed schema.

A node is a mapping with `_target_`, the dotted name of a class. Its other keys are the arguments of
that class, so the signature is the schema: an unknown key, a wrong type or a missing argument is
refused before anything is built.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from dnamdlm.assembly.building.class_targets import TARGET, resolve_target
from dnamdlm.assembly.building.field_types import check_value, listed
from dnamdlm.data.data_source import SettingsOf
from dnamdlm.errors import ConfigError
from dnamdlm.suggestions import did_you_mean


def check_node(
    node: object, path: str, provided: Collection[str] = (), trust: Collection[str] = ()
) -> None:
    """Check one node, and the nodes within it, against the signatures of their targets.

    Args:
        node: mapping with `_target_`.
        path: dotted place of the node in the tree, for messages.
        provided: arguments that code supplies and a config may not.
        trust: further packages whose classes may be named.

    Raises:
        ConfigError: naming the key as the user typed it.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path}={node!r} must be a group of settings with {TARGET}")
    _check_arguments(resolve_target(node.get(TARGET), path, trust), node, path, provided, trust)


def _check_arguments(
    target: Any,
    node: Mapping[Any, Any],
    path: str,
    provided: Collection[str],
    trust: Collection[str] = (),
) -> None:
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in provided
    }
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key, value in node.items():
        if key == TARGET:
            continue
        name = f"{path}.{key}"
        if key not in parameters:
            if not open_ended:
                raise unknown_key(name, [f"{path}.{known}" for known in parameters])
        elif isinstance(value, Mapping) and TARGET in value:
            check_node(value, name, trust=trust)
        else:
            annotation = annotation_of(target, key)
            check_value(listed(value, annotation), annotation, name)
            if isinstance(value, Mapping):
                _check_groups(target, key, value, name)
    for key, parameter in parameters.items():
        is_named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if is_named and parameter.default is parameter.empty and key not in node:
            raise ConfigError(f"{path}.{key} is not set; give it as {path}.{key}=VALUE")


def _check_groups(target: Any, key: str, value: Mapping[Any, Any], path: str) -> None:
    """Check each group of a setting that is marked as groups of settings of one class."""
    hints = typing.get_type_hints(target, include_extras=True)
    for mark in getattr(hints.get(key), "__metadata__", ()):
        if isinstance(mark, SettingsOf):
            for name, group in value.items():
                _check_arguments(mark.target, group, f"{path}.{name}", mark.provided)


def annotation_of(target: Any, key: str) -> Any:
    """The type of one argument of a class; Any where its types name a package that is missing."""
    hints: dict[str, Any] = {}
    # fields of a dataclass may come from a base class in another module than its constructor.
    for source in (target.__init__, target):
        with suppress(NameError):
            hints |= typing.get_type_hints(source, include_extras=True)
    return hints.get(key, Any)


def unknown_key(name: str, known: Collection[str]) -> ConfigError:
    """The error for a key that no code reads, with the nearest right name."""
    return ConfigError(f"{name} is not a setting{did_you_mean(name, known)}; see --help")


def build(
    node: Mapping[str, Any], path: str, trust: Collection[str] = (), /, **provided: Any
) -> Any:
    """Check a node and call its target; nodes within it are built first.

    Args:
        node: mapping with `_target_`.
        path: dotted place in the tree, for messages.
        trust: further packages whose classes may be named.
        provided: further arguments.
    """
    check_node(node, path, provided, trust)
    target = resolve_target(node[TARGET], path, trust)
    arguments = {
        key: _argument(target, key, value, f"{path}.{key}", trust)
        for key, value in node.items()
        if key != TARGET
    }
    return target(**arguments, **provided)


def _argument(target: Any, key: str, value: Any, path: str, trust: Collection[str]) -> Any:
    if isinstance(value, Mapping) and TARGET in value:
        return build(value, path, trust)
    value = listed(value, annotation_of(target, key))
    return tuple(value) if isinstance(value, list) else value
