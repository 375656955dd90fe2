"""Motif matches of samples and a reference: correlation of counts, enriched motifs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnamdlm.evaluation.resampling import Estimate, around, interval, resample_weights
from dnamdlm.evaluation.samples.motifs import MATCH_PROBABILITY, Motif, match_counts

_SHOWN = 12
_REFERENCE_BASES = 1 << 20


def rate_correlation(
    counts: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> Estimate:
    """Pearson correlation over motifs of log(1 + matches); sequences are resampled.

    Args:
        counts: matches (N, M) of a sample.
        reference: matches per motif (M,), scaled to the size of the sample.
        rng: of the resampling.
    """
    if counts.shape[1] < 2:
        return Estimate(float("nan"))
    target = np.log1p(reference) - np.log1p(reference).mean()

    def correlations(sums: np.ndarray) -> np.ndarray:
        logs = np.log1p(sums)
        logs = logs - logs.mean(axis=-1, keepdims=True)
        spread = np.sqrt((logs**2).sum(axis=-1) * (target**2).sum())
        return np.divide(logs @ target, spread, out=np.full(spread.shape, np.nan), where=spread > 0)

    value = float(correlations(counts.sum(axis=0)[None])[0])
    draws = correlations(resample_weights(len(counts), rng) @ counts)
    return around(value, draws, (-1.0, 1.0))


def motif_section(
    samples: Mapping[str, Sequence[np.ndarray]],
    reference: Sequence[np.ndarray],
    motifs: Sequence[Motif],
    rng: np.random.Generator,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Correlations of each sample with the reference, and the rates of all motifs.

    Returns:
        Sample -> correlation, and JSON values: rates per 1,000 bases of each motif in generated
        and reference sequence, and the motifs that differ most, with their matrices and their
        enrichment in each sample.
    """
    # enough for the rates; scanning hundreds of motifs is slow.
    longest = max(map(len, reference))
    reference = reference[: max(_REFERENCE_BASES // longest, 2 * len(samples["generated"]))]
    bases = np.bincount(np.concatenate(reference), minlength=5)[:4].astype(np.float64)
    # both strands are searched, so that the composition is that of both.
    background = (bases + bases[::-1] + 2) / (2 * bases.sum() + 8)
    sizes = {name: sum(map(len, sample)) for name, sample in samples.items()}
    num_reference = sum(map(len, reference))
    target = match_counts(reference, motifs, background).sum(axis=0)
    counts = {name: match_counts(sample, motifs, background) for name, sample in samples.items()}
    correlations = {
        name: rate_correlation(table, target * sizes[name] / num_reference, rng)
        for name, table in counts.items()
    }
    ours = counts["generated"]
    expected = target * sizes["generated"] / num_reference
    folds = {
        name: _folds(table, target * sizes[name] / num_reference, rng)
        for name, table in counts.items()
    }
    # in units of the standard deviation of a count of this size, so that rare motifs do not come
    # first.
    surprise = np.abs(ours.sum(axis=0) - expected) / np.sqrt(expected + 1)
    order = np.argsort(-surprise, kind="stable")
    return correlations, {
        "num_motifs": len(motifs),
        "match_probability": MATCH_PROBABILITY,
        "names": [motif.name for motif in motifs],
        "per_kilobase": {
            "generated": _rates(ours.sum(axis=0), sizes["generated"]),
            "reference": _rates(target, num_reference),
        },
        "most_different": [
            {
                "name": motifs[index].name,
                "matches": int(ours[:, index].sum()),
                "expected": round(float(expected[index]), 2),
                "log2_fold": {name: own[index].to_json() for name, own in folds.items()},
                "counts": motifs[index].counts.round(3).tolist(),
            }
            for index in order[:_SHOWN].tolist()
        ],
    }


def _folds(counts: np.ndarray, expected: np.ndarray, rng: np.random.Generator) -> list[Estimate]:
    """Log2 of matches over expected matches of each motif, with half a match added to both."""
    values = np.log2((counts.sum(axis=0) + 0.5) / (expected + 0.5))
    draws = np.log2((resample_weights(len(counts), rng) @ counts + 0.5) / (expected + 0.5))
    spans = (interval(column) for column in draws.T)
    return [Estimate(value, *span) for value, span in zip(values.tolist(), spans, strict=True)]


def _rates(counts: np.ndarray, num_bases: int) -> list[float]:
    return [round(1000 * count / num_bases, 5) for count in counts.tolist()]
