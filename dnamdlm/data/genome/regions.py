"""A part of a chromosome as people write it: `chr17:43008077-43128366`, from 1, both ends included.

So samtools, UCSC and Ensembl name regions, and so records of FASTA files that were cut out of a
genome are named. Inside the package coordinates are 0-based and half-open.
"""

from __future__ import annotations

import re

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import ConfigError, DataError

REGION = re.compile(r"(\S+):([0-9][0-9,]{0,18})-([0-9][0-9,]{0,18})", re.ASCII)
"""What `parse_region` reads."""


def parse_region(text: str, setting: str = "region") -> Interval:
    """The interval that a text names.

    Args:
        text: of the region.
        setting: which holds it, for the message.

    >>> parse_region("chr17:43,008,077-43,128,366")
    Interval(chrom='chr17', start=43008076, end=43128366, strand='.')

    Raises:
        ConfigError: if it is written otherwise, or has no base.
    """
    match = REGION.fullmatch(text.strip())
    first, last = (int(x.replace(",", "")) for x in match.groups()[1:]) if match else (0, 0)
    if match is None or not 1 <= first <= last:
        raise ConfigError(
            f"{setting}={text} is not a valid region; use chrom:first-last, 1-based with both ends "
            "included, for instance chr17:43008077-43128366"
        )
    return Interval(match[1], first - 1, last)


def region_text(region: Interval) -> str:
    """How people write a region."""
    return f"{region.chrom}:{region.start + 1}-{region.end}"


def record_of_region(store: GenomeStore, region: Interval) -> str:
    """The record of a genome that holds the region.

    It is the only one, or else the one that has the name of the region.

    Raises:
        DataError: if there is no such record, or it has another length.
    """
    names = store.names if len(store.names) == 1 else (region_text(region),)
    record = names[0]
    if record not in store.lengths:
        raise DataError(
            f"region={region_text(region)} needs a FASTA file of one record, or one with a record "
            f"of that name, and this has {len(store.names)} records; give that record alone"
        )
    if store.lengths[record] != len(region):
        raise DataError(
            f"region={region_text(region)} has {len(region):,} bases, but record {record!r} has "
            f"{store.lengths[record]:,}; give the region that was cut out, 1-based with both ends "
            "included"
        )
    return record


def region_in_name(chrom: str, store: GenomeStore) -> str | None:
    """The name of a record that is a region of this chromosome and says so, or None."""
    for name in store.names:
        match = REGION.fullmatch(name)
        if match is not None and match[1] == chrom:
            return name
    return None
