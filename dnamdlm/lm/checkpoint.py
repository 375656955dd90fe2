"""Checkpoint folders: files that name their own hashes, and are either whole or not there.

A checkpoint is a folder with a `manifest.json` that lists size and SHA-256 of every other file. It
is written under a temporary name in the same directory, synced to disk, and renamed last, so that
a crash leaves either the old checkpoint or the new one. Nothing is pickled: tensors are safetensors
and the rest is JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import CheckpointError

FORMAT_VERSION = 1
WEIGHTS = "weights.safetensors"
AVERAGE = "average.safetensors"
MODEL = "model.json"
MANIFEST = "manifest.json"
FILES = "files"
"""Key of a description: name -> text of further files of a checkpoint."""
_PARTIAL_PREFIX = ".partial-"
_DAMAGED_PREFIX = "damaged_"
_NAME = re.compile(r"step_(\d{9,})")

logger = logging.getLogger(__name__)

Writer = Callable[[Path], None]


def write_folder(target: Path, writers: Mapping[str, Writer]) -> Path:
    """Write a checkpoint folder so that it appears whole or not at all.

    Args:
        target: the final folder; replaced if it exists.
        writers: file name -> function that writes that file.

    Raises:
        CheckpointError: if the disk is full or read-only; earlier checkpoints stay as they are.
    """
    partial = target.parent / f"{_PARTIAL_PREFIX}{target.name}-{os.getpid()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        files: dict[str, dict[str, str | int]] = {}
        for name, write in writers.items():
            write(partial / name)
            _sync(partial / name)
            files[name] = {
                "bytes": (partial / name).stat().st_size,
                "sha256": file_hash(partial / name),
            }
        manifest = {"format_version": FORMAT_VERSION, "files": files}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="ascii")
        _sync(partial / MANIFEST)
        _sync(partial)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
        _sync(target.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"{target} cannot be written ({_reason(error)}); free or choose another place "
            "with run_dir=DIR, earlier checkpoints are untouched"
        ) from error
    return target


def _reason(error: OSError | SafetensorError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # safetensors wraps the message of the system: "...: No space left on device (os error 28)".
    return re.sub(r" \(os error \d+\)$", "", str(error)).rpartition(": ")[2]


def verify_folder(folder: Path) -> None:
    """Check every file of a checkpoint against its manifest before anything is used.

    Raises:
        CheckpointError: naming the file that is missing, of another size, of another content or
            not one of the checkpoint's own.
    """
    files = _read_manifest(folder)
    foreign = _foreign_files(folder, files)
    if foreign:
        raise CheckpointError(
            f"{folder / foreign[0]} is not named in {MANIFEST}; move it elsewhere or use another "
            "checkpoint"
        )
    for name, expected in files.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise CheckpointError(f"{path} is missing; use another checkpoint")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise CheckpointError(
                f"{path} has {size} bytes instead of {expected['bytes']}; it was cut short or "
                "replaced, use another checkpoint"
            )
        if file_hash(path) != expected["sha256"]:
            raise CheckpointError(
                f"{path} does not have the content it was written with (SHA-256 differs); take "
                "another checkpoint"
            )


def _foreign_files(folder: Path, files: Mapping[str, Any]) -> list[str]:
    """Files in a checkpoint folder that its manifest does not name; hidden files are ignored."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in files and path.name != MANIFEST and not path.name.startswith(".")
    )


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """File name -> size and SHA-256."""
    path = folder / MANIFEST
    try:
        manifest = read_json_file(path)
        version, files = manifest["format_version"], manifest["files"]
        is_whole = all(
            isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str)
            for entry in files.values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} is not a dnamdlm checkpoint: {MANIFEST} is missing or unreadable"
        ) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has checkpoint format {version}, this version reads {FORMAT_VERSION}; "
            "use the version of dnamdlm that wrote it"
        )
    if not is_whole or any("/" in name or name.startswith(".") for name in files):
        raise CheckpointError(f"{path} names no files or files elsewhere; use another checkpoint")
    return files


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders in `folder`, oldest first, finished ones only."""
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return sorted(found, key=step_of_folder)


def step_of_folder(folder: Path) -> int:
    """Optimizer steps behind a checkpoint folder of a run, from its name."""
    name = _NAME.fullmatch(folder.name)
    if name is None:
        raise CheckpointError(f"{folder} is not named like a checkpoint, step_ and nine digits")
    return int(name.group(1))


def verify_checkpoint(folder: Path) -> None:
    """Verify a checkpoint of a run, and that its step is that of its name.

    Raises:
        CheckpointError: naming the faulty file.
    """
    verify_folder(folder)
    description = read_description(folder / MODEL) if (folder / MODEL).is_file() else {}
    step = description.get("step", step_of_folder(folder))
    if step != step_of_folder(folder):
        raise CheckpointError(
            f"{folder} holds step {step}, which differs from its name; use another checkpoint"
        )


def newest_valid(folder: Path) -> Path | None:
    """The newest checkpoint that verifies; damaged ones are skipped with a warning."""
    for path in reversed(list_checkpoints(folder)):
        try:
            verify_checkpoint(path)
        except CheckpointError as error:
            logger.warning("skipped a checkpoint: %s", error)
            continue
        return path
    return None


def set_aside_newer(folder: Path, good: Path) -> None:
    """Rename the damaged checkpoints after `good`, so that a run can write them again."""
    for path in list_checkpoints(folder):
        if step_of_folder(path) > step_of_folder(good):
            aside = path.with_name(_DAMAGED_PREFIX + path.name)
            number = 1
            while aside.exists():
                number += 1
                aside = path.with_name(f"{_DAMAGED_PREFIX}{path.name}_{number}")
            path.rename(aside)
            logger.warning("%s is kept as %s and may be deleted", path, aside.name)


def remove_checkpoint_folder(folder: Path) -> bool:
    """Delete a checkpoint folder, unless it contains a file that its manifest does not name.

    Returns:
        Whether it was deleted.

    Raises:
        CheckpointError: if it has no readable manifest.
        OSError: if the folder cannot be deleted.
    """
    if _foreign_files(folder, _read_manifest(folder)):
        return False
    # with this name it is not a checkpoint, wherever a crash interrupts the deletion.
    doomed = folder.with_name(_PARTIAL_PREFIX + folder.name)
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
    return True


def remove_partial(folder: Path) -> None:
    """Remove the remains of interrupted writes; finished checkpoints stay."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(_PARTIAL_PREFIX):
                shutil.rmtree(path, ignore_errors=True)


