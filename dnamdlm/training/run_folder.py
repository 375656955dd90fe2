"""The folder of one run: what it was made from, and whether it may be resumed."""

from __future__ import annotations

import copy
import json
import logging
import platform
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from dnamdlm.data.data_source import source_of
from dnamdlm.data.files import keep_aside, write_text
from dnamdlm.data.json_files import JsonError, read_json_text
from dnamdlm.data.yaml_text import YamlError, read_yaml_text
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.lm.checkpoint import (
    MODEL,
    list_checkpoints,
    newest_valid,
    read_json,
    set_aside_newer,
    step_of_folder,
)
from dnamdlm.training.renamed_targets import with_present_names
from dnamdlm.training.run_changes import changed_settings
from dnamdlm.training.surroundings import difference, instruction_set

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
RUN = "run.json"
METRICS = "metrics.csv"
LOCK = ".lock"
# settings of which a resumed run has no use.
_AT_START = ("init_from",)
# groups of settings; something else in their place is damage.
_GROUPS = ("data", "backbone", "noise", "times", "lm", "optimizer", "learning_rate", "trainer")


def open_run(
    run_dir: Path,
    tree: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    allow: Collection[str] = (),
    only_check: bool = False,
    device: str | None = None,
    loss: str | None = None,
) -> Path | None:
    """Record a new run, or check that this is the run that the folder holds.

    Args:
        run_dir: the claimed run folder.
        tree: the resolved config.
        data: description of the data with its `fingerprint`.
        allow: settings, or groups of them, that may differ from the recorded ones; `data` also
            lets the content of the data differ.
        only_check: write nothing and look at no checkpoint.
        device: kind of the device that computes, for the record.
        loss: by what the loss is compiled, for the record; None where it is not.

    Returns:
        The checkpoint to resume from, or None at the beginning.

    Raises:
        ConfigError: if the folder holds a run of another config or of other data.
        CheckpointError: if it holds checkpoints and none of them verifies.
        DataError: if the records of the run cannot be written.
    """
    stored, run = _stored_config(run_dir), _stored_run(run_dir)
    changes: dict[str, Any] = {}
    if stored.tree is not None:
        changes = changed_settings(run_dir, stored.tree, tree, allow)
        before = (run or {}).get("data", {}).get("fingerprint")
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
    if checkpoint is not None and (idle := [key for key in _AT_START if key in changes]):
        raise ConfigError(
            f"{idle[0]} is of use at the beginning of a run, and run_dir={run_dir} is at step "
            f"{step_of(checkpoint)}; leave it as it was, or choose another run_dir"
        )
    is_new = stored.tree is None
    known = {"device": device, "loss": loss}
    present = versions() | {name: text for name, text in known.items() if text is not None}
    record = _new_record(tree, data, present) if run is None or is_new else copy.deepcopy(run)
    if not is_new:
        _note_resumption(record, data, changes, step_of(checkpoint), present)
        if run is None:
            logger.warning(
                "%s was missing or damaged and is written anew; whether the data are those of the "
                "earlier steps is not known", run_dir / RUN,
            )  # fmt: skip
    if record != run:
        _store(run_dir / RUN, json.dumps(record, indent=1) + "\n", is_damaged=run is None)
    if is_new or changes or not stored.is_intact:
        text = yaml.safe_dump(dict(tree), sort_keys=False)
        _store(run_dir / CONFIG, text, is_damaged=not stored.is_intact)
    return checkpoint


def _new_record(
    tree: Mapping[str, Any], data: Mapping[str, Any], present: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": dict(present),
        "data": dict(data),
        "seed": tree["seed"],
    }


def _note_resumption(
    record: dict[str, Any],
    data: Mapping[str, Any],
    changes: Mapping[str, Any],
    step: int,
    present: Mapping[str, str],
) -> None:
    """Add to the record of a run what is different from this step on, and say so."""
    if changes:
        record["data"] = dict(data)
        record.setdefault("changes", []).append({"step": step, "changed": dict(changes)})
    for key, (before, now) in changes.items():
        logger.warning("from step %d on %s is %r instead of %r", step, key, now, before)
    earlier = [record["versions"], *(entry["versions"] for entry in record.get("resumed", []))]
    if not step:
        record["versions"] = dict(present)
    elif (other := difference(earlier[-1], present)) is not None:
        record.setdefault("resumed", []).append({"step": step, "versions": dict(present)})
        logger.warning(
            "from step %d on the run has %s, so that its weights will differ from those of an "
            "unbroken run by rounding", step, other,
        )  # fmt: skip


