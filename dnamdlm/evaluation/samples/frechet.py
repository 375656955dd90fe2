"""Frechet distance between two sets of vectors, each taken as a normal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.words.kmers import kmer_counts

WORD = 4


@dataclass(frozen=True)
class NormalDistribution:
    """Mean (D,), symmetric root of the covariance (D, D), and trace of the covariance."""

    mean: np.ndarray
    root: np.ndarray
    trace: float

    @classmethod
    def of(cls, vectors: np.ndarray) -> NormalDistribution:
        """The distribution with the mean and covariance of vectors (M, D), M >= 2."""
        covariance = np.atleast_2d(np.cov(vectors, rowvar=False))
        values, axes = np.linalg.eigh(covariance)
        root = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
        return cls(vectors.mean(axis=0), root, float(np.trace(covariance)))


def frechet_distance(vectors: np.ndarray, target: NormalDistribution) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in squared units of the vectors.

    It is biased upwards by the finite size of the sets, so compare it with sets of equal size.

    Args:
        vectors: (N, D), N >= 2.
        target: what they are compared with.

    Source: Dowson and Landau 1982, "The Frechet distance between multivariate normal
    distributions".
    """
    mean = vectors.mean(axis=0)
    centred = (vectors - mean) / np.sqrt(len(vectors) - 1)
    # with S1 = X'X, (S1 S2)^(1/2) has the trace of (S2^(1/2) X'X S2^(1/2))^(1/2), which is the sum
    # of the singular values of X S2^(1/2).
    shared = np.linalg.svd(centred @ target.root, compute_uv=False).sum()
    gap = mean - target.mean
    distance = float(gap @ gap + (centred**2).sum() + target.trace - 2 * shared)
    return max(distance, 0.0)


def kmer_vectors(sequences: Sequence[np.ndarray], k: int = WORD) -> np.ndarray:
    """Shares of all words of k bases in each sequence, both strands, float64 (N, 4^k)."""
    table = np.stack([kmer_counts([sequence], k)[k - 1] for sequence in sequences]).astype(float)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1)
