"""How much of each sample is copied: rows of the table of quality, and the copies themselves.

Copies of generated sequences, and of the samples that they are compared with, are searched in the
training split or, where that is unknown, in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.resampling import Estimate, mean_estimate
from dnamdlm.evaluation.samples import nearest
from dnamdlm.evaluation.samples.figure_rows import QualityRows
from dnamdlm.evaluation.samples.novelty import Match, longest_matches
from dnamdlm.evaluation.samples.reference_samples import GENERATED, REAL, without
from dnamdlm.words import edits

Copy = tuple[Match, nearest.Neighbour]
"""The longest exact match and the nearest stretch of one sequence."""


def add_copies(
    table: QualityRows,
    names: Sequence[str],
    reference: tuple[GenomeStore, Sequence[Interval]],
    training: tuple[GenomeStore, Sequence[Interval]] | None,
) -> dict[str, Any]:
    """Add the rows of novelty.

    Args:
        table: with the samples.
        names: of the generated sequences, in their order; further names are ignored.
        reference: store and intervals of the reference.
        training: store and intervals in which copies are searched; None for the reference.

    Returns:
        The part "copies" of the section, as JSON values.
    """
    compared = table.compared
    samples = compared.samples
    found = _copies(samples, *(training or reference))
    if training is None:
        # a real sequence is not a copy of itself.
        store, intervals = reference
        rest = without(intervals, compared.real_intervals)
        found |= _copies({REAL: samples[REAL]}, store, rest)
    lengths = {name: np.array([match.length for match, _ in own]) for name, own in found.items()}
    identities = {
        name: np.array([near.identity or np.nan for _, near in own]) for name, own in found.items()
    }
    is_copy = {
        name: np.array([_is_memorised(*pair) for pair in zip(samples[name], own, strict=True)])
        for name, own in found.items()
    }
    _add_means(table, "match", "Longest exact match, mean", lengths, "bp")
    for name, label, percentile in (
        ("match_median", "Longest exact match, median", 50),
        ("match_95", "Longest exact match, 95th percentile", 95),
        ("match_max", "Longest exact match, maximum", 100),
    ):
        cells = {
            key: Estimate(float(np.percentile(item, percentile))) for key, item in lengths.items()
        }
        table.add("Novelty", name, label, cells, "bp")
    is_known = {name: np.isfinite(item) for name, item in identities.items()}
    _add_means(table, "near", "With a nearest stretch", is_known, "share")
    _add_means(table, "identity", "Identity with it, mean of those", identities, "share")
    _add_means(table, "memorised", "Memorised", is_copy, "share")
    records = [
        _record(name, len(sequence), copy)
        for name, sequence, copy in zip(names, samples[GENERATED], found[GENERATED], strict=False)
    ]
    longest = int(np.argmax(lengths[GENERATED]))
    return {
        "looked_in": "the reference" if training is None else "the training split",
        "alignment": edits.method_name(),
        "rule": f"memorised: identity of {nearest.COPY_IDENTITY:.0%} or more with the nearest "
        f"stretch, or an exact match over {nearest.COPY_MATCH:.0%} of the sequence or more",
        "memorised": [
            record
            for record, is_flagged in zip(records, is_copy[GENERATED], strict=True)
            if is_flagged
        ],
        "longest": _place(names[longest], found[GENERATED][longest][0]),
        "match_lengths": {name: item.tolist() for name, item in lengths.items()},
    }


def _add_means(
    table: QualityRows, name: str, label: str, values: Mapping[str, np.ndarray], unit: str
) -> None:
    cells = {key: mean_estimate(item, table.rng) for key, item in values.items()}
    table.add("Novelty", name, label, cells, unit)


def _copies(
    samples: Mapping[str, Sequence[np.ndarray]], store: GenomeStore, where: Sequence[Interval]
) -> dict[str, list[Copy]]:
    """Longest match and nearest stretch of each sequence, in one pass over the intervals."""
    together = [sequence for sample in samples.values() for sequence in sample]
    pairs = list(
        zip(
            longest_matches(together, store, where),
            nearest.nearest_stretches(together, store, where),
            strict=True,
        )
    )
    found, first = {}, 0
    for name, sample in samples.items():
        found[name] = pairs[first : first + len(sample)]
        first += len(sample)
    return found


def _is_memorised(sequence: np.ndarray, copy: Copy) -> bool:
    match, near = copy
    return nearest.is_memorised(near.identity, match.length, len(sequence))


def _record(name: str, length: int, copy: Copy) -> dict[str, Any]:
    match, near = copy
    return {
        "sequence": name,
        "length": length,
        "longest_match": match.length,
        "identity": round(near.identity, 4),
        "chrom": near.chrom or match.chrom,
        "start": near.start if near.chrom else match.start,
        "strand": near.strand if near.chrom else match.strand,
    }


def _place(name: str, match: Match) -> dict[str, Any]:
    return {
        "sequence": name,
        "length": match.length,
        "chrom": match.chrom,
        "start": match.start,
        "strand": match.strand,
    }
