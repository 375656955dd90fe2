"""Every substitution of one base within the intervals of a BED file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.variants.variant_places import bases
from dnamdlm.data.variants.variant_regions import RowsWithin, regions_within
from dnamdlm.data.variants.variant_sources import (
    META,
    FrameTable,
    VariantSource,
    VariantTable,
    VariantTexts,
    open_variants,
)
from dnamdlm.data.variants.vcf import COLUMNS, Variant
from dnamdlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pandas import DataFrame

ALL = "all"
"""What stands for them in place of a file."""
_BASES_AT_ONCE = 4096
_ALTS = {ref: tuple(alt for alt in "ACGT" if alt != ref) for ref in "ACGT"}


class AllSubstitutions:
    """A row for each A, C, G and T of some intervals, with the three other bases as alleles.

    Rows are in the order of the records of the genome and of their bases; a base of several
    intervals has one row. See `VariantSource`.
    """

    meta: tuple[str, ...] = META
    columns: tuple[str, ...] = COLUMNS
    extras: tuple[str, ...] = ()
    unit: str = "line"

    def __init__(self, bed: str | Path, store: GenomeStore) -> None:
        """Read the intervals.

        Raises:
            DataError: for a file that is refused, or has no interval.
        """
        self.path, self.store = Path(bed), store
        self.intervals = _joined(list(read_bed(bed, store.lengths).intervals), store)
        if not self.intervals:
            raise DataError(f"{bed}: there is no interval; give at least one")

    def rows(self) -> Iterator[Variant]:
        """The rows in order, numbered from 1."""
        number = 0
        for where in self.intervals:
            for start in range(where.start, where.end, _BASES_AT_ONCE):
                end = min(start + _BASES_AT_ONCE, where.end)
                for place, ref in enumerate(bases(self.store, where.chrom, start, end), start):
                    if (alts := _ALTS.get(ref)) is None:
                        continue
                    number += 1
                    fields = (where.chrom, str(place + 1), ".", ref, ",".join(alts), *"...")
                    yield Variant(number, where.chrom, place, ref, alts, fields)

    def digest(self) -> str:
        """SHA-256 of the intervals; the genome has one of its own."""
        text = "".join(f"{where.chrom}\t{where.start}\t{where.end}\n" for where in self.intervals)
        return hashlib.sha256(text.encode()).hexdigest()


def variants_of(
    variants: str | Path | Sequence[str] | DataFrame,
    bed: str | Path | None,
    store: GenomeStore,
    within: str | None = None,
) -> VariantSource:
    """Variants of a file, of texts or of a DataFrame, or all within intervals.

    Args:
        variants: what `Model.score_variants` takes.
        bed: intervals of `ALL`, and of nothing else.
        store: their genome.
        within: regions whose rows are taken; None: all rows.

    Raises:
        ConfigError: for intervals that are missing or have no effect.
        DataError: for a table without the columns that are needed, or texts that are no variants.
    """
    is_all = isinstance(variants, str) and variants == ALL
    if is_all != (bed is not None):
        raise ConfigError("variants='all' and bed=FILE belong together; give both or neither")
    if bed is not None:
        if within is not None:
            raise ConfigError(f"within={within} has no effect on variants='all'; give bed=FILE")
        return AllSubstitutions(bed, store)
    found = _listed(variants)
    return found if within is None else RowsWithin(found, regions_within(within))


def _listed(variants: str | Path | Sequence[str] | DataFrame) -> VariantSource:
    """Variants of a file, of texts or of a DataFrame."""
    if isinstance(variants, str | Path):
        return open_variants(variants)
    if hasattr(variants, "columns"):
        return VariantTable(FrameTable(variants))  # pyright: ignore[reportArgumentType]
    texts = list(map(str, variants))
    if not texts:
        raise DataError("there are no variants to score; give at least one")
    return VariantTexts(texts)


def _joined(intervals: list[Interval], store: GenomeStore) -> list[Interval]:
    """Intervals without their strands, in the order of the genome, none of which overlap."""
    order = {name: number for number, name in enumerate(store.names)}
    found: list[Interval] = []
    for where in sorted(intervals, key=lambda x: (order[x.chrom], x.start, x.end)):
        last = found[-1] if found else None
        if last is not None and last.chrom == where.chrom and where.start <= last.end:
            found[-1] = Interval(last.chrom, last.start, max(last.end, where.end))
        else:
            found.append(Interval(where.chrom, where.start, where.end))
    return found
