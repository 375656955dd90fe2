"""Random sequences that keep the dinucleotides of a given one."""

from __future__ import annotations

import numpy as np


def shuffle_dinucleotides(sequence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random sequence with the same first base and the same count of every dinucleotide.

    All such sequences are equally likely: the last exits of the bases form a random tree towards
    the final base, the other exits are permuted, and the path follows them.

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
    """Whether the last exits lead from a base to the final one."""
    for _ in range(4):
        if base == final:
            return True
        base = last_exit[base]
    return base == final
