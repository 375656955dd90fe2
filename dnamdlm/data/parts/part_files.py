"""Files that hold one part of a result: complete or absent, and able to tell damage.

A part is a head of `HEAD_BYTES` bytes, JSON filled up with blanks, and after it the content, of
which the head has the length and the SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from dnamdlm.data.files import replacing
from dnamdlm.data.json_files import JsonError, read_json_text

HEAD_BYTES = 4096
_COPIED_BYTES = 1 << 20


@dataclass(frozen=True)
class Stretch:
    """What one item adds to a part.

    Attributes:
        content: bytes.
        rows: how many rows these are.
        counts: figures that are summed over all parts, by name.
    """

    content: bytes
    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PartHead:
    """What a part says of itself.

    Attributes:
        plan: SHA-256 of the manifest that it belongs to.
        number: of the part, from 0.
        rows: in its content.
        counts: figures that are summed over all parts.
        size: bytes of its content.
        sha256: of its content.
        made_with: threads and instructions of the processor; empty of an earlier version.
    """

    plan: str
    number: int
    rows: int
    counts: Mapping[str, int]
    size: int
    sha256: str
    made_with: str = ""


class PartWriter:
    """Takes the stretches of a part one after the other."""

    def __init__(self, file: IO[bytes], made_with: str = "") -> None:
        self._file = file
        self._made_with = made_with
        self._digest = hashlib.sha256()
        self._rows = self._size = 0
        self._counts: Counter[str] = Counter()

    def add(self, stretch: Stretch) -> None:
        """Write a stretch."""
        self._file.write(stretch.content)
        self._digest.update(stretch.content)
        self._rows += stretch.rows
        self._size += len(stretch.content)
        self._counts.update(stretch.counts)

    def head(self, plan: str, number: int) -> PartHead:
        """The head for what was written so far."""
        counts = dict(sorted(self._counts.items()))
        digest = self._digest.hexdigest()
        return PartHead(plan, number, self._rows, counts, self._size, digest, self._made_with)


@contextmanager
def part_writer(path: Path, plan: str, number: int, made_with: str = "") -> Iterator[PartWriter]:
    """A part that is there once the block ends without an error.

    Args:
        path: of the part.
        plan: SHA-256 of its manifest.
        number: of the part.
        made_with: see `PartHead`.

    Raises:
        DataError: if it cannot be written.
    """
    with replacing(path) as partial, partial.open("r+b") as file:
        file.write(b" " * HEAD_BYTES)
        writer = PartWriter(file, made_with)
        yield writer
        head = json.dumps(asdict(writer.head(plan, number))).encode("ascii")
        assert len(head) < HEAD_BYTES, "a head holds a few counts"
        file.seek(0)
        file.write(head.ljust(HEAD_BYTES - 1) + b"\n")


def read_head(path: Path) -> PartHead | None:
    """The head of a part; None if there is no such file, or it is not a part."""
    try:
        with path.open("rb") as file:
            found = read_json_text(file.read(HEAD_BYTES).decode("ascii"))
        return _as_head(found)
    except (OSError, UnicodeDecodeError, JsonError, KeyError, TypeError, ValueError):
        return None


def _as_head(found: Any) -> PartHead:
    """Raises one of many errors where a value is of another kind."""
    counts = {str(name): int(number) for name, number in found["counts"].items()}
    numbers = (int(found[name]) for name in ("number", "rows", "size"))
    number, rows, size = numbers
    made_with = str(found.get("made_with", ""))
    return PartHead(str(found["plan"]), number, rows, counts, size, str(found["sha256"]), made_with)


def whole_head(path: Path, plan: str, number: int) -> PartHead | None:
    """The head of a part whose content is as it was written; None if anything is wrong with it.

    Args:
        path: of the part.
        plan: SHA-256 of the manifest that it must belong to.
        number: that it must have.
    """
    head = read_head(path)
    if head is None or (head.plan, head.number) != (plan, number):
        return None
    digest, size = hashlib.sha256(), 0
    try:
        with opened_content(path) as file:
            while block := file.read(_COPIED_BYTES):
                digest.update(block)
                size += len(block)
    except OSError:
        return None
    return head if (size, digest.hexdigest()) == (head.size, head.sha256) else None


@contextmanager
def opened_content(path: Path) -> Iterator[IO[bytes]]:
    """A file of the content of a part, at its beginning.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(HEAD_BYTES)
        yield file
