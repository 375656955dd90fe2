"""FASTA files for other programs to read: complete or absent, and the same bytes every time."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from dnamdlm.errors import DataError


def write_fasta(path: Path, records: Iterable[tuple[str, str]], *, width: int = 60) -> int:
    """Write records under a temporary name in the target folder and rename at the end.

    Args:
        path: target; a name that ends in .gz is compressed, without a time stamp.
        records: header without '>' and sequence; may be a generator, is written as it comes.
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
                lines = [sequence[i : i + width] for i in range(0, len(sequence), width)]
                stream.write("\n".join([f">{header}", *lines, ""]).encode("ascii"))
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


def _compressed(raw: IO[bytes]) -> IO[bytes]:
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6)  # type: ignore[return-value]
