"""Loci: stretches of a genome as people write them, 0-based and half-open."""

from __future__ import annotations

import re

from dnamdlm.data.genome.intervals import Interval, check_inside
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import ConfigError, DataError

MAX_BASES = 5_000_000


def parse_locus(text: str) -> Interval:
    """`chrom:start-end`, 0-based and half-open; thousands may be separated by commas.

    Raises:
        ConfigError: if it is written otherwise.

    >>> str(parse_locus("chrXVI:1,000-9000"))
    'chrXVI:1000-9000'
    """
    match = re.fullmatch(r"(\S+):([0-9][0-9,]{0,18})-([0-9][0-9,]{0,18})", text)
    if match is None:
        raise ConfigError(
            f"locus={text} is not a valid locus; use chrom:start-end, for instance chrXVI:1000-9000"
        )
    start, end = (int(number.replace(",", "")) for number in match.groups()[1:])
    if not start < end <= start + MAX_BASES:
        raise ConfigError(
            f"locus={text} has {end - start:,} bases; 1 to {MAX_BASES:,} can be drawn"
        )
    return Interval(match.group(1), start, end)


def pieces_of_locus(where: Interval, store: GenomeStore) -> list[Interval]:
    """A locus as one interval of its record, or two where it goes across the origin of a circle.

    Raises:
        DataError: if it does not lie in its record.
    """
    size = store.lengths.get(where.chrom, 0)
    if where.chrom not in store.circular or where.end <= size:
        remedy = f"if the record is circular, set data.circular=[{where.chrom}]"
        check_inside(where, store.lengths, remedy)
        return [where]
    if where.start >= size or len(where) > size:
        raise DataError(
            f"locus={where} goes round the circular record {where.chrom!r} of {size} bp more than "
            "once; begin within the record, and end at most one record later"
        )
    return [Interval(where.chrom, where.start, size), Interval(where.chrom, 0, where.end - size)]
