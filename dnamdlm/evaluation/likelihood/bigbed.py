"""Writes bigBed files of named intervals, such as genes, for genome browsers.

Source of the format: Kent et al. 2010, doi:10.1093/bioinformatics/btq351.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import IO

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.evaluation.likelihood.big_indexes import (
    FILE_HEAD_BYTES,
    blocks_index,
    file_head,
    records_index,
)
from dnamdlm.evaluation.likelihood.bigwig_summaries import Blocks

MAGIC = 0x8789F2EB
_FIELDS = 6
_PER_BLOCK = 512


def write_bigbed(file: IO[bytes], features: Sequence[Feature], lengths: Mapping[str, int]) -> None:
    """Write features with name and strand.

    Args:
        file: empty, and open to be written at any place.
        features: in any order; one without a name is called by its kind.
        lengths: record name -> bases, in the order of the genome.
    """
    numbers = {name: number for number, name in enumerate(lengths)}
    rows = sorted(
        (numbers[x.interval.chrom], x.interval.start, x.interval.end, x.interval.strand, _name(x))
        for x in features
    )
    records = records_index(lengths, FILE_HEAD_BYTES)
    data_at = FILE_HEAD_BYTES + len(records)
    file.write(bytes(FILE_HEAD_BYTES) + records + struct.pack("<Q", len(rows)))
    blocks, largest = Blocks(file), 1
    for block in _blocks(rows):
        content = b"".join(
            struct.pack("<III", *row[:3]) + f"{row[4]}\t0\t{row[3]}".encode() + b"\0"
            for row in block
        )
        record, start = block[0][:2]
        blocks.add(content, (record, start, record, max(row[2] for row in block)))
        largest = max(largest, len(content))
    index_at = file.tell()
    file.write(blocks_index(blocks.table(0), index_at, end=index_at, per_block=_PER_BLOCK))
    file.write(struct.pack("<I", MAGIC))
    file.seek(0)
    places = (FILE_HEAD_BYTES, data_at, index_at)
    file.write(file_head(MAGIC, places, buffer=largest, fields=_FIELDS))
    file.seek(0, 2)


def _name(feature: Feature) -> str:
    """The name in one field of a table."""
    return " ".join(feature.name.split()) or feature.kind


def _blocks(
    rows: Sequence[tuple[int, int, int, str, str]],
) -> Iterator[Sequence[tuple[int, int, int, str, str]]]:
    """Rows of one record at a time, at most as many as a block holds."""
    for _, group in groupby(rows, key=lambda row: row[0]):
        own = list(group)
        for first in range(0, len(own), _PER_BLOCK):
            yield own[first : first + _PER_BLOCK]
