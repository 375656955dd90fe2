"""FASTA files for other programs to read: complete or absent, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from gzip import GzipFile
from pathlib import Path
from typing import IO
from urllib.parse import quote

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
    with replacing(path) as partial:
        return fasta_file(records, width=width, is_compressed=path.suffix == ".gz")(partial)


def fasta_file(
    records: Iterable[tuple[str, str | Iterable[str]]], *, width: int = 60, is_compressed: bool
) -> Callable[[Path], int]:
    """A function that writes records and returns their number, for `write_together`.

    Args:
        records: header without '>' and sequence, whole or in pieces.
        width: letters per line.
        is_compressed: by gzip, without a time stamp.
    """

    def write(path: Path) -> int:
        count = 0
        with path.open("wb") as raw, ExitStack() as stack:
            stream: IO[bytes] | GzipFile = raw
            if is_compressed:
                stream = stack.enter_context(gzip_stream(raw, level=6))
            for header, sequence in records:
                stream.write(f">{header}\n".encode("ascii"))
                for line in _lines([sequence] if isinstance(sequence, str) else sequence, width):
                    stream.write(f"{line}\n".encode("ascii"))
                count += 1
        return count

    return write


def header_word(text: str) -> str:
    """Text as one word of a header: blanks and what is not ASCII are written as %XX, as in GFF3.

    >>> header_word("strong enhancer, 5'")
    "strong%20enhancer,%205'"
    """
    return quote(text, safe="".join(map(chr, range(0x21, 0x7F))).replace("%", ""))


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
