"""Frechet distance between two sets of vectors, each seen as a normal law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnamdlm.evaluation.sequence import kmer_counts

WORD = 4


def frechet_distance(left: np.ndarray, right: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in squared units of the vectors.

    It is biased upwards by the finite size of the sets, so compare it with sets of equal size.

    Args:
        left: (N, D), N >= 2.
        right: (M, D), M >= 2.

    Source: Dowson and Landau 1982, "The Frechet distance between multivariate normal
    distributions".
    """
    means = left.mean(axis=0), right.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (left, right))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # (S1 S2)^(1/2) has the trace of (S1^(1/2) S2 S1^(1/2))^(1/2), which is symmetric.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0.0)).sum()
    gap = means[0] - means[1]
    distance = float(gap @ gap + np.trace(first) + np.trace(second) - 2 * shared)
    return max(distance, 0.0)


def kmer_vectors(sequences: Sequence[np.ndarray], k: int = WORD) -> np.ndarray:
    """Shares of all words of k bases in each sequence, both strands, float64 (N, 4^k)."""
    table = np.stack([kmer_counts([sequence], k)[k - 1] for sequence in sequences]).astype(float)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1)
