"""Rows of variants that say what a row before them said.

Each of them is scored and keeps its place as any other row, so that a table comes back with as many
rows as it had. They are worth a warning, since a figure over such a table counts them twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dnamdlm.data.variants.vcf import Variant, has_letters


@dataclass
class RepeatedRows:
    """Counts the repeated rows of a sorted table, in the memory of one place.

    In a table that is not sorted only repetitions that follow each other are found.

    Attributes:
        number: rows with an allele that a row before them has at the same place.
        first: line of the first of them.

    Example:
        >>> rows = RepeatedRows()
        >>> for line, alt in enumerate("TGT", 1):
        ...     rows.add(Variant(line, "chr1", 4, "A", (alt,), ()))
        >>> rows.number, rows.first
        (1, 3)
    """

    number: int = 0
    first: int = 0
    _place: tuple[str, int] | None = None
    _alleles: set[tuple[str, str]] = field(default_factory=set)

    def add(self, row: Variant) -> None:
        """Take the next row."""
        place = (row.chrom, row.start)
        if place != self._place:
            self._place = place
            self._alleles.clear()
        # two <DEL> at one place may end at different ones.
        alleles = {(row.ref, alt) for alt in row.alts if has_letters(alt)}
        if not alleles.isdisjoint(self._alleles):
            self.number += 1
            self.first = self.first or row.line
        self._alleles |= alleles
