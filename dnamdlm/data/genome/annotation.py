"""Features and region classes of a genome from a GFF3 or GTF file: coding or not, for each base.

Both count from 1 and include the end; inside the package coordinates are 0-based and half-open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval, check_inside, coordinate, unknown_record
from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError

CLASS_NAMES = ("non-coding", "coding")
_NUM_COLUMNS = 9
# those that are shown with their names.
_NAMED = frozenset({"gene"})
_NAME_KEYS = ("gene_name", "gene", "Name", "gene_id", "locus_tag", "ID")
_ATTRIBUTE = re.compile(r"\s*([^\s=;]+)(?:\s+\"([^\"]*)\"|\s*=\s*([^;]*))\s*(?:;|$)")
_IS_CIRCULAR = re.compile(r"(?:^|;)\s*Is_circular=true\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Feature:
    """One row of a GFF3 or GTF file.

    Attributes:
        kind: its type: "gene", "CDS", ...
        interval: its place.
        name: of a gene, for people; features that differ in it alone are the same.
    """

    kind: str
    interval: Interval
    name: str = field(default="", compare=False)


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


class AnnotatesOther(DataError):
    """No row of an annotation is on a record of the genome."""


@dataclass(frozen=True)
class Annotation:
    """Features of a GFF3 file that lie in a genome.

    Attributes:
        features: in file order; one that crosses the origin of a circular record is two features,
            up to the end and from the first base on.
        num_elsewhere: rows on records that the genome does not have.
        elsewhere: the first of these records; empty without such rows.
    """

    features: tuple[Feature, ...]
    num_elsewhere: int = 0
    elsewhere: str = ""


def read_gff(
    path: str | Path, lengths: Mapping[str, int], circular: Collection[str] = ()
) -> Annotation:
    """The features of a GFF3 file, plain or compressed.

    Rows on records that the genome does not have are left out and counted, since the annotation of
    a whole genome goes with one of its chromosomes too.

    Args:
        path: the file.
        lengths: length in bases of every record of the genome.
        circular: names of circular records, besides those that the file says are circular.

    Raises:
        AnnotatesOther: if no row is on a record of the genome.
        DataError: for a bad row, no row, or an unreadable file; the message names the line.
    """
    path = Path(path)
    found: list[Feature] = []
    # place among the found, line, and feature that may cross an origin.
    late: list[tuple[int, int, Feature]] = []
    round_records = set(circular)
    num_elsewhere, elsewhere = 0, ""
    for number, line in read_lines(path):
        # FASTA may follow, by the specification also without its mark.
        if line.startswith(("##FASTA", ">")):
            break
        if not line.strip() or line.startswith("#"):
            continue
        try:
            feature, is_circular = _parse_row(line)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        interval = feature.interval
        length = lengths.get(interval.chrom)
        if is_circular:
            round_records.add(interval.chrom)
        if length is None:
            num_elsewhere, elsewhere = num_elsewhere + 1, elsewhere or interval.chrom
        elif interval.end <= length:
            found.append(feature)
        else:
            # that the record is circular may be said further down.
            late.append((len(found), number, feature))
    if not found and not late:
        raise _nothing_found(path, elsewhere, lengths)
    pieces: list[list[Feature]] = []
    for _, number, feature in late:
        try:
            pieces.append(_pieces(feature, lengths, round_records))
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
    for (place, _, _), both in zip(reversed(late), reversed(pieces), strict=True):
        found[place:place] = both
    return Annotation(tuple(found), num_elsewhere, elsewhere)


def _nothing_found(path: Path, elsewhere: str, lengths: Mapping[str, int]) -> DataError:
    if not elsewhere:
        return DataError(f"{path}: no features; a GFF3 file has rows of {_NUM_COLUMNS} columns")
    return AnnotatesOther(
        f"{path}: {unknown_record(elsewhere, lengths)}, nor is any other record of the file"
    )


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
            "the annotation has no CDS feature on the records of the genome, so no base is known "
            "to be coding; give another GFF3 file, or leave data.annotation out"
        )
    merged: list[tuple[int, int]] = []
    for start, end in coding:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return RegionClasses(np.array(merged, dtype=np.int64), sum(lengths.values()))


def _parse_row(line: str) -> tuple[Feature, bool]:
    """A row, and whether it says that its record is circular."""
    # the attributes are never empty, so tabs after them separate nothing.
    columns = line.rstrip("\t").split("\t")
    if len(columns) != _NUM_COLUMNS:
        raise DataError(f"{len(columns)} tab-separated columns, GFF3 has {_NUM_COLUMNS}")
    chrom, _, kind, start_text, end_text, _, strand, _, attributes = columns
    start, end = (
        coordinate(column, text, least=1)
        for column, text in (("start", start_text), ("end", end_text))
    )
    # other letters than [a-zA-Z0-9.:^*$@!+_?-|] are written as %XX in names of records.
    chrom = unquote(chrom) if "%" in chrom else chrom
    interval = Interval(chrom, start - 1, end, "." if strand == "?" else strand)
    is_circular = "ircular=" in attributes and _IS_CIRCULAR.search(attributes) is not None
    name = name_in(attributes) if kind in _NAMED else ""
    return Feature(kind, interval, name), is_circular


def name_in(attributes: str) -> str:
    """The name that attributes of GFF3 or GTF give a gene; empty without any.

    >>> name_in("ID=YAL001C;gene=TFC3"), name_in('gene_id "G7"; gene_name "BRCA2";')
    ('TFC3', 'BRCA2')
    >>> name_in("ID=YAL069W;Name=YAL069W;Note=a%20b")
    'YAL069W'
    """
    found = {}
    for match in _ATTRIBUTE.finditer(attributes):
        key, quoted, plain = match.groups()
        found.setdefault(key, quoted if quoted is not None else unquote(plain.strip()))
    # a dot says that there is none.
    return next((found[key] for key in _NAME_KEYS if found.get(key, ".") not in ("", ".")), "")


def _pieces(
    feature: Feature, lengths: Mapping[str, int], circular: Collection[str]
) -> list[Feature]:
    """The two pieces of a feature that ends past its record, before and after the origin.

    A feature that crosses the origin of a circular record has an end of its end plus the length of
    the record. Source: GFF3 specification 1.26, section "Circular Genomes".
    """
    interval = feature.interval
    chrom, length = interval.chrom, lengths[interval.chrom]
    if chrom not in circular:
        check_inside(interval, lengths, f"if the record is circular, set data.circular=[{chrom}]")
    if interval.start >= length or len(interval) > length:
        raise DataError(
            f"{interval} goes round the circular record {chrom!r} of {length} bp more than once; "
            "a feature starts in the record and is no longer than it"
        )
    pieces = ((interval.start, length), (0, interval.end - length))
    return [
        replace(feature, interval=Interval(chrom, start, end, interval.strand))
        for start, end in pieces
    ]
