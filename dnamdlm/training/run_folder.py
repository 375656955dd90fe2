"""The folder of one run: what it was made from, and whether it may be resumed."""

from __future__ import annotations

import json
import logging
import platform
import sys
import time
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from dnamdlm.data.data_source import source_of
from dnamdlm.data.files import complete_or_absent
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.checkpoint import (
    list_checkpoints,
    newest_valid,
    set_aside_newer,
    step_of_folder,
)
from dnamdlm.training.renamed_targets import with_present_names

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
RUN = "run.json"
METRICS = "metrics.csv"
# settings that change what a run displays or where it computes, not what it computes.
FREE_SETTINGS = (
    "run_dir",
    "debug",
    "trust",
    "threads",
    "logger",
    "resume",
    "overlap_report",
    "data.cache_dir",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.micro_batch_size",
    "trainer.num_workers",
    "trainer.keep_checkpoints",
    "trainer.checkpoint_every",
    "trainer.max_minutes",
)


def open_run(
    run_dir: Path,
    tree: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    allow: Collection[str] = (),
    only_check: bool = False,
) -> Path | None:
    """Record a new run, or check that this is the run that the folder holds.

    Args:
        run_dir: the claimed run folder.
        tree: the resolved config.
        data: description of the data with its `fingerprint`.
        allow: settings, or groups of them, that may differ from the recorded ones; `data` also
            lets the content of the data differ.
        only_check: write nothing and look at no checkpoint.

    Returns:
        The checkpoint to resume from, or None at the beginning.

    Raises:
        ConfigError: if the folder holds a run of another config or of other data.
        CheckpointError: if it holds checkpoints and none of them verifies.
    """
    recorded = read_run_config(run_dir)
    changes: dict[str, Any] = {}
    if recorded is not None:
        changes = _changes(run_dir, recorded, tree, allow)
        before = read_run(run_dir).get("data", {}).get("fingerprint")
        if before is not None and before != data["fingerprint"]:
            if "data" not in allow:
                raise ConfigError(
                    f"run_dir={run_dir} was trained on other data (the content of "
                    f"{source_of(data)} has changed); choose another run_dir, or give "
                    "resume.allow=[data] to resume with the new content"
                )
            changes["data"] = [before, data["fingerprint"]]
    if only_check:
        return None
    checkpoint = _newest(run_dir)
    if recorded is not None and changes:
        _record_changes(run_dir, tree, data, changes, step_of(checkpoint))
    elif recorded is None:
        run = {
            "command": sys.argv,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": versions(),
            "data": dict(data),
            "seed": tree["seed"],
        }
        write_text(run_dir / RUN, json.dumps(run, indent=1) + "\n")
        write_text(run_dir / CONFIG, yaml.safe_dump(dict(tree), sort_keys=False))
    return checkpoint


def _newest(run_dir: Path) -> Path | None:
    folder = run_dir / "checkpoints"
    checkpoint = newest_valid(folder)
    number = len(list_checkpoints(folder))
    if checkpoint is None and number:
        raise CheckpointError(
            f"none of the {number} checkpoints in {folder} verifies; move the folder "
            "elsewhere to start again, or choose another run_dir"
        )
    if checkpoint is not None:
        set_aside_newer(folder, checkpoint)
    return checkpoint


def _record_changes(
    run_dir: Path,
    tree: Mapping[str, Any],
    data: Mapping[str, Any],
    changes: Mapping[str, Any],
    step: int,
) -> None:
    """Record the present settings, and from which step on which of them were different before."""
    run = read_run(run_dir)
    run["data"] = dict(data)
    run.setdefault("changes", []).append({"step": step, "changed": dict(changes)})
    write_text(run_dir / RUN, json.dumps(run, indent=1) + "\n")
    write_text(run_dir / CONFIG, yaml.safe_dump(dict(tree), sort_keys=False))
    for key, (before, now) in changes.items():
        logger.warning("from step %d on %s is %r instead of %r", step, key, now, before)


def read_run_config(run_dir: Path) -> dict[str, Any] | None:
    """The resolved config of a run folder, or None where there is none."""
    path = run_dir / CONFIG
    if not path.is_file():
        return None
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read; choose another run_dir") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is not a config; choose another run_dir")
    return with_present_names(tree)


def read_run(run_dir: Path) -> dict[str, Any]:
    """The record of a run: command, versions, data; empty where there is none."""
    path = run_dir / RUN
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read; choose another run_dir") from error
    return record


def _changes(
    run_dir: Path, recorded: Mapping[str, Any], tree: Mapping[str, Any], allow: Collection[str]
) -> dict[str, Any]:
    """Settings that differ and may differ, with both values; others are refused."""
    before, now = _flat(recorded), _flat(tree)
    for name in allow:
        if not any(_is_within(key, name) for key in before.keys() | now.keys()):
            raise ConfigError(f"resume.allow names {name}, which is not a setting of this run")
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and not any(_is_within(key, free) for free in FREE_SETTINGS)
    ]
    refused = [key for key in changed if not any(_is_within(key, name) for name in allow)]
    if refused:
        shown = ", ".join(
            f"{key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in refused[:5]
        )
        more = f", and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise ConfigError(
            f"run_dir={run_dir} holds a run of another config ({shown}{more}); choose another "
            "run_dir, give the same settings, or name those that may change, as in "
            f"resume.allow=[{refused[0]}]"
        )
    return {key: [before.get(key), now.get(key)] for key in changed}


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    with complete_or_absent(path) as partial:
        partial.write_text(text, encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of everything that decides the bytes of a result."""
    packages = ("dnamdlm", "torch", "lightning", "numpy", "hydra-core")
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        **found,
    }


def step_of(checkpoint: Path | None) -> int:
    """Optimizer steps that a checkpoint folder holds, from its name."""
    return step_of_folder(checkpoint) if checkpoint else 0
