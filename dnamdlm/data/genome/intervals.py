"""Genomic intervals and a strict reader of BED files.

Coordinates are 0-based and half-open. A BED file is never shortened in silence: every row is either
returned or rejected with its line number and the reason.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError

_MAX_DIGITS = 18
_SKIPPED_PREFIXES = ("#", "track", "browser")
# a comparison of names takes some 50 microseconds, and an assembly may have a million of them.
_COMPARED_NAMES = 1000


@dataclass(frozen=True, order=True)
class Interval:
    """Positions `start` <= x < `end` of one record; `strand` is '+', '-' or '.' (unknown)."""

    chrom: str
    start: int
    end: int
    strand: str = "."

    def __post_init__(self) -> None:
        if not self.chrom:
            raise DataError("an interval needs the name of a record, got an empty name")
        if not 0 <= self.start < self.end:
            raise DataError(
                f"interval {self.chrom}:{self.start}-{self.end} is empty or reversed; "
                "0 <= start < end is needed (0-based, half-open)"
            )
        if self.strand not in ("+", "-", "."):
            raise DataError(f"strand must be '+', '-' or '.', got {self.strand!r}")

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"

    def overlaps(self, other: Interval) -> bool:
        """True if both share at least one base, on whatever strand."""
        return self.chrom == other.chrom and self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class RejectedRow:
    """A row of a BED file that was left out: its line number (from 1) and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class BedTable:
    """Rows of a BED file in their order; `num_rows` = len(intervals) + len(rejected).

    Attributes:
        intervals: one per accepted row.
        names: fourth column of each accepted row, or None where the row has three columns.
        lines: line number of each accepted row, from 1.
        rejected: rows that were left out (with `bad_rows="skip"` or `elsewhere="skip"`).
        num_rows: rows in the file, without blank, comment, track and browser lines.
    """

    intervals: tuple[Interval, ...]
    names: tuple[str | None, ...]
    lines: tuple[int, ...]
    rejected: tuple[RejectedRow, ...]
    num_rows: int


def read_bed(
    path: str | Path,
    lengths: Mapping[str, int],
    *,
    bad_rows: Literal["error", "skip"] = "error",
    elsewhere: Literal["error", "skip"] = "error",
) -> BedTable:
    """Read a BED file, or another table that begins as one does, plain or compressed.

    Three tab-separated columns are needed; name and strand are taken from the fourth and sixth
    where they are there, a strand other than '+' and '-' is unknown, and the rest is not read.

    Args:
        path: the file.
        lengths: length in bases of every record that a row may name.
        bad_rows: "error" stops at the first bad row; "skip" lists it under `rejected`.
        elsewhere: the same for rows on records that the genome does not have.

    Raises:
        DataError: for a bad row, a file without rows, or a file that cannot be read.
    """
    intervals: list[Interval] = []
    names: list[str | None] = []
    lines: list[int] = []
    rejected: list[RejectedRow] = []
    for number, interval, name in _accepted(Path(path), lengths, rejected, bad_rows, elsewhere):
        intervals.append(interval)
        names.append(name)
        lines.append(number)
    return BedTable(
        intervals=tuple(intervals),
        names=tuple(names),
        lines=tuple(lines),
        rejected=tuple(rejected),
        num_rows=len(intervals) + len(rejected),
    )


def bed_rows(path: str | Path, lengths: Mapping[str, int]) -> Iterator[tuple[Interval, str | None]]:
    """Interval and name of each row of a BED file, of which none is kept in memory.

    Args:
        path: as `read_bed`.
        lengths: length in bases of every record that a row may name.

    Raises:
        DataError: as `read_bed`; for a bad row once it is reached, and without rows at the end.
    """
    for _, interval, name in _accepted(Path(path), lengths, [], "error", "error"):
        yield interval, name


