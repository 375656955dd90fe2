"""Rows of variants within regions: looked up with an index, or picked out of all rows.

A row lies where its first base does, so that regions which share no base share no row. Both ways
give the same rows. With an index the records come in its order, which is that of the file.
"""

from __future__ import annotations

import hashlib
import logging
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dnamdlm.data.genome.intervals import Interval, read_bed, unknown_record
from dnamdlm.data.genome.regions import REGION, parse_region
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.textfile import begins_bgzip
from dnamdlm.data.variants.bcf import BcfFile, check_end, has_pysam, lines_between
from dnamdlm.data.variants.variant_indexes import (
    VariantIndex,
    check_index,
    index_of,
    read_index,
)
from dnamdlm.data.variants.variant_sources import VariantSource, open_variants
from dnamdlm.data.variants.vcf import Variant, VariantFile, read_row
from dnamdlm.errors import ConfigError, DataError

_CONTIG = re.compile(r"##contig=<(?:.*,)?ID=([^,>]+)")
_POSITION = re.compile(r"[0-9]{1,15}", re.ASCII)
_log = logging.getLogger(__name__)


class _AnyRecord(Mapping[str, int]):
    """Records of every name and any length, for a BED file without its genome."""

    def __getitem__(self, name: str) -> int:
        return 1 << 62

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True)
class Regions:
    """Parts of records.

    Attributes:
        text: as the user wrote them.
        parts: name of a record -> (start, end) of its parts, in order, none of which touch.
    """

    text: str
    parts: Mapping[str, tuple[tuple[int, int], ...]]

    def holds(self, chrom: str, position: str) -> bool:
        """Whether the position of a row, from 1 and as text, lies within them."""
        parts = self.parts.get(chrom)
        if parts is None or not _POSITION.fullmatch(position):
            return False
        place = int(position) - 1
        number = bisect_right(parts, (place, 1 << 62)) - 1
        return number >= 0 and parts[number][0] <= place < parts[number][1]


def regions_within(text: str) -> Regions:
    """Regions from their text `chrom:first-last`, 1-based with both ends, or from a BED file.

    Raises:
        ConfigError: for a text that is neither.
        DataError: for a BED file that is refused.

    >>> regions_within("chr1:1,001-2,000").parts
    {'chr1': ((1000, 2000),)}
    """
    if REGION.fullmatch(text.strip()) and not Path(text).exists():
        return Regions(text, _joined([parse_region(text, "within")]))
    if not on_disk(text).exists():
        raise ConfigError(
            f"within={text} is neither a region nor a file; write chrom:first-last, 1-based with "
            "both ends included, such as chr1:1001-2000, or give a BED file"
        )
    return Regions(text, _joined(read_bed(text, _AnyRecord()).intervals))


class RowsWithin:
    """Those rows of a source that lie within regions, see `VariantSource`."""

    def __init__(self, source: VariantSource, regions: Regions) -> None:
        """Look for an index, which is checked.

        Raises:
            DataError: if the index is damaged or that of another file, or no record of the regions
                is one of the file.
        """
        self.source, self.regions = source, regions
        self.path, self.meta, self.columns = source.path, source.meta, source.columns
        self.extras = source.extras
        self._index = self._found_index()
        self.unit = source.unit if self._index is None else "row"
        self._headed = set(_CONTIG.findall("\n".join(self.meta)))

    def rows(self) -> Iterator[Variant]:
        """The rows in order.

        Raises:
            DataError: if the source cannot be read, or no record of the regions is one of it.
        """
        if self._index is not None:
            yield from self._looked_up(self._index)
            return
        seen = set(self._headed)
        for row in self.source.rows():
            seen.add(row.fields[0])
            if self.regions.holds(row.fields[0], row.fields[1]):
                yield row
        self._refuse_others(seen)

    def digest(self) -> str:
        """SHA-256 of the rows, however they are found."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        content = hashlib.sha256()
        for row in self.rows():
            content.update("\t".join([*row.fields, *row.extras]).encode() + b"\n")
        return content.hexdigest()

    def _found_index(self) -> VariantIndex | None:
        source = self.source
        if not isinstance(source, BcfFile | VariantFile):
            return None
        path = on_disk(source.path)
        if not _is_bgzip(path):
            return None
        found = index_of(path)
        if found is None:
            _log.info(
                "%s has no index, so that all of it is read; bcftools index FILE makes one", path
            )
            return None
        if not has_pysam():
            _log.info("%s is read whole, since pysam is not installed to use its index", path)
            return None
        check_end(source.path)
        index = read_index(found)
        check_index(index, path, is_binary=isinstance(source, BcfFile))
        return index

    def _looked_up(self, index: VariantIndex) -> Iterator[Variant]:
        # records in the order of the file; those of a BCF file are in that of its header.
        order = index.names or tuple(_CONTIG.findall("\n".join(self.meta)))
        self._refuse_others({*self._headed, *order})
        width, parts = len(self.columns), self.regions.parts
        intervals = ((name, *part) for name in order for part in parts.get(name, ()))
        lines = lines_between(self.source.path, index.path, intervals)
        for number, line in enumerate(lines, start=1):
            yield read_row(number, line, width)

    def _refuse_others(self, known: Iterable[str]) -> None:
        """Refuse regions none of whose records is known."""
        known = set(known)
        wanted = list(self.regions.parts)
        if known and wanted and not known & set(wanted):
            text = unknown_record(wanted[0], sorted(known)).replace("the genome", f"{self.path}")
            raise DataError(f"within={self.regions.text}: {text}")


def _joined(intervals: Iterable[Interval]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Parts of each record in order, of which none touch."""
    found: dict[str, list[tuple[int, int]]] = {}
    for where in sorted(intervals, key=lambda x: (x.start, x.end)):
        parts = found.setdefault(where.chrom, [])
        if parts and where.start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(parts[-1][1], where.end))
        else:
            parts.append((where.start, where.end))
    return {name: tuple(parts) for name, parts in found.items()}


def _is_bgzip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(18)
    return head.startswith(b"\x1f\x8b") and begins_bgzip(head)


def opened_rows(variants: str | Path, within: str | None) -> VariantSource:
    """The variants of a file or text, or those of its rows that lie within regions.

    Raises:
        ConfigError: for regions that are neither text nor file.
        DataError: for a file that is refused.
    """
    source = open_variants(variants)
    return source if within is None else RowsWithin(source, regions_within(within))
