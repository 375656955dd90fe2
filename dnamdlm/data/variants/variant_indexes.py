"""Indexes of VCF and BCF files, TBI and CSI: where they are, and whether they belong to their file.

An index of another file, or of an older one of the same name, would leave rows out in silence. So
of each record the first and the last place that the index names are looked up in the file: a row of
that record must begin there, at a position within the bin; and behind the last place of all there
must be no row.

Source of the formats: the specifications of tabix and CSI; Li 2011,
doi:10.1093/bioinformatics/btq671.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Bio.bgzf import BgzfReader

from dnamdlm.data.textfile import open_blocks
from dnamdlm.errors import DataError

ENDINGS = (".tbi", ".csi")
# shift of the narrowest bins and number of levels of a TBI index.
_TBI_SHAPE = (14, 5)
_RECORD_BYTES = 16
_DAMAGES = (struct.error, ValueError, IndexError, zlib.error, UnicodeDecodeError, OSError)


@dataclass(frozen=True)
class VariantIndex:
    """What an index says of its file.

    Attributes:
        path: of the index.
        names: records that have rows, in order; empty if only the file has them.
        places: number of a record, first base and length of a bin, and where it begins in the file,
            for the first and the last place of each record.
        end: place behind the last row, 0 without rows.
    """

    path: Path
    names: tuple[str, ...]
    places: tuple[tuple[int, int, int, int], ...]
    end: int


def index_of(path: Path) -> Path | None:
    """The index next to a file, or None."""
    found = (path.with_name(path.name + ending) for ending in ENDINGS)
    return next((index for index in found if index.is_file()), None)


def read_index(path: Path) -> VariantIndex:
    """Read an index.

    Raises:
        DataError: if it is damaged.
    """
    content = b"".join(open_blocks(path))
    try:
        return _parsed(path, content)
    except _DAMAGES as error:
        raise DataError(f"{path}: not a readable index; {_ANEW}") from error


def check_index(index: VariantIndex, path: Path, *, is_binary: bool) -> None:
    """Check that an index belongs to a file.

    Args:
        index: which was read.
        path: a bgzip VCF file, or a BCF file.
        is_binary: whether it is BCF.

    Raises:
        DataError: if it does not.
    """
    try:
        with path.open("rb") as raw:
            file = BgzfReader(fileobj=raw, mode="rb")
            belongs = all(_begins_there(file, index, place, is_binary) for place in index.places)
            if belongs and index.end:
                file.seek(index.end)
                belongs = not file.read(1)
    except _DAMAGES:
        belongs = False
    if not belongs:
        raise DataError(f"{index.path} is not the index of {path} as it is now; {_ANEW}")


_ANEW = "make it again with bcftools index -f FILE, or remove it"


def _begins_there(
    file: Any, index: VariantIndex, place: tuple[int, int, int, int], is_binary: bool
) -> bool:
    """Whether a row of a record begins at a place, with a position that is in its bin."""
    record, first, size, offset = place
    file.seek(offset)
    if is_binary:
        _, _, number, position = struct.unpack("<IIii", file.read(_RECORD_BYTES))
        is_record = number == record
    else:
        chrom, text, *_ = file.readline().split(b"\t", 2)
        is_record, position = chrom.decode("utf-8") == index.names[record], int(text) - 1
    # a telomere is at -1.
    return is_record and first <= max(position, 0) < first + size


def _parsed(path: Path, content: bytes) -> VariantIndex:
    file = io.BytesIO(content)
    magic = file.read(4)
    if magic == b"TBI\x01":
        num_records, *_, num_bytes = _numbers(file, "<8i")
        names = _names(file.read(num_bytes))
        shift, depth = _TBI_SHAPE
    elif magic == b"CSI\x01":
        shift, depth, num_bytes = _numbers(file, "<3i")
        more = file.read(num_bytes)
        # of a VCF file it is what a TBI index begins with.
        names = _names(more[28:]) if num_bytes > 28 else ()
        (num_records,) = _numbers(file, "<i")
    else:
        raise ValueError("no index")
    places: list[tuple[int, int, int, int]] = []
    end = 0
    for record in range(num_records):
        found = list(_bins(file, is_csi=magic.startswith(b"CSI")))
        if magic.startswith(b"TBI"):
            (num_windows,) = _numbers(file, "<i")
            _numbers(file, f"<{num_windows}Q")
        chunks = sorted(
            (begin, *_interval(number, shift, depth), stop)
            for number, pairs in found
            for begin, stop in pairs
            if number < ((1 << 3 * (depth + 1)) - 1) // 7
        )
        if chunks:
            places += [(record, x[1], x[2], x[0]) for x in (chunks[0], chunks[-1])]
            end = max(end, *(x[3] for x in chunks))
    return VariantIndex(path, names, tuple(places), end)


def _bins(file: io.BytesIO, *, is_csi: bool) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Number, and where its stretches of the file begin and end, of each bin of a record."""
    (num_bins,) = _numbers(file, "<i")
    for _ in range(num_bins):
        number, *_, num_chunks = _numbers(file, "<IQi" if is_csi else "<Ii")
        ends = _numbers(file, f"<{2 * num_chunks}Q")
        yield number, list(zip(ends[::2], ends[1::2], strict=True))


def _interval(number: int, shift: int, depth: int) -> tuple[int, int]:
    """First base and length of a bin.

    >>> _interval(0, 14, 5), _interval(4682, 14, 5)
    ((0, 536870912), (16384, 16384))
    """
    level = next(n for n in range(depth, -1, -1) if number >= ((1 << 3 * n) - 1) // 7)
    size = 1 << (shift + 3 * (depth - level))
    return (number - ((1 << 3 * level) - 1) // 7) * size, size


def _names(text: bytes) -> tuple[str, ...]:
    return tuple(name.decode("utf-8") for name in text.split(b"\0") if name)


def _numbers(file: io.BytesIO, kind: str) -> tuple[int, ...]:
    return struct.unpack(kind, file.read(struct.calcsize(kind)))
