"""Batches of rows in an unnamed temporary file, so that memory does not grow with their number.

Of each batch three pieces are written: the lengths of its sequences, their ids, and the cells of
its rows as JSON, all compressed. Each can be read on its own. What is kept in memory is where the
pieces end, and the figures of all rows together. Nothing of the file stays if the process is
killed.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.finetune.predicted_rows import PredictedRows
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.errors import DataError

# few rows need no disk.
_IN_MEMORY = 1 << 18
_LENGTHS, _TOKENS, _CELLS, _PIECES = range(4)
# fast; letters of DNA take a third of their space.
_COMPRESSION = 1


class SpooledRows:
    """Batches of rows, numbered from 0 in the order in which they are added.

    Attributes:
        num_rows: of all batches, those with a fault too.
        num_faults: rows that cannot be read.
        num_tokens: of all sequences.
        longest: tokens of the longest sequence, 0 without one.

    Args:
        file: where they are kept, empty, open for reading and writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.num_rows = self.num_faults = self.num_tokens = self.longest = 0
        self._file = file
        self._ends = array("q", [0])
        self._kind = np.dtype(np.uint8)
        self._offsets = hashlib.sha256(np.zeros(1, dtype=np.int64).tobytes())

    def add(self, rows: PredictedRows) -> None:
        """Write the next batch.

        Raises:
            OSError: if there is no space for it.
        """
        sequences = rows.sequences
        if len(sequences.tokens):
            self._kind = sequences.tokens.dtype
        self._offsets.update((sequences.offsets[1:] + self.num_tokens).tobytes())
        self.num_rows += rows.count
        self.num_faults += len(rows.faults)
        self.num_tokens += len(sequences.tokens)
        self.longest = max(self.longest, int(sequences.lengths.max(initial=0)))
        cells = [sequences.names, dict(rows.columns), list(rows.faults.items())]
        for content in (
            sequences.lengths.tobytes(),
            np.ascontiguousarray(sequences.tokens).tobytes(),
            json.dumps(cells).encode("ascii"),
        ):
            self._file.write(zlib.compress(content, _COMPRESSION))
            self._ends.append(self._file.tell())

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._ends) // _PIECES

    @property
    def num_sequences(self) -> int:
        """Rows that can be read."""
        return self.num_rows - self.num_faults

    def lengths(self, number: int) -> NDArray[np.int64]:
        """Tokens of each sequence of a batch."""
        return np.frombuffer(self._piece(number, _LENGTHS), dtype=np.int64)

    def sequences(self, number: int) -> list[NDArray[np.integer]]:
        """Ids of each sequence of a batch."""
        tokens = self._tokens(number)
        return [tokens[first:end] for first, end in pairwise(self._starts(number))]

    def rows(self, number: int) -> PredictedRows:
        """A batch as it was added."""
        names, columns, faults = json.loads(self._piece(number, _CELLS))
        sequences = SequenceSet(tuple(names), self._tokens(number), self._starts(number))
        return PredictedRows(sequences, columns, dict(faults))

    def digest(self) -> str:
        """SHA-256 of all ids and lengths, that of one `SequenceSet` of all sequences."""
        content = self._offsets.copy()
        for number in range(len(self)):
            content.update(self._piece(number, _TOKENS))
        return content.hexdigest()

    def _starts(self, number: int) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.lengths(number))]).astype(np.int64)

    def _tokens(self, number: int) -> NDArray[np.integer]:
        return np.frombuffer(self._piece(number, _TOKENS), dtype=self._kind)

    def _piece(self, number: int, piece: int) -> bytes:
        place = _PIECES * number + piece
        first, end = self._ends[place], self._ends[place + 1]
        self._file.seek(first)
        return zlib.decompress(self._file.read(end - first))


@contextmanager
def spooled(batches: Iterable[PredictedRows]) -> Iterator[SpooledRows]:
    """All batches, which can be read within the block.

    Raises:
        DataError: if there is no space for them.
    """
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        rows = SpooledRows(file)
        for batch in batches:
            try:
                rows.add(batch)
            except OSError as error:
                raise DataError(
                    f"the rows of the input cannot be kept in {gettempdir()} ({error.strerror}); "
                    "set TMPDIR to a folder with space"
                ) from error
        yield rows
