"""The stretches of a genome that are interpreted."""

from __future__ import annotations

from collections.abc import Sequence

from dnamdlm.assembly.interpret.interpretation import file_stem
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.loci import parse_locus, pieces_of_locus
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import ConfigError

MAX_MUTATED = 100_000


def places_of(store: GenomeStore, loci: Sequence[str]) -> list[Interval]:
    """The stretches that loci name, or every record whole.

    Raises:
        ConfigError: if together they are too long, or two have the same files.
        DataError: if one does not lie in its record.
    """
    found = [parse_locus(text) for text in loci] or [
        Interval(name, 0, size) for name, size in store.lengths.items() if size
    ]
    for where in found:
        pieces_of_locus(where, store)
    total = sum(map(len, found))
    if total > MAX_MUTATED:
        raise ConfigError(
            f"{total:,} bases are to be interpreted, at most {MAX_MUTATED:,} at once; give "
            "locus=chrom:start-end"
        )
    stems = [file_stem(where) for where in found]
    for number, stem in enumerate(stems):
        if stem in stems[:number]:
            raise ConfigError(
                f"two stretches would both be written as {stem}.*; interpret them one at a time"
            )
    return found
