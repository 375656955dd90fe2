"""How much a file of samples copies from the training split, in one sentence.

The searches and the rule are those of the rows of novelty in the table of quality (`memorisation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.samples.nearest import is_memorised, nearest_stretches
from dnamdlm.evaluation.samples.novelty import longest_matches


def novelty_sentence(
    samples: Mapping[str, np.ndarray], store: GenomeStore, train: Sequence[Interval]
) -> str:
    """The longest exact matches of samples with the training split, and how many are memorised.

    Args:
        samples: codes of each sequence by its name, at least one.
        store: genome store.
        train: intervals of the training split.
    """
    sequences = list(samples.values())
    matches = longest_matches(sequences, store, train)
    nearest = nearest_stretches(sequences, store, train)
    lengths = np.array([match.length for match in matches])
    copied = sum(
        is_memorised(near.identity, match.length, len(sequence))
        for sequence, match, near in zip(sequences, matches, nearest, strict=True)
    )
    longest = matches[int(lengths.argmax())]
    where = f" ({longest.chrom}:{longest.start + 1} {longest.strand})" if longest.chrom else ""
    return (
        f"novelty: {copied:,} of {len(sequences):,} sequences are copies of training sequence; the "
        f"longest exact match has {longest.length:,} bp{where}, the median {np.median(lengths):g} "
        "bp"
    )