def tensors_writer(tensors: Mapping[str, Tensor]) -> Writer:
    """A writer of tensors as safetensors; they are copied to the CPU when it is called."""

    def write(path: Path) -> None:
        # copies, since safetensors refuses tied tensors that share memory.
        plain = {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in tensors.items()
        }
        # safetensors lets nobody else read its files, whatever the umask.
        path.touch()
        mode = stat.S_IMODE(path.stat().st_mode)
        save_file(plain, path)
        path.chmod(mode)

    return write


def json_writer(content: Any) -> Writer:
    """A writer of one JSON document."""

    def write(path: Path) -> None:
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="ascii")

    return write


def text_writer(content: str) -> Writer:
    """A writer of a text as UTF-8, byte for byte."""

    def write(path: Path) -> None:
        path.write_bytes(content.encode("utf-8"))

    return write


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: if the file is absent or malformed.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors; use another checkpoint"
        ) from error


def read_json(path: Path) -> Any:
    """Content of a JSON file of a checkpoint.

    Raises:
        CheckpointError: if the file is absent or malformed.
    """
    try:
        return read_json_file(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error})") from error


def read_description(path: Path, **kinds: type) -> dict[str, Any]:
    """Content of a JSON file of a checkpoint that has to have some keys.

    Args:
        path: the file.
        kinds: key -> type of its value.

    Raises:
        CheckpointError: if the file is absent or malformed, or lacks one of the keys.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a description of a model; use another checkpoint")
    check_keys(content, path, **kinds)
    return content


def check_keys(content: Mapping[str, Any], path: Path, **kinds: type) -> None:
    """Refuse a description that lacks a key or has a value of another kind.

    Args:
        content: the description.
        path: the file that it is from, for the message.
        **kinds: key -> type of its value.

    Raises:
        CheckpointError: naming the first key.
    """
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(
                f"{path} has no {key} of the kind that dnamdlm writes; use another checkpoint"
            )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
