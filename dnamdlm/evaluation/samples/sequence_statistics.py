"""What generated DNA looks like as text: k-mer spectra, their divergence, GC, and shuffled floors.

Sequences are arrays of store codes: A 0, C 1, G 2, T 3; anything else interrupts a k-mer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dnamdlm.evaluation.likelihood.rates import Rate
from dnamdlm.words.kmers import kmer_counts

MAX_K = 6
_MAX_BLOCKS = 512


def jensen_shannon(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits between count vectors on the last axis, 0 to 1.

    This is the divergence itself; its square root is the distance that some tools report. It is
    biased upwards by the finite size of the samples, so compare it with floors of equal size.

    Source: Lin 1991, "Divergence measures based on the Shannon entropy", eq. 4.1.
    """
    p = left / left.sum(axis=-1, keepdims=True)
    q = right / right.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2
    return np.maximum(_entropy(middle) - (_entropy(p) + _entropy(q)) / 2, 0.0)


def divergence_with_error(
    sequences: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    both_strands: bool = True,
    num_resamples: int = 200,
) -> list[Rate]:
    """Divergence of k-mer spectra from a reference for k = 1..6, with bootstrap standard errors.

    Whole sequences are resampled (runs of neighbours where there are more than 512); the reference
    is held fixed. `count` is the number of k-mers of `sequences` on one strand.
    """
    num_blocks = min(len(sequences), _MAX_BLOCKS)
    edges = np.linspace(0, len(sequences), num_blocks + 1).astype(int)
    blocks = [
        kmer_counts(sequences[low:high], both_strands=both_strands) for low, high in pairwise(edges)
    ]
    weights = rng.multinomial(num_blocks, np.full(num_blocks, 1 / num_blocks), size=num_resamples)
    rates = []
    for index, reference_counts in enumerate(kmer_counts(reference, both_strands=both_strands)):
        table = np.stack([block[index] for block in blocks]).astype(np.float64)
        resampled = jensen_shannon(weights @ table, reference_counts)
        value = float(jensen_shannon(table.sum(axis=0), reference_counts))
        strands = 2 if both_strands else 1
        rates.append(Rate(value, float(np.std(resampled, ddof=1)), int(table.sum()) // strands))
    return rates


def gc_fractions(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Share of G and C among the bases of each sequence; nan where a sequence has no base."""
    bases = np.array([np.count_nonzero(sequence < 4) for sequence in sequences])
    strong = np.array(
        [np.count_nonzero((sequence == 1) | (sequence == 2)) for sequence in sequences]
    )
    return np.divide(strong, bases, out=np.full(len(sequences), np.nan), where=bases > 0)


def shuffle_bases(sequence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same bases in random order."""
    return rng.permutation(sequence)


def shuffle_dinucleotides(sequence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random sequence with the same first base and the same count of every dinucleotide.

    All such sequences are equally likely: the last exits of the bases form a random tree towards
    the final base, the other exits are permuted, and the path through them is read off.

    Args:
        sequence: codes 0..3, shape (n,).
        rng: source of randomness.

    Raises:
        ValueError: if a code is not a base.

    Source: Altschul and Erickson 1985, "Significance of nucleotide sequence alignments".
    """
    if len(sequence) and sequence.max() > 3:
        raise ValueError("only sequences of A, C, G and T can be shuffled by dinucleotides")
    if len(sequence) < 3:
        return sequence.copy()
    exits = [sequence[1:][sequence[:-1] == base] for base in range(4)]
    final = int(sequence[-1])
    sources = [base for base in range(4) if len(exits[base]) and base != final]
    while True:
        shuffled = [rng.permutation(choices) for choices in exits]
        last_exit = {base: int(shuffled[base][-1]) for base in sources}
        if all(_leads_to(base, final, last_exit) for base in sources):
            break
    queues = [iter(choices.tolist()) for choices in shuffled]
    path = [int(sequence[0])]
    for _ in range(len(sequence) - 1):
        path.append(next(queues[path[-1]]))
    return np.array(path, sequence.dtype)


def _leads_to(base: int, final: int, last_exit: dict[int, int]) -> bool:
    for _ in range(4):
        if base == final:
            return True
        base = last_exit[base]
    return base == final


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logs).sum(axis=-1)
