"""FASTA files for other programs to read: complete or absent, and the same bytes every time."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from dnamdlm.errors import DataError


def write_fasta(
    path: Path, records: Iterable[tuple[str, str | Iterable[str]]], *, width: int = 60
) -> int:
    """Write records under a temporary name in the target folder and rename at the end.

    Args:
        path: target; a name that ends in .gz is compressed, without a time stamp.
        records: header without '>' and sequence, whole or in pieces; both may be generators, and
            are written as they come.
        width: letters per line.

    Returns:
        The number of records.

    Raises:
        DataError: if the target cannot be written; nothing half-written stays.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    count = 0
    try:
        with partial.open("xb") as raw:
            stream = _compressed(raw) if path.suffix == ".gz" else raw
            for header, sequence in records:
                stream.write(f">{header}\n".encode("ascii"))
                for line in _lines([sequence] if isinstance(sequence, str) else sequence, width):
                    stream.write(f"{line}\n".encode("ascii"))
                count += 1
            if stream is not raw:
                stream.close()
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); choose another out=FILE"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def check_writable(path: Path, setting: str = "out") -> None:
    """Refuse a target that cannot be written, before anything is computed.

    Raises:
        DataError: if the folder is missing or closed, or the path is a folder.
    """
    folder = path.parent
    if path.is_dir():
        raise DataError(f"{setting}={path} is a folder; give a file name")
    if not folder.is_dir():
        raise DataError(f"{setting}={path} lies in a folder that does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise DataError(f"{setting}={path} lies in a folder where you may not write")


def _lines(pieces: Iterable[str], width: int) -> Iterator[str]:
    """The pieces joined and cut anew into lines of `width` letters; only the last is shorter."""
    rest = ""
    for piece in pieces:
        text = rest + piece
        end = len(text) - len(text) % width
        yield from (text[i : i + width] for i in range(0, end, width))
        rest = text[end:]
    if rest:
        yield rest


def _compressed(raw: IO[bytes]) -> IO[bytes]:
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6)  # type: ignore[return-value]
