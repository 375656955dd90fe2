"""Spectra of k-mers: their divergence up to words of 8 bases, shares by word and by rank."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dnamdlm.evaluation.resampling import Estimate, around, resample_weights
from dnamdlm.words.kmers import kmer_counts, words_of_length

MAX_K = 8
MAX_BLOCKS = 128
_AT_ONCE = 20
_RESAMPLES = 100


def jensen_shannon(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits between count vectors on the last axis, 0 to 1.

    This is the divergence itself; its square root is the distance that some tools report. The
    finite size of the samples biases it upwards, so compare it with reference samples of equal
    size.

    >>> import numpy as np
    >>> float(jensen_shannon(np.array([3, 0]), np.array([0, 9])))
    1.0

    Source: Lin 1991, "Divergence measures based on the Shannon entropy", eq. 4.1.
    """
    p = left / left.sum(axis=-1, keepdims=True)
    q = right / right.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2
    return np.maximum(_entropy(middle) - (_entropy(p) + _entropy(q)) / 2, 0.0)


def spectrum_divergences(
    sequences: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    max_k: int = MAX_K,
    max_blocks: int = MAX_BLOCKS,
    repeats: int = _RESAMPLES,
) -> list[Estimate]:
    """Jensen-Shannon divergence in bits for k = 1..max_k, both strands, with intervals.

    Resampled sequences show how far the figure scatters; the reference is held fixed. Resampling
    alone makes spectra diverge more, so the interval is the figure and 1.96 standard errors on
    either side, and not percentiles.

    Args:
        sequences: arrays of codes.
        reference: what they are compared with.
        rng: of the resampling.
        max_k: longest word.
        max_blocks: of more sequences than this, runs of neighbours are resampled.
        repeats: resamples.
    """
    num_blocks = min(len(sequences), max_blocks)
    edges = np.linspace(0, len(sequences), num_blocks + 1).astype(int)
    blocks = [kmer_counts(sequences[low:high], max_k) for low, high in pairwise(edges)]
    weights = resample_weights(num_blocks, rng, repeats)
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
            for at in range(0, repeats, _AT_ONCE)
        ]
        estimates.append(around(value, np.concatenate(draws)))
    return estimates


def word_shares(
    generated: Sequence[np.ndarray], reference: Sequence[np.ndarray], k: int
) -> dict[str, list[Any]]:
    """Share of every word of k bases on both strands, three significant digits, as JSON values.

    Returns:
        `words` in alphabetical order, and their shares in `generated` and `reference`.
    """
    found: dict[str, list[Any]] = {"words": words_of_length(k)}
    for name, sequences in (("generated", generated), ("reference", reference)):
        counts = kmer_counts(sequences, k)[k - 1]
        found[name] = [float(f"{share:.3g}") for share in counts / max(counts.sum(), 1)]
    return found


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


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logs).sum(axis=-1)
