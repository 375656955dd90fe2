"""Data that comes through a pipe, kept in a temporary file because files are read several times."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from dnamdlm.errors import DataError

_DESCRIPTOR = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/([0-9]+)")
_HEAD_BYTES = 1 << 16
_COPIED_BYTES = 1 << 20

# pipe -> folder of what came through it, which is removed at the end of the process.
_kept: dict[tuple[int, int], TemporaryDirectory[str]] = {}


def on_disk(path: str | Path) -> Path:
    """The file itself or, of a pipe that the shell opened, a copy of all that came through it.

    `/dev/stdin` and `/dev/fd/N`, which `<(command)` becomes, are read to their end at the first
    call; the copy lies in the folder of temporary files until the process ends. Its name ends as
    the content suggests.

    Args:
        path: what the user named; it need not exist.

    Raises:
        DataError: for a named pipe, which nobody may write to, a socket or a device, and if there
            is no space for the copy.
    """
    path = Path(path)
    named = _DESCRIPTOR.fullmatch(str(path))
    try:
        found = os.fstat(int(named[1] or 0)) if named else path.stat()
    except (OSError, ValueError):
        # whoever opens the file says what is wrong.
        return path
    if stat.S_ISREG(found.st_mode):
        return path.resolve() if named else path
    if stat.S_ISDIR(found.st_mode):
        return path
    if named and (stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
        return _copy(path, int(named[1] or 0), (found.st_dev, found.st_ino))
    if stat.S_ISFIFO(found.st_mode):
        raise DataError(
            f"{path}: this is a named pipe, which may have no end; give a file, or /dev/stdin and "
            f"the data by < {path}"
        )
    raise DataError(f"{path}: this is a device or a socket; give a file")


def _copy(path: Path, descriptor: int, pipe: tuple[int, int]) -> Path:
    if pipe not in _kept:
        folder = TemporaryDirectory(prefix="dnamdlm-pipe-")
        target = Path(folder.name, path.name)
        try:
            with os.fdopen(os.dup(descriptor), "rb") as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, _COPIED_BYTES)
            with target.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError as error:
            folder.cleanup()
            raise DataError(
                f"{path}: the data of this pipe cannot be kept in {folder.name} "
                f"({error.strerror}); set TMPDIR to a folder with space, or give a file"
            ) from error
        target.rename(target.with_name(target.name + _ending(head)))
        _kept[pipe] = folder
    return next(Path(_kept[pipe].name).iterdir())


def _ending(head: bytes) -> str:
    """The ending that files of this content have."""
    packed = ".gz" if head.startswith(b"\x1f\x8b") else ""
    if packed:
        try:
            head = zlib.decompressobj(31).decompress(head)
        except zlib.error:
            return packed
    if head.startswith(b"PAR1"):
        return ".parquet"
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().splitlines()[:1] or [b""]
    fields = first[0].split(b"\t")
    if first[0].startswith((b">", b";")):
        kind = ".fa"
    elif len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit():
        kind = ".bed"
    else:
        kind = ".tsv" if len(fields) > 1 else ".csv"
    return kind + packed
