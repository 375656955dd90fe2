"""Strict streaming reader of UCSC .2bit files; memory does not grow with a record's bases.

Both byte orders and both versions (0: 32-bit offsets, 1: 64-bit offsets) are read. Every number of
the file is checked against the file's size before it is used. Chunks and counts are those of
`dnamdlm.data.genome.fasta`: blocks of N give N, mask blocks give the soft mask.

Source: the .2bit section of the UCSC Genome Browser's list of data file formats.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.fasta import FastaChunk, FastaCounts
from dnamdlm.errors import DataError
from dnamdlm.words.codes import N_CODE, SOFT_MASK

_SIGNATURE = 0x1A412743
_ORDER_OF_MAGIC = {struct.pack(order + "I", _SIGNATURE): order for order in "<>"}
_HEADER_BYTES = 16
_BASES_PER_BYTE = 4
_REMEDY = "download the file again or convert it again with faToTwoBit"


def _unpacking_table() -> NDArray[np.uint32]:
    """Store codes of the four bases of a byte, the first in its highest bits, as bytes; (256,)."""
    # the file's numbers are T 0, C 1, A 2, G 3.
    code_of_pair = np.array([3, 1, 0, 2], dtype=np.uint8)
    pairs = (np.arange(256)[:, None] >> np.array([6, 4, 2, 0])) & 3
    # four codes are copied at once as one number, in the order of the machine's bytes.
    return code_of_pair[pairs].view(np.uint32).reshape(-1)


_BASES_OF_BYTE = _unpacking_table()


@dataclass(frozen=True)
class _Record:
    """One record: its blocks as [start, end) of shape (blocks, 2), and where its bases lie."""

    name: str
    start: int
    length: int
    n_blocks: NDArray[np.int64]
    mask_blocks: NDArray[np.int64]
    bases_at: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the record."""
        return self.bases_at + -(-self.length // _BASES_PER_BYTE)


def is_twobit(path: str | Path) -> bool:
    """Whether a file begins as a .2bit file does, whatever its name; False if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) in _ORDER_OF_MAGIC
    except OSError:
        return False


class TwoBitReader:
    """Iterates over the chunks of a file once; `counts` is complete after the last chunk.

    Args:
        path: a .2bit file.
        chunk_bases: most bases of a chunk, a multiple of 4, which bounds the memory in use.
        on_raw: called with every piece of the file as it lies on disk, in order, after the last
            chunk (for checksums).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        chunk_bases: int = 1 << 22,
        on_raw: Callable[[bytes], object] | None = None,
    ) -> None:
        self.path = Path(path)
        self.counts = FastaCounts()
        self._chunk_bases = chunk_bases
        self._on_raw = on_raw

    def __iter__(self) -> Iterator[FastaChunk]:
        """Yield the chunks in the order of the file's index.

        Raises:
            DataError: at the first fault.
        """
        try:
            with self.path.open("rb") as file:
                yield from self._chunks(_Source(self.path, file))
                file.seek(0)
                while self._on_raw is not None and (piece := file.read(1 << 20)):
                    self._on_raw(piece)
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read ({error.strerror}); check the file"
            ) from error

    def _chunks(self, source: _Source) -> Iterator[FastaChunk]:
        index = source.index()
        self._check_layout(source, index)
        for name, offset in index:
            record = source.record(name, offset)
            if not record.length:
                self.counts.empty_records.append(name)
                continue
            for start in range(0, record.length, self._chunk_bases):
                end = min(start + self._chunk_bases, record.length)
                yield FastaChunk(name, source.codes(record, start, end))
            self.counts.lengths[name] = record.length
        if not self.counts.lengths:
            raise DataError(f"{self.path}: all {len(index)} records are empty; {_REMEDY}")

    def _check_layout(self, source: _Source, index: list[tuple[str, int]]) -> None:
        """Refuse records that share bytes, and bytes that belong to no record at the end."""
        previous, end = "the index", source.index_end
        for name, offset in sorted(index, key=lambda entry: entry[1]):
            if offset < end:
                raise DataError(
                    f"{self.path}, record {name!r}: its offset {offset} lies inside {previous}, "
                    f"which ends at {end}; {_REMEDY}"
                )
            previous, end = f"record {name!r}", source.record(name, offset).end
        if end != source.num_bytes:
            raise DataError(
                f"{self.path}: {source.num_bytes - end} bytes follow the last record, which ends "
                f"at offset {end}; {_REMEDY}"
            )


