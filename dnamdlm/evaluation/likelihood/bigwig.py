"""Writes bigWig files from runs of values, one value per base, in memory that does not grow.

Runs come in the order of the genome. They are written as fixed-step sections, and summed up for
views from afar, as they come: of a run nothing is kept but 32 bytes for each 4,096 bases.

Source of the format: Kent et al. 2010, doi:10.1093/bioinformatics/btq351.
Shapes: n bases of a run, k summaries.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dnamdlm.evaluation.likelihood.big_indexes import (
    FILE_HEAD_BYTES,
    blocks_index,
    file_head,
    records_index,
)
from dnamdlm.evaluation.likelihood.bigwig_summaries import (
    FACTOR,
    FIRST_REDUCTION,
    LEVEL_HEAD,
    MOST_LEVELS,
    PER_SUMMARY_BLOCK,
    SUMMARY,
    Blocks,
    Level,
    summaries,
)

MAGIC = 0x888FFC26
PER_SECTION = 4096
"""Bases of a section, which is compressed and read as one."""
_FIXED_STEP = 3
_TOTAL = struct.Struct("<Qdddd")


class BigWigWriter:
    """Takes runs of values in the order of the genome; the file is complete when the block ends.

    >>> import io
    >>> file = io.BytesIO()
    >>> with BigWigWriter(file, {"chrI": 100}) as writer:
    ...     writer.add("chrI", 10, np.array([1.0, np.nan, 3.0]))
    >>> file.getvalue()[:4] == struct.pack("<I", MAGIC)
    True
    """

    def __init__(self, file: IO[bytes], lengths: Mapping[str, int]) -> None:
        """Begin a file.

        Args:
            file: empty, and open to be written at any place.
            lengths: record name -> bases, in the order of the genome.
        """
        self._file, self._lengths = file, lengths
        self._numbers = {name: number for number, name in enumerate(lengths)}
        longest, reduction = max(lengths.values(), default=0), FIRST_REDUCTION
        self._levels = [Level(reduction)]
        while reduction * FACTOR < longest and len(self._levels) < MOST_LEVELS:
            reduction *= FACTOR
            self._levels.append(Level(reduction))
        self._totals_at = FILE_HEAD_BYTES + len(self._levels) * LEVEL_HEAD.size
        self._records_at = self._totals_at + _TOTAL.size
        records = records_index(lengths, self._records_at)
        self._data_at = self._records_at + len(records)
        file.write(bytes(self._records_at) + records + bytes(8))
        self._blocks = Blocks(file)
        self._open: tuple[int, int, NDArray[np.float32]] | None = None
        self._place = (0, 0)
        self._count, self._low, self._high, self._sums = 0, np.inf, -np.inf, np.zeros(2)

    def add(self, record: str, start: int, values: NDArray[np.floating]) -> None:
        """Add a run.

        Args:
            record: its name.
            start: of the run, which lies after all that came before.
            values: one per base, (n,); nan is left out.

        Raises:
            ValueError: for a run that is out of order, or outside its record.
        """
        number, end = self._numbers[record], start + len(values)
        if (number, start) < self._place or end > self._lengths[record]:
            raise ValueError(f"{record}:{start}-{end} is out of order, or outside its record")
        self._place = (number, end)
        numbers = np.asarray(values, dtype=np.float32)
        for first, last in _finite_runs(numbers):
            self._append(number, start + first, numbers[first:last])

    def __enter__(self) -> BigWigWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._complete()
        finally:
            for level in self._levels:
                level.close()

    def _complete(self) -> None:
        """Write what is left, the indexes and the head."""
        if self._open is not None:
            self._flush(whole=False)
        found = np.zeros(0, SUMMARY)
        for level in self._levels:
            found = level.end(found)
        file, sections = self._file, len(self._blocks)
        index_at = file.tell()
        index = blocks_index(self._blocks.table(0), index_at, end=index_at, per_block=PER_SECTION)
        file.write(index)
        heads = b"".join(level.written(file) for level in self._levels)
        file.write(struct.pack("<I", MAGIC))
        file.seek(0)
        buffer = max(24 + 4 * PER_SECTION, SUMMARY.itemsize * PER_SUMMARY_BLOCK)
        places = (self._records_at, self._data_at, index_at)
        levels = len(self._levels)
        file.write(file_head(MAGIC, places, buffer=buffer, levels=levels, totals=self._totals_at))
        low, high = (self._low, self._high) if self._count else (0.0, 0.0)
        file.write(heads + _TOTAL.pack(self._count, low, high, *self._sums.tolist()))
        file.seek(self._data_at)
        file.write(struct.pack("<Q", sections))
        file.seek(0, 2)

    def _append(self, number: int, start: int, values: NDArray[np.float32]) -> None:
        """Join a run without gaps to the open one, or begin another."""
        if self._open is not None:
            record, first, held = self._open
            if (record, first + len(held)) == (number, start):
                self._open = (record, first, np.concatenate([held, values]))
            else:
                self._flush(whole=False)
                self._open = (number, start, values)
        else:
            self._open = (number, start, values)
        self._flush(whole=True)

    def _flush(self, *, whole: bool) -> None:
        """Write the sections of the open run; if `whole`, the last one waits until it is full."""
        assert self._open is not None
        number, start, values = self._open
        size = len(values) // PER_SECTION * PER_SECTION if whole else len(values)
        for first in range(0, size, PER_SECTION):
            self._section(number, start + first, values[first : min(first + PER_SECTION, size)])
        rest = values[size:]
        self._open = (number, start + size, rest) if len(rest) else None

    def _section(self, number: int, start: int, values: NDArray[np.float32]) -> None:
        end = start + len(values)
        head = struct.pack("<IIIIIBBH", number, start, end, 1, 1, _FIXED_STEP, 0, len(values))
        self._blocks.add(head + values.tobytes(), (number, start, number, end))
        wide = values.astype(np.float64)
        self._count += len(values)
        self._low, self._high = min(self._low, wide.min()), max(self._high, wide.max())
        self._sums += wide.sum(), np.square(wide).sum()
        found = summaries(number, start, values)
        for level in self._levels:
            found = level.add(found)


def _finite_runs(values: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Where stretches of finite values begin and end."""
    edges = np.flatnonzero(np.diff(np.isfinite(values), prepend=False, append=False))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
