"""How much the sequences of one sample differ from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnamdlm.tokens.nucleotide import reverse_complement
from dnamdlm.words.edits import edit_distance
from dnamdlm.words.kmers import canonical_kmers, has_only_bases

MAX_PAIRS = 100
WORD = 12


def is_duplicate(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """True for each sequence that is equal to an earlier one, or to its reverse complement."""
    seen: set[bytes] = set()
    repeated = []
    for sequence in sequences:
        plain = np.asarray(sequence, np.uint8)
        key = min(plain.tobytes(), reverse_complement(plain).tobytes())
        repeated.append(key in seen)
        seen.add(key)
    return np.array(repeated, np.bool_)


def pair_distances(
    sequences: Sequence[np.ndarray], rng: np.random.Generator, *, max_pairs: int = MAX_PAIRS
) -> np.ndarray:
    """Edit distance over the longer length of random pairs of different members, 0 to 1.

    All pairs are compared if there are at most `max_pairs`.
    """
    members = len(sequences)
    num_pairs = members * (members - 1) // 2
    if num_pairs <= max_pairs:
        left, right = np.triu_indices(members, 1)
    else:
        # an unordered pair for each draw; the same pair is rarely drawn twice.
        left = rng.integers(0, members, max_pairs)
        right = (left + rng.integers(1, members, max_pairs)) % members
    return np.array(
        [
            edit_distance(sequences[a], sequences[b]) / max(len(sequences[a]), len(sequences[b]))
            for a, b in zip(left.tolist(), right.tolist(), strict=True)
        ]
    )


def nearest_shares(sequences: Sequence[np.ndarray], k: int = WORD) -> np.ndarray:
    """For each sequence the largest share of its words that another one has, float64 (N,)."""
    sets = []
    for sequence in sequences:
        words = canonical_kmers(sequence, min(k, max(len(sequence), 1)))
        sets.append(np.unique(words[has_only_bases(sequence, min(k, max(len(sequence), 1)))]))
    owners = np.repeat(np.arange(len(sets)), [len(words) for words in sets])
    words = np.concatenate(sets) if sets else np.zeros(0, np.uint64)
    order = np.argsort(words, kind="stable")
    words, owners = words[order], owners[order]
    shared = np.zeros((len(sets), len(sets)), np.int32)
    starts = np.flatnonzero(np.concatenate([[True], words[1:] != words[:-1]])) if len(words) else []
    for low, high in zip(starts, [*starts[1:], len(words)], strict=True):
        if high - low > 1:
            members = owners[low:high]
            shared[np.ix_(members, members)] += 1
    np.fill_diagonal(shared, 0)
    sizes = np.array([max(len(words), 1) for words in sets])
    return shared.max(axis=1, initial=0) / sizes