def _accepted(
    path: Path,
    lengths: Mapping[str, int],
    rejected: list[RejectedRow],
    bad_rows: Literal["error", "skip"],
    elsewhere: Literal["error", "skip"],
) -> Iterator[tuple[int, Interval, str | None]]:
    """Line number, interval and name of each row; those that are left out go to `rejected`."""
    other = unknown = ""
    is_empty = True
    for number, line in read_lines(path):
        if not line.strip() or line.split(maxsplit=1)[0].startswith(_SKIPPED_PREFIXES):
            continue
        chrom = line.partition("\t")[0]
        if elsewhere == "skip" and chrom not in lengths and "\t" in line:
            other = other or chrom
            rejected.append(RejectedRow(number, f"record {chrom!r} is not in the genome"))
            continue
        # what it may have been called is looked for once, since names may be hundred thousands.
        if unknown and bad_rows == "skip" and chrom not in lengths and "\t" in line:
            rejected.append(RejectedRow(number, f"record {chrom!r} is not in the genome"))
            continue
        try:
            interval, name = _parse_row(line, lengths)
        except DataError as error:
            if bad_rows == "error":
                raise DataError(f"{path}, line {number}: {error}") from None
            rejected.append(RejectedRow(number, str(error)))
            unknown = unknown or ("" if chrom in lengths else chrom)
            continue
        is_empty = False
        yield number, interval, name
    if is_empty:
        if other:
            raise DataError(
                f"{path}: {unknown_record(other, lengths)}, nor is any other record of the file"
            )
        found = f"all {len(rejected)} rows were rejected" if rejected else "no rows"
        raise DataError(f"{path}: {found}; a BED file needs rows of chrom, start and end")


def check_inside(interval: Interval, lengths: Mapping[str, int], remedy: str = "") -> None:
    """Raise DataError unless `interval` lies within a known record.

    Args:
        interval: what lies there.
        lengths: bases of each record.
        remedy: what else to do about an interval that ends past its record.
    """
    if interval.chrom not in lengths:
        raise DataError(unknown_record(interval.chrom, lengths))
    if interval.end > lengths[interval.chrom]:
        raise DataError(
            f"record {interval.chrom!r} has {lengths[interval.chrom]} bp, but {interval} ends at "
            f"{interval.end}; use coordinates of this genome build (0-based, half-open)"
            f"{remedy and ', or ' + remedy}"
        )


def unknown_record(name: str, known: Iterable[str]) -> str:
    """One sentence that says which known record names come nearest to `name`."""
    known = list(known)
    other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
    if other in known:
        return (
            f"record {name!r} is not in the genome, but {other!r} is; "
            "the two files name chromosomes differently: rename one of them"
        )
    compared = known
    if len(known) > _COMPARED_NAMES:
        # of the names in order, those around this one begin as it does.
        ordered = sorted(known)
        first = max(0, bisect_left(ordered, name) - _COMPARED_NAMES // 2)
        compared = ordered[first : first + _COMPARED_NAMES]
    near = difflib.get_close_matches(name, compared, n=3, cutoff=0.4) or known[:3]
    listed = ", ".join(repr(item) for item in near)
    return f"record {name!r} is not in the genome; the nearest of {len(known)} names: {listed}"


def _parse_row(line: str, lengths: Mapping[str, int]) -> tuple[Interval, str | None]:
    columns = line.rstrip("\t").split("\t")
    if len(columns) < 3:
        hint = (
            "; columns seem to be separated by spaces, use tabs" if len(line.split()) >= 3 else ""
        )
        raise DataError(f"{len(columns)} tab-separated columns, at least 3 are needed{hint}")
    chrom, start_text, end_text = columns[:3]
    start, end = (
        coordinate(column, text, least=0)
        for column, text in (("start", start_text), ("end", end_text))
    )
    # other formats that begin as BED does have a number or a text there.
    strand = columns[5] if len(columns) > 5 and columns[5] in ("+", "-") else "."
    interval = Interval(chrom, start, end, strand)
    check_inside(interval, lengths)
    return interval, columns[3] if len(columns) > 3 else None


def coordinate(column: str, text: str, *, least: int) -> int:
    """A coordinate of a text file.

    Args:
        column: what it is called, for the message.
        text: the field.
        least: smallest number that is allowed.

    Raises:
        DataError: if the field is not a whole number, too small, or longer than any coordinate.
    """
    # few digits, since longer numbers neither occur nor fit into 64 bits
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) >= least):
        shown = repr(text) if len(text) <= 2 * _MAX_DIGITS else f"{len(text)} characters"
        raise DataError(f"{column} must be a whole number of at least {least}, got {shown}")
    return int(text)
