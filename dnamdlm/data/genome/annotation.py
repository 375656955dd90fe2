"""Region classes of a genome from a GFF3 file: coding or not, for each base.

GFF3 counts from 1 and includes the end; inside the package coordinates are 0-based and half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval, check_inside, coordinate
from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError

CLASS_NAMES = ("non-coding", "coding")
_NUM_COLUMNS = 9


@dataclass(frozen=True)
class Feature:
    """One row of a GFF3 file: its type ("gene", "CDS", ...) and place."""

    kind: str
    interval: Interval


@dataclass(frozen=True)
class RegionClasses:
    """Class of every base: 1 inside a coding run, else 0; `names[class]` says what it means.

    Attributes:
        runs: coding runs as store offsets [start, end), sorted and disjoint, shape (runs, 2).
        num_bases: bases of the genome.
    """

    runs: NDArray[np.int64]
    num_bases: int
    names: tuple[str, ...] = CLASS_NAMES

    def plane(self, start: int = 0, end: int | None = None) -> NDArray[np.uint8]:
        """Classes of the bases at offsets start <= x < end, one byte each."""
        end = self.num_bases if end is None else end
        plane = np.zeros(end - start, dtype=np.uint8)
        first = np.searchsorted(self.runs[:, 1], start, side="right")
        last = np.searchsorted(self.runs[:, 0], end, side="left")
        for run_start, run_end in self.runs[first:last]:
            plane[max(run_start - start, 0) : run_end - start] = 1
        return plane

    def windows(self, starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """Classes of windows at the given offsets, shape (B, length); 0 past the genome's end."""
        edges = self.runs.reshape(-1)
        offsets = np.asarray(starts, dtype=np.int64)[:, None] + np.arange(length)
        return (np.searchsorted(edges, offsets, side="right") % 2).astype(np.uint8)


def read_gff(path: str | Path, lengths: Mapping[str, int]) -> tuple[Feature, ...]:
    """All features of a GFF3 file, plain or compressed, in file order.

    Args:
        path: the file.
        lengths: length in bases of every record that a row may name.

    Raises:
        DataError: for a bad row or an unreadable file; the message names the line.
    """
    path = Path(path)
    features: list[Feature] = []
    for number, line in read_lines(path):
        if line.startswith("##FASTA"):
            break
        if not line.strip() or line.startswith("#"):
            continue
        try:
            features.append(_parse_row(line, lengths))
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
    if not features:
        raise DataError(f"{path}: no features; a GFF3 file has rows of {_NUM_COLUMNS} columns")
    return tuple(features)


def region_classes(
    features: Iterable[Feature], lengths: Mapping[str, int], offsets: Mapping[str, int]
) -> RegionClasses:
    """Coding bases (on either strand) from the CDS features.

    Raises:
        DataError: if no feature is a CDS.
    """
    coding = sorted(
        (
            offsets[item.interval.chrom] + item.interval.start,
            offsets[item.interval.chrom] + item.interval.end,
        )
        for item in features
        if item.kind == "CDS"
    )
    if not coding:
        raise DataError(
            "the annotation has no CDS feature, so no base is known to be coding; give another "
            "GFF3 file, or leave data.annotation out"
        )
    merged: list[tuple[int, int]] = []
    for start, end in coding:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return RegionClasses(np.array(merged, dtype=np.int64), sum(lengths.values()))


def _parse_row(line: str, lengths: Mapping[str, int]) -> Feature:
    columns = line.split("\t")
    if len(columns) != _NUM_COLUMNS:
        raise DataError(f"{len(columns)} tab-separated columns, GFF3 has {_NUM_COLUMNS}")
    chrom, _, kind, start_text, end_text, _, strand, _, _ = columns
    start, end = (
        coordinate(column, text, least=1)
        for column, text in (("start", start_text), ("end", end_text))
    )
    interval = Interval(chrom, start - 1, end, "." if strand == "?" else strand)
    check_inside(interval, lengths)
    return Feature(kind, interval)
