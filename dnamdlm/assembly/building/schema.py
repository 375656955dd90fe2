"""Nodes of a config tree to objects: an allow-list of targets and a closed schema.

A node is a mapping with `_target_`, the dotted name of a class. Its other keys are the arguments of
that class, so the signature is the schema: an unknown key, a wrong type or a missing argument is
refused before anything is built.

A config may come from a stranger, inside a checkpoint. So not every class of the package is a
target: it is a settings class (a frozen dataclass, which only checks its values), a network (an
`nn.Module`) or, in the place `logger` alone, one of Lightning's loggers.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import typing
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from dnamdlm.data.data_source import SettingsOf
from dnamdlm.errors import ConfigError

ALLOWED_TARGETS = "dnamdlm."
ALLOWED_LOGGERS = "lightning.pytorch.loggers."
TARGET = "_target_"
_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


def resolve_target(name: object, path: str) -> Any:
    """The class behind a dotted name from the allow-list.

    Raises:
        ConfigError: if the name is outside the allow-list, not defined there, or no class.
    """
    allowed = ALLOWED_LOGGERS if path == "logger" else ALLOWED_TARGETS
    is_name = isinstance(name, str) and _DOTTED.fullmatch(name) is not None
    if not isinstance(name, str) or not is_name or not name.startswith(allowed):
        raise ConfigError(
            f"{path}.{TARGET}={name!r} is not allowed; a target here must begin with {allowed}"
        )
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{path}.{TARGET}={name} cannot be imported ({error}); check the name and whether its "
            "optional package is installed"
        ) from error
    if not inspect.isclass(found) or not found.__module__.startswith(allowed):
        raise ConfigError(f"{path}.{TARGET}={name} is no class of {allowed.rstrip('.')}")
    if allowed == ALLOWED_TARGETS and not _is_harmless(found):
        raise ConfigError(
            f"{path}.{TARGET}={name} is neither a settings class nor a network; see --help for "
            "what can be chosen"
        )
    return found


def _is_harmless(found: type) -> bool:
    """Whether making one of these only checks values or fills memory."""
    if issubclass(found, nn.Module):
        return True
    return is_dataclass(found) and found.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]


def check_node(node: object, path: str, provided: Collection[str] = ()) -> None:
    """Check one node, and the nodes within it, against the signatures of their targets.

    Args:
        node: mapping with `_target_`.
        path: dotted place of the node in the tree, for messages.
        provided: arguments that code supplies and a config may not.

    Raises:
        ConfigError: naming the key as the user typed it.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path}={node!r} must be a group of settings with {TARGET}")
    _check_arguments(resolve_target(node.get(TARGET), path), node, path, provided)


def _check_arguments(
    target: Any, node: Mapping[Any, Any], path: str, provided: Collection[str]
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
            check_node(value, name)
        else:
            check_value(value, annotation_of(target, key), name)
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
    source = target if key in getattr(target, "__annotations__", {}) else target.__init__
    try:
        return typing.get_type_hints(source).get(key, Any)
    except NameError:
        return Any


def check_value(value: object, annotation: Any, path: str) -> None:
    """Check one leaf against its annotation; text is not read as a number here.

    Raises:
        ConfigError: with the value, the type that was wanted and the key.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        try:
            # lists are written where tuples are wanted, and 1 where 1.0 is.
            adapter.validate_json(adapter_json(value), strict=True)
        except ValidationError as error:
            detail = error.errors()[0]["msg"].lower()
            raise ConfigError(f"{path}={value} is not allowed: {detail}") from error


def adapter_json(value: object) -> bytes:
    """A plain value as JSON bytes."""
    return TypeAdapter(Any).dump_json(value)


def unknown_key(name: str, known: Collection[str]) -> ConfigError:
    """The error for a key that no code reads, with the nearest right name."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    return ConfigError(f"{name} is no setting{hint}; see --help")


def build(node: Mapping[str, Any], path: str, **provided: Any) -> Any:
    """Check a node and call its target; nodes within it are built first.

    Args:
        node: mapping with `_target_`.
        path: dotted place in the tree, for messages.
        provided: further arguments.
    """
    check_node(node, path, provided)
    target = resolve_target(node[TARGET], path)
    arguments = {
        key: build(value, f"{path}.{key}")
        if isinstance(value, Mapping) and TARGET in value
        else tuple(value)
        if isinstance(value, list)
        else value
        for key, value in node.items()
        if key != TARGET
    }
    return target(**arguments, **provided)


def check_keys(
    tree: Mapping[str, Any], types: Mapping[str, Any], nodes: Collection[str] = ()
) -> None:
    """Check the top level of an entry's tree.

    Args:
        tree: the composed tree.
        types: allowed plain keys and their types.
        nodes: allowed keys whose values are nodes or null.

    Raises:
        ConfigError: for an unknown key, a missing key or a wrong type.
    """
    known = [*types, *nodes]
    for key, value in tree.items():
        if key in types:
            check_value(value, types[key], key)
        elif key not in nodes:
            raise unknown_key(key, known)
    for key in known:
        if key not in tree:
            raise ConfigError(f"{key} is not set; give it as {key}=VALUE")
