"""FASTA files for other programs to read: complete or absent, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from gzip import GzipFile
from pathlib import Path
from typing import IO

from dnamdlm.data.files import gzip_stream, replacing


def write_fasta(
    path: Path, records: Iterable[tuple[str, str | Iterable[str]]], *, width: int = 60
) -> int:
    """Write records, all of them or none.

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
    count = 0
    with replacing(path) as partial, partial.open("wb") as raw, ExitStack() as stack:
        stream: IO[bytes] | GzipFile = raw
        if path.suffix == ".gz":
            stream = stack.enter_context(gzip_stream(raw, level=6))
        for header, sequence in records:
            stream.write(f">{header}\n".encode("ascii"))
            for line in _lines([sequence] if isinstance(sequence, str) else sequence, width):
                stream.write(f"{line}\n".encode("ascii"))
            count += 1
    return count


def _lines(pieces: Iterable[str], width: int) -> Iterator[str]:
    """The pieces joined and cut into lines of `width` letters; only the last may be shorter."""
    rest = ""
    for piece in pieces:
        text = rest + piece
        end = len(text) - len(text) % width
        yield from (text[i : i + width] for i in range(0, end, width))
        rest = text[end:]
    if rest:
        yield rest
