"""Blocks of big files, and what bigWig files say of values from afar: summaries of ever wider bins.

Shapes: k summaries.
"""

from __future__ import annotations

import struct
import zlib
from tempfile import SpooledTemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dnamdlm.evaluation.likelihood.big_indexes import BLOCK, blocks_index

FIRST_REDUCTION, FACTOR, MOST_LEVELS = 64, 4, 10
"""Bases of the narrowest bins, how much wider those of the next level are, levels of a file."""
PER_SUMMARY_BLOCK = 512
LEVEL_HEAD = struct.Struct("<IIQQ")
_IN_MEMORY = 1 << 18

SUMMARY = np.dtype(
    [
        ("record", "<u4"), ("start", "<u4"), ("end", "<u4"), ("count", "<u4"),
        ("low", "<f4"), ("high", "<f4"), ("sum", "<f4"), ("squares", "<f4"),
    ]
)  # fmt: skip
"""Count, extremes and sums of the values between two positions."""


class Blocks:
    """Compressed blocks one after the other, and where they lie."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._table = file, bytearray()

    def __len__(self) -> int:
        return len(self._table) // BLOCK.itemsize

    def add(self, content: bytes, place: tuple[int, int, int, int]) -> None:
        """Write a block from one record and position to another."""
        packed = zlib.compress(content)
        self._table += struct.pack("<IIIIQQ", *place, self._file.tell(), len(packed))
        self._file.write(packed)

    def table(self, shift: int) -> NDArray[np.void]:
        """Of the type `BLOCK`; the offsets are raised by `shift`."""
        found = np.frombuffer(bytes(self._table), BLOCK).copy()
        found["offset"] += shift
        return found


class Level:
    """Summaries of bins of one width, in a file of its own until all data are written."""

    def __init__(self, reduction: int) -> None:
        self.reduction = reduction
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._blocks, self._num = Blocks(self._file), 0
        self._open = np.zeros(0, SUMMARY)
        self._waiting = np.zeros(0, SUMMARY)

    def add(self, finer: NDArray[np.void]) -> NDArray[np.void]:
        """Take summaries of narrower bins in order; give those that are complete now."""
        merged = _merged(np.concatenate([self._open, finer]), self.reduction)
        done, self._open = merged[:-1], merged[-1:]
        self._keep(done)
        return done

    def end(self, finer: NDArray[np.void]) -> NDArray[np.void]:
        """Take the last summaries of narrower bins; give what is complete now, which is all."""
        done = np.concatenate([self.add(finer), self._open])
        self._keep(self._open)
        self._open = self._open[:0]
        return done

    def _keep(self, done: NDArray[np.void]) -> None:
        self._waiting = np.concatenate([self._waiting, done])
        while len(self._waiting) >= PER_SUMMARY_BLOCK:
            self._block(self._waiting[:PER_SUMMARY_BLOCK])
            self._waiting = self._waiting[PER_SUMMARY_BLOCK:]

    def _block(self, rows: NDArray[np.void]) -> None:
        first, last = rows[0], rows[-1]
        place = (
            int(first["record"]), int(first["start"]), int(last["record"]), int(last["end"]),
        )  # fmt: skip
        self._blocks.add(rows.tobytes(), place)
        self._num += len(rows)

    def close(self) -> None:
        """Give the file of the level back."""
        self._file.close()

    def written(self, file: IO[bytes]) -> bytes:
        """Write the level, which has ended, to a file; give what the header says of it."""
        if len(self._waiting):
            self._block(self._waiting)
        data_at = file.tell()
        file.write(struct.pack("<I", self._num))
        shift = file.tell()
        self._file.seek(0)
        while block := self._file.read(_IN_MEMORY):
            file.write(block)
        index_at = file.tell()
        table = self._blocks.table(shift)
        file.write(blocks_index(table, index_at, end=index_at, per_block=PER_SUMMARY_BLOCK))
        return LEVEL_HEAD.pack(self.reduction, 0, data_at, index_at)


def summaries(number: int, start: int, values: NDArray[np.float32]) -> NDArray[np.void]:
    """Summaries of the narrowest bins that a run touches, (k,)."""
    end = start + len(values)
    bins = np.arange(start // FIRST_REDUCTION, (end - 1) // FIRST_REDUCTION + 1)
    begins = np.maximum(bins * FIRST_REDUCTION, start)
    ends = np.minimum((bins + 1) * FIRST_REDUCTION, end)
    found = np.zeros(len(bins), SUMMARY)
    wide = values.astype(np.float64)
    at = begins - start
    found["record"], found["start"], found["end"], found["count"] = (
        number,
        begins,
        ends,
        ends - begins,
    )
    found["low"], found["high"] = (f.reduceat(values, at) for f in (np.minimum, np.maximum))
    found["sum"], found["squares"] = (np.add.reduceat(x, at) for x in (wide, np.square(wide)))
    return found


def _merged(rows: NDArray[np.void], reduction: int) -> NDArray[np.void]:
    """Summaries of wider bins, from those of narrower ones in order."""
    if not len(rows):
        return rows
    bins = rows["start"].astype(np.int64) // reduction
    is_new = np.diff(bins, prepend=-1) != 0
    is_new |= np.diff(rows["record"].astype(np.int64), prepend=-1) != 0
    at = np.flatnonzero(is_new)
    found = rows[at].copy()
    found["end"] = rows["end"][np.append(at[1:], len(rows)) - 1]
    found["low"], found["high"] = (
        f.reduceat(rows[name], at) for f, name in ((np.minimum, "low"), (np.maximum, "high"))
    )
    for name in ("count", "sum", "squares"):
        wide = rows[name].astype(np.float64)
        found[name] = np.add.reduceat(wide, at)
    return found
