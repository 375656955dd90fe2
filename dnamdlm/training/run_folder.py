"""The folder of one run: who owns it, what it was made from, and whether it may be continued."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import newest_valid, remove_partial

CONFIG = "config.yaml"
RUN = "run.json"
_LOCK = ".lock"
# settings that change what a run shows or where it computes, not what it computes.
FREE_SETTINGS = (
    "run_dir",
    "debug",
    "logger",
    "data.cache_dir",
    "trainer.accelerator",
    "trainer.num_workers",
    "trainer.keep_checkpoints",
    "trainer.checkpoint_every",
)


@contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Hold the run folder for this process; the lock of a dead process is void.

    Raises:
        ConfigError: if the folder cannot be written or another process trains in it.
    """
    try:
        if run_dir.is_symlink() and not run_dir.exists():
            raise ConfigError(f"run_dir={run_dir} is a broken link; choose another folder")
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_dir / _LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"run_dir={run_dir} is in use by another training process; wait for it or choose "
            "another folder"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"run_dir={run_dir} cannot be written ({error.strerror}); choose a folder where you "
            "may write"
        ) from error
    try:
        remove_partial(run_dir / "checkpoints")
        yield
    finally:
        lock.release()


def open_run(run_dir: Path, tree: Mapping[str, Any], data: Mapping[str, Any]) -> Path | None:
    """Record a new run, or check that this is the run which the folder holds.

    Args:
        run_dir: the claimed run folder.
        tree: the resolved config.
        data: description of the data with its `fingerprint`.

    Returns:
        The checkpoint to continue from, or None at the beginning.

    Raises:
        ConfigError: if the folder holds a run of another config or of other data.
    """
    recorded = read_run_config(run_dir)
    if recorded is not None:
        _refuse_other_config(run_dir, recorded, tree)
        before = read_run(run_dir).get("data", {}).get("fingerprint")
        if before is not None and before != data["fingerprint"]:
            raise ConfigError(
                f"run_dir={run_dir} was trained on other data (the content of {data['fasta']} has "
                "changed); choose another run_dir"
            )
    else:
        run = {
            "command": sys.argv,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": versions(),
            "data": dict(data),
            "seed": tree["seed"],
        }
        _write_text(run_dir / RUN, json.dumps(run, indent=1) + "\n")
        _write_text(run_dir / CONFIG, yaml.safe_dump(dict(tree), sort_keys=False))
    return newest_valid(run_dir / "checkpoints")


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
        raise ConfigError(f"{path} holds no config; choose another run_dir")
    return tree


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


def _refuse_other_config(
    run_dir: Path, recorded: Mapping[str, Any], tree: Mapping[str, Any]
) -> None:
    before, now = _flat(recorded), _flat(tree)
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and not any(key == free or key.startswith(f"{free}.") for free in FREE_SETTINGS)
    ]
    if changed:
        shown = ", ".join(
            f"{key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in changed[:5]
        )
        more = f", and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise ConfigError(
            f"run_dir={run_dir} holds a run of another config ({shown}{more}); choose another "
            "run_dir or give the same settings"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def versions() -> dict[str, str]:
    """Versions of what decides the bytes of a result."""
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
    return int(checkpoint.name.removeprefix("step_")) if checkpoint else 0
