"""Indexes of bgzip VCF files, by which other programs find the rows of a region: `NAME.tbi`.

Source of the format: Li 2011, doi:10.1093/bioinformatics/btq671, and the specification of tabix.
Positions are 0-based and half-open here. An offset is that of a block in the file times 2^16 plus
the place in what the block holds.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from Bio.bgzf import BgzfBlocks, BgzfWriter

_MAGIC, _VCF = b"TBI\x01", 2
_LARGEST = 1 << 29
_WINDOW = 14
# shift of positions and first bin of each level, the narrowest first.
_LEVELS = ((14, 4681), (17, 585), (20, 73), (23, 9), (26, 1))


def tabix_index(path: Path) -> bytes | None:
    """The index of a file, or None where it cannot have one.

    Args:
        path: a bgzip VCF file. Its records must each stand together, with rising positions below
            2^29, which an index of this kind demands.
    """
    names: dict[str, _Record] = {}
    current, last = "", -1
    for line, start, end in _lines(path):
        if line.startswith(b"#"):
            continue
        fields = line.split(b"\t", 8)
        try:
            chrom, first = fields[0].decode("utf-8"), int(fields[1]) - 1
            stop = max(first + len(fields[3]), _end_of(fields[7]))
        except (IndexError, ValueError):
            return None
        if chrom != current:
            if chrom in names:
                return None
            names[chrom], current, last = _Record(), chrom, -1
        if not max(last, 0) <= first < stop <= _LARGEST:
            return None
        names[chrom].add(first, stop, start, end)
        last = first
    return _packed(names)


class _Record:
    """Chunks of the file by bin, and the first offset of each window of 2^14 bases."""

    def __init__(self) -> None:
        self.bins: dict[int, list[list[int]]] = {}
        self.windows: list[int] = []

    def add(self, first: int, stop: int, start: int, end: int) -> None:
        """A row from one position to another, and where it stands in the file."""
        chunks = self.bins.setdefault(bin_of(first, stop), [])
        if chunks and chunks[-1][1] == start:
            chunks[-1][1] = end
        else:
            chunks.append([start, end])
        # windows without a row of their own begin where the next one does.
        missing = ((stop - 1) >> _WINDOW) + 1 - len(self.windows)
        self.windows += [start] * max(0, missing)


def bin_of(first: int, stop: int) -> int:
    """The smallest bin that holds an interval.

    >>> bin_of(0, 1), bin_of(1 << 14, (1 << 14) + 5), bin_of((1 << 14) - 1, (1 << 14) + 1)
    (4681, 4682, 585)
    """
    for shift, begin in _LEVELS:
        if first >> shift == (stop - 1) >> shift:
            return begin + (first >> shift)
    return 0


def _end_of(info: bytes) -> int:
    """The end that a structural variant names; 0 without one."""
    for field in info.split(b";"):
        if field.startswith(b"END="):
            return int(field[4:])
    return 0


def _lines(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Each line, and the offsets of its beginning and of what follows it."""
    with path.open("rb") as file, path.open("rb") as blocks:
        rest, start = b"", 0
        for place, size, _, _ in BgzfBlocks(blocks):
            file.seek(place)
            content = zlib.decompress(file.read(size), 31)
            at = 0
            while (end := content.find(b"\n", at)) >= 0:
                after = end + 1
                offset = place << 16 | after if after < len(content) else (place + size) << 16
                yield rest + content[at:end], start if rest or at == 0 else place << 16 | at, offset
                rest, at, start = b"", after, offset
            rest += content[at:]


def _packed(names: dict[str, _Record]) -> bytes:
    """The index in its format, compressed as the file is."""
    words = b"".join(name.encode("utf-8") + b"\0" for name in names)
    found = [
        _MAGIC + struct.pack("<8i", len(names), _VCF, 1, 2, 0, ord("#"), 0, len(words)) + words
    ]
    for record in names.values():
        found.append(struct.pack("<i", len(record.bins)))
        for number, chunks in sorted(record.bins.items()):
            found.append(struct.pack("<Ii", number, len(chunks)))
            found += [struct.pack("<QQ", *chunk) for chunk in chunks]
        found.append(struct.pack("<i", len(record.windows)))
        found.append(struct.pack(f"<{len(record.windows)}Q", *record.windows))
    file = io.BytesIO()
    writer = BgzfWriter(fileobj=file)
    writer.write(b"".join(found))
    writer.flush()
    return file.getvalue() + bytes.fromhex(
        "1f8b08040000000000ff0600424302001b0003000000000000000000"
    )
