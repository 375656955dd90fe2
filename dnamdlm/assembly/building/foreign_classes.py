"""Classes of other packages in a config: what a checkpoint says of them, and when they are allowed.

A file never allows a class; `targets.resolve_target` imports one only if the user trusts its
package. This module explains to the user what a model needs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dnamdlm.assembly.building.class_targets import TARGET
from dnamdlm.assembly.building.object_nodes import OBSTACLE, is_foreign
from dnamdlm.errors import ConfigError

FOREIGN = "foreign"
"""Key of `model.json` with the classes of other packages."""
_PLACES = ("backbone", "noise", "times", "lm")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForeignClass:
    """A class of another package in the config of a model.

    Attributes:
        place: dotted place of its node.
        module: where it is defined.
        name: its name within the module.
        arguments: its constructor arguments, as far as they are known.
        obstacle: why it cannot be built from the config, or None.
    """

    place: str
    module: str
    name: str
    arguments: Mapping[str, Any]
    obstacle: str | None

    @property
    def package(self) -> str:
        """Its top-level package."""
        return self.module.partition(".")[0]

    def record(self) -> dict[str, Any]:
        """What `model.json` says of it."""
        return {
            "place": self.place,
            "module": self.module,
            "class": self.name,
            "package": self.package,
            "version": version_of(self.package),
            "arguments": None if self.obstacle else dict(self.arguments),
        }


def foreign_classes(tree: Mapping[str, Any]) -> list[ForeignClass]:
    """Classes of other packages in the model of a config, and others that cannot be rebuilt."""
    return [found for place in _PLACES for found in _within(tree.get(place), place)]


def _within(node: Any, place: str) -> Iterator[ForeignClass]:
    if not isinstance(node, Mapping):
        return
    if is_foreign(node.get(TARGET)) or OBSTACLE in node:
        module, _, name = str(node[TARGET]).rpartition(".")
        arguments = {key: value for key, value in node.items() if key not in (TARGET, OBSTACLE)}
        obstacle = str(node[OBSTACLE]) if OBSTACLE in node else None
        yield ForeignClass(place, module, name, arguments, obstacle)
    for key, value in node.items():
        yield from _within(value, f"{place}.{key}")


def version_of(package: str) -> str | None:
    """The installed version of the distribution of an importable package, or what it says itself.

    The package is not imported for it.
    """
    for distribution in metadata.packages_distributions().get(package, ()):
        return metadata.version(distribution)
    own = getattr(sys.modules.get(package), "__version__", None)
    return own if isinstance(own, str) else None


def check_foreign(
    description: Mapping[str, Any],
    tree: Mapping[str, Any],
    folder: Path,
    *,
    trust: Collection[str],
    has_backbone: bool,
) -> None:
    """Refuse a model whose classes are not allowed, or cannot be built, before it is built.

    Args:
        description: content of `model.json`.
        tree: its config.
        folder: of the checkpoint.
        trust: packages that the user allows.
        has_backbone: whether the user gave the network.

    Raises:
        ConfigError: naming the class, its package and what to do.
    """
    for found in foreign_classes(tree):
        if has_backbone and found.place.startswith("backbone"):
            continue
        full = f"{found.module}.{found.name}"
        if found.obstacle is not None:
            raise ConfigError(
                f"{folder} was trained with the class {full}, which cannot be rebuilt from it: "
                f"{found.obstacle}; give the network to dnamdlm.load as backbone="
            )
        recorded = _recorded_version(description, found.package)
        if found.package not in trust:
            version = "" if recorded is None else f" {recorded}"
            raise ConfigError(
                f"{folder} needs the class {full} of the package {found.package}{version}, whose "
                f"code runs when it is loaded; if you trust it, say trust=[{found.package}], or "
                "give the network to dnamdlm.load as backbone="
            )
        installed = version_of(found.package)
        if recorded is not None and installed not in (None, recorded):
            logger.warning(
                "%s was trained with %s %s, and %s is installed",
                folder, found.package, recorded, installed,
            )  # fmt: skip


def _recorded_version(description: Mapping[str, Any], package: str) -> str | None:
    records = description.get(FOREIGN)
    for record in records if isinstance(records, list) else ():
        if isinstance(record, Mapping) and record.get("package") == package:
            version = record.get("version")
            return version if isinstance(version, str) else None
    return None
