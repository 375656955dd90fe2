"""The check of a file that a command is to write, before anything is computed.

A target must never harm: it is not a file that the command reads, under whatever name or link, nor
one that belongs to a run, a checkpoint, a prepared genome or a prepared corpus.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.output_streams import STANDARD_OUTPUT, stream_of
from dnamdlm.data.path_kinds import (
    RUN_FILES,
    RUN_FOLDERS,
    is_fine_tuned,
    is_prepared,
    is_run,
    owner_of,
)
from dnamdlm.errors import ConfigError, DataError

_COMPRESSIONS = (".gz", ".bgz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip", ".7z")
# a checkpoint is the deepest of what lies in a run folder: run/checkpoints/step_1/file.
_DEPTH = 4
# settings that name what is written, or a folder that has its own way of writing.
_NOT_READ = ("out", "run_dir", "cache_dir")
# settings whose value may be a folder; elsewhere a word such as `test` only looks like one.
_FOLDERS_READ = (
    "model", "guide", "corpus", "folder", "tokenizer", "scorer", "reward", "audit", "head",
)  # fmt: skip


def check_target(
    path: str | Path,
    *,
    inputs: Iterable[str | Path | None] = (),
    endings: tuple[str, ...] = (),
    compressed: Collection[str] = (),
    setting: str = "out",
    within: Collection[str] = (),
    makes_folders: bool = False,
) -> str:
    """Refuse a target that cannot be written, or that would destroy something.

    Args:
        path: the target; `-` is standard output.
        inputs: what the command reads: files, folders, and texts that name neither.
        endings: allowed ends of the name, longer ones first; empty allows any.
        compressed: without `endings`, the compressions that the writer knows, such as `.gz`.
        setting: what the user calls the target, for messages.
        within: names of `RUN_FOLDERS` that the command may write into.
        makes_folders: missing folders are made later.

    Returns:
        The ending; for what is not a plain file and ends otherwise, the first one.

    Raises:
        ConfigError: for another ending, an input, or a file of a run or of prepared data.
        DataError: if it cannot be written.
    """
    path = Path(path)
    try:
        is_stream = stream_of(path) is not None
    except OSError as error:
        raise DataError(
            f"{setting}={path} cannot be used ({error.strerror}); choose another {setting}=FILE"
        ) from error
    ending = _ending(path, endings, compressed, setting, is_stream=is_stream)
    if str(path) == STANDARD_OUTPUT:
        return ending
    _check_kind(path, setting)
    if not is_stream:
        target = Path(os.path.realpath(path))
        _check_owner(path, target, setting, within)
        _check_folder(path, target.parent, setting, makes_folders=makes_folders)
    if (found := clash(path, inputs)) is not None:
        what = "is an input of the command" if found.is_file() else f"lies in the input {found}"
        raise ConfigError(f"{setting}={path} {what}; choose another {setting}=FILE")
    return ending


def check_new_folder(out: Path) -> None:
    """Refuse a folder that exists, or that would lie in a run.

    Raises:
        ConfigError: naming the folder, or the run.
    """
    if os.path.lexists(out):
        raise ConfigError(f"out={out} exists; choose a folder that does not")
    if (owner := owner_of(out)) is not None:
        raise ConfigError(f"out={out} belongs to the run in {owner}; choose another folder")


def check_run_folder(
    run_dir: Path, inputs: Iterable[str | Path | None], *, fine_tunes: bool = False
) -> None:
    """Refuse a run folder of another kind, and one whose files are among the inputs.

    Args:
        run_dir: the folder, which need not exist.
        inputs: what the command reads.
        fine_tunes: the command is `finetune`, rather than `train`.

    Raises:
        ConfigError: naming what the folder is, or the file.
    """
    inputs = list(inputs)
    for own in _own_files(run_dir):
        if (found := clash(own, inputs)) is not None and found.is_file():
            raise ConfigError(
                f"run_dir={run_dir} would write over the input {found}; choose another run_dir"
            )
    if (found := _other_kind(run_dir, fine_tunes=fine_tunes)) is not None:
        raise ConfigError(f"run_dir={run_dir} {found}; choose another run_dir")


def _other_kind(run_dir: Path, *, fine_tunes: bool) -> str | None:
    """What a folder is in which no run of this kind may be made."""
    if run_dir.exists() and not run_dir.is_dir():
        return "is a file"
    place = run_dir.resolve()
    for folder in (place, *list(place.parents)[:_DEPTH]):
        if is_prepared(folder):
            return f"lies in {folder}, which holds a checkpoint or prepared data and nothing else"
    if (owner := owner_of(run_dir)) is not None:
        return f"is a part of the run {owner}"
    if fine_tunes and is_run(run_dir) and (run_dir / "checkpoints").is_dir():
        return "is the folder of a training run"
    if not fine_tunes and is_fine_tuned(run_dir):
        return "is the folder of a fine-tuned run"
    return None


def inputs_of(settings: Any, key: str = "") -> list[str]:
    """All texts of settings, in groups of any depth, that may name an input.

    >>> inputs_of({"model": "runs/demo", "seed": 1, "out": "x.fa", "data": {"fasta": "genome.fa"}})
    ['runs/demo', 'genome.fa']

    Args:
        settings: a mapping, a dataclass, a sequence of such, or one value.
        key: what the value is called.
    """
    if dataclasses.is_dataclass(settings):
        names = [field.name for field in dataclasses.fields(settings) if field.name != "record"]
        settings = {name: getattr(settings, name) for name in names}
    if isinstance(settings, Mapping):
        kept = {name: value for name, value in settings.items() if name not in _NOT_READ}
        return [text for name, value in kept.items() for text in inputs_of(value, name)]
    if isinstance(settings, list | tuple):
        return [text for item in settings for text in inputs_of(item, key)]
    is_word = key not in _FOLDERS_READ and isinstance(settings, str) and os.path.isdir(settings)  # noqa: PTH112
    return [settings] if isinstance(settings, str) and not is_word else []


def clash(target: Path, inputs: Iterable[str | Path | None]) -> Path | None:
    """The input that a target is, by whatever name or link, or the input folder that holds it."""
    identity = _identity(target)
    if identity is None:
        return None
    for text in inputs:
        # not by `Path.expanduser`, which raises where there is no such user.
        found = Path(os.path.expanduser(text or ""))  # noqa: PTH111
        if not text or not os.path.lexists(found):
            continue
        if _identity(found) == identity:
            return found
        if found.is_dir() and any(_identity(path) == identity for path in _files_read(found)):
            return found
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file and all links to it have in common; None where there is no file or device."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(found.st_mode) else (found.st_dev, found.st_ino)


def _files_read(folder: Path) -> Iterator[Path]:
    """The files of a folder that a command may read; of a run, those of the model."""
    folders = [folder]
    if is_run(folder):
        yield from (folder / name for name in RUN_FILES)
        folders = [folder / "checkpoints", folder / "splits"]
    for part in folders:
        yield from (path for path in part.rglob("*") if not path.is_dir())


def _own_files(run_dir: Path) -> Iterator[Path]:
    yield from (run_dir / name for name in RUN_FILES)
    for name in RUN_FOLDERS:
        yield from (path for path in (run_dir / name).rglob("*") if not path.is_dir())


def _ending(
    path: Path, endings: tuple[str, ...], compressed: Collection[str], setting: str, *,
    is_stream: bool,
) -> str:  # fmt: skip
    if found := next((ending for ending in endings if path.name.endswith(ending)), None):
        return found
    if endings and is_stream:
        return endings[0]
    if endings:
        allowed = " or ".join(filter(None, [", ".join(endings[:-1]), endings[-1]]))
        raise ConfigError(f"{setting}={path} must end in {allowed}")
    if path.suffix in _COMPRESSIONS and path.suffix not in compressed:
        allowed = f"end the name in {' or '.join(compressed)}, or " if compressed else ""
        raise ConfigError(
            f"{setting}={path} asks for a compression that is not written here; {allowed}leave "
            f"{path.suffix} out"
        )
    return ""


def _check_kind(path: Path, setting: str) -> None:
    """Refuse folders, and what is neither a file nor a stream that takes bytes."""
    if path.is_dir():
        raise DataError(f"{setting}={path} is a folder; give a file name")
    for kind, is_kind in (
        ("a block device", path.is_block_device()),
        ("a socket", path.is_socket()),
    ):
        if is_kind:
            raise DataError(f"{setting}={path} is {kind}, which is not written; give a file name")
    if path.exists() and not os.access(path, os.W_OK):
        raise DataError(
            f"{setting}={path} is write-protected; change its permissions or choose another "
            f"{setting}=FILE"
        )


def _check_folder(path: Path, folder: Path, setting: str, *, makes_folders: bool) -> None:
    while makes_folders and not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise DataError(f"{setting}={path} lies in a folder that does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{setting}={path} lies in a folder where you may not write")


def _check_owner(path: Path, target: Path, setting: str, within: Collection[str]) -> None:
    """Refuse the files of a run, and any file in a folder that holds only its own."""
    for folder in list(target.parents)[:_DEPTH]:
        if is_prepared(folder):
            raise ConfigError(
                f"{setting}={path} lies in {folder}, which holds a checkpoint or prepared data and "
                f"nothing else; choose another {setting}=FILE"
            )
        first, *deeper = target.relative_to(folder).parts
        is_own = first in RUN_FOLDERS and first not in within if deeper else first in RUN_FILES
        if is_own and is_run(folder):
            raise ConfigError(
                f"{setting}={path} belongs to the run in {folder}; choose another {setting}=FILE"
            )
