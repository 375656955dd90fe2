"""Which classes a config may name: `_target_` and the allow-list behind it.

A config may come from a stranger, inside a checkpoint. So not every class of the package is a
target: it is a settings class (a frozen dataclass, which only checks its values), a network (an
`nn.Module`) or, in the place `logger` alone, one of Lightning's loggers, or ours. A class of
another package is a target only if the user names that package (`trust=[mypackage]`); a file never
can.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Collection
from dataclasses import is_dataclass
from typing import Any

from torch import nn

from dnamdlm.errors import ConfigError

TARGET = "_target_"
ALLOWED_TARGETS = "dnamdlm."
ALLOWED_LOGGERS = "lightning.pytorch.loggers."
OWN_LOGGER = "dnamdlm.training.trackio_logger.TrackioLogger"
_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


def target_of(kind: type) -> str:
    """The name of a class as a config gives it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def resolve_target(name: object, path: str, trust: Collection[str] = ()) -> Any:
    """The class behind a dotted name from the allow-list.

    Args:
        name: dotted name of a class.
        path: dotted place in the tree, for messages.
        trust: top-level packages that the user allows besides this one.

    Raises:
        ConfigError: if the name is outside the allow-list, not defined there, or not a class.
    """
    allowed = ALLOWED_LOGGERS if path == "logger" else ALLOWED_TARGETS
    is_name = isinstance(name, str) and _DOTTED.fullmatch(name) is not None
    if not isinstance(name, str) or not is_name:
        raise ConfigError(
            f"{path}.{TARGET}={name!r} is not allowed; a target here must begin with {allowed}"
        )
    package = name.partition(".")[0]
    if path == "logger" and name == OWN_LOGGER:
        allowed = OWN_LOGGER.rpartition(".")[0] + "."
    if not name.startswith(allowed):
        if path == "logger" or package not in trust:
            raise ConfigError(
                f"{path}.{TARGET}={name!r} is not allowed; a target here must begin with {allowed}"
                + ("" if path == "logger" else f" or lie in a package that trust=[{package}] names")
            )
        allowed = f"{package}."
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{path}.{TARGET}={name} cannot be imported ({error}); check the name and whether its "
            "optional package is installed"
        ) from error
    if not inspect.isclass(found) or not f"{found.__module__}.".startswith(allowed):
        raise ConfigError(f"{path}.{TARGET}={name} is not a class of {allowed.rstrip('.')}")
    if path != "logger" and not _is_harmless(found):
        raise ConfigError(
            f"{path}.{TARGET}={name} is neither a settings class nor a network; see --help for "
            "the choices"
        )
    return found


def _is_harmless(found: type) -> bool:
    """Whether making one of these only checks values or fills memory."""
    if issubclass(found, nn.Module):
        return True
    return is_dataclass(found) and found.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
