"""The folder `NAME.parts` next to a result, in which the parts of it are collected.

`manifest.json` says what the parts are parts of: the command, the model, the content of the inputs,
the settings that matter, how the batches are cut, and how many shards there are. Each part holds
the SHA-256 of its own content and that of the manifest. Several processes, also on several
machines, may work in one folder: each shard has a lock, and so has the folder.

A folder is removed manifest first: without one, what is in it is of no use to anybody.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from dnamdlm.data.file_locks import acquired
from dnamdlm.data.files import write_bytes
from dnamdlm.data.json_files import JsonError, read_json_file
from dnamdlm.data.parts.cutting import Cut, Shard
from dnamdlm.errors import ConfigError, DataError

MANIFEST = "manifest.json"
FORMAT = 1
HASHED = "sha256:"
"""What the values of an identity begin with that stand for a content."""
_ENDING = ".parts"
_LOCK = "folder.lock"
_PART, _SHARD_LOCK = "part-{:06d}", "shard-{}.lock"
_OWN = re.compile(r"(part-\d{6,}|(folder|shard-\d+)\.lock(\.soft)?|manifest\.json)", re.ASCII)
_PARTIAL = re.compile(r"\.(part-\d{6,}|manifest\.json)\.partial-\d+", re.ASCII)
# a file name may have 255 bytes.
_NAME_BYTES = 240
_TRIES = 5


@dataclass(frozen=True)
class Manifest:
    """What parts are parts of.

    Attributes:
        entry: name of the command.
        identity: name of a setting, or what stands for it, -> its value; parts of another identity
            are parts of another result. Values that stand for a content begin with `HASHED`.
        head: what the parts need to be joined, as JSON.
        num_batches: of the command.
        per_part: batches of a part.
        shards: how many shards there are.
    """

    entry: str
    identity: Mapping[str, Any]
    head: Mapping[str, Any]
    num_batches: int
    per_part: int
    shards: int

    @property
    def cut(self) -> Cut:
        """How the batches are cut."""
        return Cut(self.num_batches, self.per_part)

    @property
    def content(self) -> bytes:
        """The file."""
        return (json.dumps({"format": FORMAT, **vars(self)}, indent=1) + "\n").encode("ascii")

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()


def folder_of(target: str | Path) -> Path:
    """The folder of the parts of a file; of a link, next to the file that it points to."""
    path = Path(os.path.realpath(target))
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    return path.with_name(name + _ENDING)


def part_path(folder: Path, number: int) -> Path:
    """The file of a part."""
    return folder / _PART.format(number)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none.

    Raises:
        DataError: if it is damaged, or of another version.
    """
    path = folder / MANIFEST
    try:
        found = read_json_file(path)
        if found["format"] != FORMAT:
            raise DataError(
                f"{path} is of another version of dnamdlm; use that, or remove {folder}"
            )
        fields = {name: found[name] for name in Manifest.__dataclass_fields__}
        numbers = [int(fields[name]) for name in ("num_batches", "per_part", "shards")]
        if min(numbers[1:]) < 1 or not all(isinstance(fields[x], dict) for x in _GROUPS):
            raise ValueError("out of range")
        return Manifest(**fields)
    except FileNotFoundError:
        return None
    except DataError:
        raise
    except (JsonError, KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path} is damaged; remove the folder {folder} and start anew") from error


_GROUPS = ("identity", "head")


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Make a folder of parts and hold it, so that no other process begins or ends one.

    Raises:
        DataError: if it cannot be made, or holds anything else than parts.
    """
    lock = _held(folder)
    try:
        foreign = [path.name for path in folder.iterdir() if not _is_own(path.name)]
        if foreign:
            raise DataError(
                f"{folder} holds {sorted(foreign)[0]!r}, which is not a part of a result; move it "
                "elsewhere or choose another out"
            )
        yield
    finally:
        with suppress(OSError):
            lock.release()


def _held(folder: Path) -> BaseFileLock:
    try:
        for _ in range(_TRIES):
            folder.mkdir(exist_ok=True)
            # the one who held it may have removed it.
            with suppress(FileNotFoundError):
                lock = acquired(folder / _LOCK)
                if folder.is_dir():
                    return lock
                lock.release()
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be used ({error.strerror}); choose another out"
        ) from error
    raise DataError(f"the folder {folder} is removed again and again; choose another out")


def _is_own(name: str) -> bool:
    return bool(_OWN.fullmatch(name) or _PARTIAL.fullmatch(name))


def begin(folder: Path, manifest: Manifest, *, keeps_cut: bool) -> Manifest:
    """Write a manifest, or find the one that is there already; the folder is held.

    Args:
        folder: of the parts.
        manifest: what is to be computed.
        keeps_cut: take the size of parts that the folder has.

    Raises:
        ConfigError: if its parts are of another result, or cut otherwise.
        DataError: if it is damaged, or cannot be written.
    """
    found = read_manifest(folder)
    if found is None:
        for path in folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        write_bytes(folder / MANIFEST, manifest.content)
        return manifest
    differences = list(_differences(found, manifest, keeps_cut=keeps_cut))
    if differences:
        raise ConfigError(
            f"{folder} holds parts of another command ({', '.join(differences[:4])}); give the "
            "same settings and inputs, choose another out, or remove the folder"
        )
    return found


def _differences(before: Manifest, now: Manifest, *, keeps_cut: bool) -> Iterator[str]:
    pairs = [("the command", before.entry, now.entry)]
    names = [*before.identity, *(name for name in now.identity if name not in before.identity)]
    pairs += [(name, before.identity.get(name), now.identity.get(name)) for name in names]
    pairs.append(("the number of shards", before.shards, now.shards))
    if not keeps_cut:
        pairs.append(("the size of parts, in batches,", before.per_part, now.per_part))
    for name, old, new in pairs:
        if old != new:
            hashed = isinstance(old, str) and old.startswith(HASHED)
            yield f"{name} has another content" if hashed else f"{name} was {old} and is now {new}"


@contextmanager
def claimed_shard(folder: Path, shard: Shard) -> Iterator[None]:
    """Hold a shard of a folder; no other process computes it within the block.

    Raises:
        ConfigError: if another process does.
        DataError: if the lock cannot be written.
    """
    path = folder / _SHARD_LOCK.format(shard.number)
    try:
        lock = acquired(path, timeout=0)
    except Timeout as error:
        what = f"shard {shard} of it" if shard.count > 1 else "it"
        raise ConfigError(
            f"{folder} is in use: another process computes {what}; wait for it, or choose another "
            "out"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); choose another out"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def is_claimed(folder: Path, shard: Shard) -> bool:
    """Whether a process computes a shard."""
    if not (folder / _SHARD_LOCK.format(shard.number)).exists():
        return False
    try:
        with claimed_shard(folder, shard):
            return False
    except ConfigError:
        return True


def remove_folder(folder: Path) -> None:
    """Remove a folder of parts that is held, manifest first."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _LOCK):
        if _is_own(path.name):
            path.unlink(missing_ok=True)
    # whatever else lies there by now is not ours.
    with suppress(OSError):
        folder.rmdir()
