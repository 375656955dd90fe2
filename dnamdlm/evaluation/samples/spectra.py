"""Divergence of k-mer spectra up to words of 8 bases, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dnamdlm.evaluation.resampling import Estimate, around, resample_weights
from dnamdlm.evaluation.samples.sequence_statistics import jensen_shannon
from dnamdlm.words.kmers import kmer_counts

MAX_K = 8
_MAX_BLOCKS = 128
_AT_ONCE = 20
_RESAMPLES = 100


def spectrum_divergences(
    sequences: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    max_k: int = MAX_K,
) -> list[Estimate]:
    """Jensen-Shannon divergence in bits for k = 1..max_k, both strands, with intervals.

    Resamples of sequences (of runs of neighbours where there are more than 128) say how far the
    figure scatters. Resampling alone makes spectra diverge more, so the interval is the figure and
    1.96 standard errors on either side, and not percentiles.
    """
    num_blocks = min(len(sequences), _MAX_BLOCKS)
    edges = np.linspace(0, len(sequences), num_blocks + 1).astype(int)
    blocks = [kmer_counts(sequences[low:high], max_k) for low, high in pairwise(edges)]
    weights = resample_weights(num_blocks, rng, _RESAMPLES)
    estimates = []
    for index, target in enumerate(kmer_counts(reference, max_k)):
        table = np.stack([block[index] for block in blocks]).astype(np.float64)
        total = table.sum(axis=0)
        if not total.sum() or not target.sum():
            estimates.append(Estimate(float("nan")))
            continue
        value = float(jensen_shannon(total, target))
        draws = [
            jensen_shannon(weights[at : at + _AT_ONCE] @ table, target)
            for at in range(0, _RESAMPLES, _AT_ONCE)
        ]
        estimates.append(around(value, np.concatenate(draws)))
    return estimates


def rank_shares(
    samples: dict[str, Sequence[np.ndarray]], k: int, *, points: int = 200
) -> dict[str, object]:
    """Shares of words from the commonest to the rarest, each sample by its own order.

    Returns:
        `ranks`, at most `points` ranks from 1, evenly spread in their logarithm, and `shares`,
        sample -> share of the word of each rank.
    """
    ranks = np.unique(np.round(np.geomspace(1, 4**k, min(points, 4**k))).astype(int))
    shares = {}
    for name, sequences in samples.items():
        counts = np.sort(kmer_counts(sequences, k)[k - 1])[::-1]
        shares[name] = [float(f"{share:.4g}") for share in (counts / counts.sum())[ranks - 1]]
    return {"ranks": ranks.tolist(), "shares": shares}