class _Source:
    """Checked access to the numbers and the bases of an open file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.num_bytes = os.fstat(file.fileno()).st_size
        self.index_end = _HEADER_BYTES
        self._file = file
        head = file.read(4)
        if head not in _ORDER_OF_MAGIC:
            raise DataError(
                f"{path}: the signature at offset 0 is 0x{head.hex() or '0'}, that of a .2bit "
                f"file is 0x{_SIGNATURE:x} in either byte order; {_REMEDY}"
            )
        self._order = _ORDER_OF_MAGIC[head]

    def index(self) -> list[tuple[str, int]]:
        """Names and offsets of all records; sets `index_end`."""
        version, num_records, reserved = self._words(4, 3, "the header").tolist()
        if version not in (0, 1) or reserved != 0:
            raise DataError(
                f"{self.path}: version {version} and reserved word {reserved} at offset 4, but "
                f"version 0 or 1 and reserved 0 are read; {_REMEDY}"
            )
        if num_records == 0:
            raise DataError(f"{self.path}: the index at offset 8 counts no record; {_REMEDY}")
        wide = version == 1
        index: dict[str, int] = {}
        position = _HEADER_BYTES
        for number in range(1, num_records + 1):
            where = f"entry {number} of {num_records} of the index"
            size = self._bytes(position, 1, where)[0]
            raw = self._bytes(position + 1, size, where)
            if not raw or not all(0x20 < byte < 0x7F for byte in raw):
                raise DataError(
                    f"{self.path}: {where} at offset {position} has the name {raw!r}, but "
                    f"printable ASCII without blanks is needed; {_REMEDY}"
                )
            name = raw.decode("ascii")
            if name in index:
                raise DataError(
                    f"{self.path}: {where} at offset {position} repeats the name {name!r}; names "
                    f"must differ: {_REMEDY}"
                )
            position += 1 + size
            index[name] = int(self._words(position, 1, where, wide=wide)[0])
            if index[name] >= self.num_bytes:
                raise DataError(
                    f"{self.path}, record {name!r}: its offset {index[name]} in the index at "
                    f"offset {position} lies outside the file of {self.num_bytes} bytes; {_REMEDY}"
                )
            position += 8 if wide else 4
        self.index_end = position
        return list(index.items())

    def record(self, name: str, offset: int) -> _Record:
        """The blocks of one record, and where its bases lie, all within the file."""
        where = f"record {name!r}"
        length = int(self._words(offset, 1, where)[0])
        n_blocks, position = self._blocks(name, "N block", offset + 4, length)
        mask_blocks, position = self._blocks(name, "mask block", position, length)
        if reserved := int(self._words(position, 1, where)[0]):
            raise DataError(
                f"{self.path}, {where}: the reserved word at offset {position} is {reserved}, not "
                f"0; {_REMEDY}"
            )
        record = _Record(name, offset, length, n_blocks, mask_blocks, position + 4)
        if record.end > self.num_bytes:
            raise self._truncated(f"{where} of {length} bases", record.end)
        return record

    def codes(self, record: _Record, start: int, end: int) -> NDArray[np.uint8]:
        """Store codes of the bases [start, end) of a record; `start` is a multiple of 4."""
        first, last = start // _BASES_PER_BYTE, -(-end // _BASES_PER_BYTE)
        packed = self._bytes(record.bases_at + first, last - first, f"record {record.name!r}")
        unpacked = _BASES_OF_BYTE.take(np.frombuffer(packed, dtype=np.uint8))
        codes = unpacked.view(np.uint8)[: end - start]
        is_n, is_masked = (
            _inside(blocks, start, end) for blocks in (record.n_blocks, record.mask_blocks)
        )
        if is_n is not None:
            codes[is_n] = N_CODE
        if is_masked is not None:
            codes |= is_masked.view(np.uint8) * SOFT_MASK
        return codes

    def _blocks(
        self, name: str, kind: str, position: int, length: int
    ) -> tuple[NDArray[np.int64], int]:
        """Blocks [start, end) of a record, in order and apart, and the offset after them."""
        where = f"record {name!r}"
        count = int(self._words(position, 1, where)[0])
        numbers = self._words(position + 4, 2 * count, f"{count} {kind}s of {where}")
        starts, sizes = numbers[:count], numbers[count:]
        ends = starts + sizes
        is_bad = (sizes < 1) | (ends > length)
        is_bad[1:] |= starts[1:] < ends[:-1]
        if is_bad.any():
            number = int(np.argmax(is_bad))
            raise DataError(
                f"{self.path}, {where}: {kind} {number + 1} at offset {position + 4 + 4 * number} "
                f"covers [{starts[number]}, {ends[number]}), but blocks must be in order, apart "
                f"and within the {length} bases; {_REMEDY}"
            )
        return np.stack([starts, ends], axis=1), position + 4 + 8 * count

    def _words(
        self, offset: int, count: int, where: str, *, wide: bool = False
    ) -> NDArray[np.int64]:
        """Whole numbers of 32 bits, or 64 if `wide`, shape (count,)."""
        size = 8 if wide else 4
        raw = self._bytes(offset, count * size, where)
        # an offset of 2^63 or more becomes the largest number, which lies outside any file.
        numbers = np.frombuffer(raw, dtype=f"{self._order}u{size}").astype(np.uint64)
        return np.minimum(numbers, np.uint64(2**63 - 1)).astype(np.int64)

    def _bytes(self, offset: int, size: int, where: str) -> bytes:
        if offset + size > self.num_bytes:
            raise self._truncated(where, offset + size)
        self._file.seek(offset)
        raw = self._file.read(size)
        if len(raw) < size:
            raise self._truncated(where, offset + size)
        return raw

    def _truncated(self, where: str, needed: int) -> DataError:
        return DataError(
            f"{self.path}: truncated or damaged .2bit file, {where} reaches to offset {needed} but "
            f"the file ends at {self.num_bytes}; {_REMEDY}"
        )


def _inside(blocks: NDArray[np.int64], start: int, end: int) -> NDArray[np.bool_] | None:
    """Which of the positions start ... end - 1 lie in a block, (end - start,); None for none."""
    low = int(np.searchsorted(blocks[:, 1], start, side="right"))
    high = int(np.searchsorted(blocks[:, 0], end, side="left"))
    if low >= high:
        return None
    near = np.clip(blocks[low:high], start, end) - start
    edges = np.zeros(end - start + 1, dtype=np.int8)
    edges[near[:, 0]] += 1
    edges[near[:, 1]] -= 1
    return np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_)