def record_uncompiled(run_dir: Path) -> None:
    """Record that the loss of a run is not compiled, as was begun, because the compiler failed.

    Args:
        run_dir: with the record of `open_run`.

    Raises:
        DataError: if the record cannot be written.
    """
    record = _stored_run(run_dir)
    if record is None:
        return
    entries = [record, *record.get("resumed", [])]
    if entries[-1]["versions"].pop("loss", None) is not None:
        _store(run_dir / RUN, json.dumps(record, indent=1) + "\n", is_damaged=False)


def _store(path: Path, text: str, *, is_damaged: bool) -> None:
    if is_damaged and path.exists():
        logger.warning("%s was damaged and is kept as %s", path, keep_aside(path).name)
    write_text(path, text)


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


@dataclass(frozen=True)
class _StoredConfig:
    """The config of a run folder, or of its newest checkpoint where config.yaml is not intact."""

    tree: dict[str, Any] | None
    is_intact: bool


def _stored_config(run_dir: Path) -> _StoredConfig:
    path = run_dir / CONFIG
    text = _text_of(path)
    is_absent = text is None
    try:
        tree = None if text is None else read_yaml_text(text)
    except YamlError:
        tree = None
    if _is_config(tree):
        return _StoredConfig(with_present_names(tree), is_intact=True)
    checkpoint = newest_valid(run_dir / "checkpoints")
    if checkpoint is not None and (checkpoint / MODEL).is_file():
        description = read_json(checkpoint / MODEL)
        tree = description.get("config") if isinstance(description, dict) else None
        if _is_config(tree):
            fault = "is missing" if is_absent else "is damaged"
            logger.warning("%s %s; the settings are read from %s", path, fault, checkpoint)
            return _StoredConfig(with_present_names(tree), is_intact=False)
    return _StoredConfig(None, is_intact=is_absent)


def _is_config(tree: Any) -> bool:
    """Whether a tree has the form of a config."""
    return (
        isinstance(tree, dict)
        and bool(tree)
        and all(isinstance(key, str) for key in tree)
        and all(isinstance(tree.get(name) or {}, Mapping) for name in _GROUPS)
    )


def read_run_config(run_dir: Path) -> dict[str, Any] | None:
    """The resolved config of a run folder, or None where there is none.

    Where config.yaml is missing or damaged, it is that of the newest checkpoint.

    Raises:
        ConfigError: if it is damaged, and no checkpoint has one.
        DataError: if the system does not give it.
    """
    stored = _stored_config(run_dir)
    if stored.tree is None and not stored.is_intact:
        raise ConfigError(
            f"{run_dir / CONFIG} is damaged, and no checkpoint holds its settings; train again "
            f"with run_dir={run_dir}, which begins the run anew, or choose another run_dir"
        )
    return stored.tree


def read_run(run_dir: Path) -> dict[str, Any]:
    """The record of a run: command, versions, data; empty where there is none.

    Raises:
        ConfigError: if it is damaged.
        DataError: if the system does not give it.
    """
    run = _stored_run(run_dir)
    if run is None and (run_dir / RUN).exists():
        raise ConfigError(
            f"{run_dir / RUN} is damaged; give the command that trained the run once more, which "
            "writes the file anew and repeats no step"
        )
    return run or {}


def _stored_run(run_dir: Path) -> dict[str, Any] | None:
    """The record of a run; None where it is missing or damaged."""
    text = _text_of(run_dir / RUN)
    try:
        run = None if text is None else read_json_text(text)
    except JsonError:
        return None
    parts = ("data", "versions")
    if not isinstance(run, dict) or not all(isinstance(run.get(k, {}), dict) for k in parts):
        return None
    return {"versions": {}, **run}


def _text_of(path: Path) -> str | None:
    """Content of a file; None where it is missing, and nothing where it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); check the file and its folder"
        ) from error


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
        "instruction_set": instruction_set(),
        **found,
    }


def step_of(checkpoint: Path | None) -> int:
    """Optimizer steps that a checkpoint folder holds, from its name."""
    return step_of_folder(checkpoint) if checkpoint else 0


class FolderWatch:
    """Notices that a run folder was moved, replaced or emptied while a run writes into it.

    Args:
        run_dir: the folder, as it is when the run begins.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._identity = _identity(run_dir)
        self._lock = _identity(run_dir / LOCK)
        self._has_config = (run_dir / CONFIG).exists()

    def fault(self) -> str | None:
        """What has become of the folder, in words; None where it is as it was."""
        try:
            return self._fault()
        except OSError:
            # a server that does not answer for a moment has lost nothing.
            return None

    def _fault(self) -> str | None:
        found = _identity(self.run_dir)
        if found is None:
            return "was moved or deleted"
        if found != self._identity:
            return "was replaced by another folder"
        if self._has_config and not (self.run_dir / CONFIG).exists():
            return f"has lost its {CONFIG}"
        if self._lock is not None and _identity(self.run_dir / LOCK) != self._lock:
            return "has lost its lock"
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file or folder is, whatever its name; None where there is nothing."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
