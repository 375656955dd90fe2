"""Records of a FASTA file of short sequences, one after the other.

What is kept of the records that were given is one number each, by which names that repeat are
noticed. Then the file is read again by a reader that remembers names and says where they stand.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnamdlm.data.genome.fasta import FastaReader
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import BASE_CODES
from dnamdlm.words.codes import CODE_MASK

logger = logging.getLogger(__name__)


class FastaRecord(NamedTuple):
    """A record of a FASTA file.

    Attributes:
        line: of its header.
        header: without the '>'.
        letters: upper case, ambiguity codes as N; a record may have none.
    """

    line: int
    header: str
    letters: str


def fasta_records(path: Path, *, rna: bool, repeated_names: bool) -> Iterator[FastaRecord]:
    """Records as the reader of genomes gives them; what is unusual is logged at the end.

    Args:
        path: on the disk, since it may be read twice.
        rna: read U as T.
        repeated_names: records may share a name; otherwise this is a fault, found at the end.

    Raises:
        DataError: as `FastaReader`, the fault that stands first in the file.
    """
    reader = FastaReader(path, rna=rna, repeated_names=True, forgets=True)
    names = array("q")
    try:
        for record in _records(reader):
            if not repeated_names:
                names.append(hash(record.header.split()[0]))
            yield record
    except DataError:
        _find_fault(path, rna=rna, repeated_names=repeated_names)
        raise
    if _has_twice(names):
        _find_fault(path, rna=rna, repeated_names=repeated_names)
    # a record without bases is a row as well, which whoever reads the letters judges.
    for clause in replace(reader.counts, empty_records=[]).irregularities():
        logger.warning("%s: %s", path, clause)


def _records(reader: FastaReader) -> Iterator[FastaRecord]:
    letters = np.frombuffer(BASE_CODES, dtype=np.uint8)
    pieces: list[str] = []
    for chunk in reader:
        yield from _ended(reader.headers[:-1], pieces)
        del reader.headers[:-1]
        pieces.append(letters[chunk.codes & CODE_MASK].tobytes().decode("ascii"))
    yield from _ended(reader.headers, pieces)


def _ended(headers: list[tuple[int, str]], pieces: list[str]) -> Iterator[FastaRecord]:
    """Records that have ended; the pieces are those of the first, which are used up."""
    for line, header in headers:
        yield FastaRecord(line, header, "".join(pieces))
        pieces.clear()


def _has_twice(numbers: array[int]) -> bool:
    ordered = np.frombuffer(numbers, dtype=np.int64)
    # in its own memory.
    ordered.sort()
    return bool((ordered[1:] == ordered[:-1]).any())


def _find_fault(path: Path, *, rna: bool, repeated_names: bool) -> None:
    """Raise the first fault of a file, which may be a name that was used before."""
    for _ in FastaReader(path, rna=rna, repeated_names=repeated_names):
        pass
