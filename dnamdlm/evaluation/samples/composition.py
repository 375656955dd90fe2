"""What DNA is made of: GC, CpG, dinucleotide odds, runs of one base, stretches of low complexity.

Sequences are arrays of store codes: A 0, C 1, G 2, T 3; anything else is not a base. Each
sequence is reduced to counts, and figures of a sample are functions of the sums of these counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnamdlm.evaluation.resampling import Estimate, around, ratio, resample_weights

LEAST_RUN = 6
"""Shortest homopolymer that counts, bases."""
DUST_WINDOW, DUST_STEP, DUST_LEVEL = 64, 32, 2.0
"""Bases of a window, bases from start to start, and the score above which complexity is low."""
_BASES, _PAIRS, _RUN, _WINDOWS, _LOW = 0, 4, 20, 21, 22
_NUM_COUNTS = 23
_CODE_CG = 1 * 4 + 2


def base_counts(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Counts of each sequence, int64 (N, 23).

    Columns: 4 bases; 16 dinucleotides; bases in runs of `LEAST_RUN` or more; windows; windows of
    low complexity.
    """
    table = np.zeros((len(sequences), _NUM_COUNTS), np.int64)
    for row, sequence in zip(table, sequences, strict=True):
        bases = np.asarray(sequence)
        row[_BASES : _BASES + 4] = np.bincount(bases[bases < 4], minlength=4)
        first, second = bases[:-1], bases[1:]
        inside = (first < 4) & (second < 4)
        pairs = 4 * first[inside].astype(np.int64) + second[inside]
        row[_PAIRS : _PAIRS + 16] = np.bincount(pairs, minlength=16)
        row[_RUN] = bases_in_runs(bases)
        scores = dust_scores(bases)
        row[_WINDOWS], row[_LOW] = len(scores), int((scores > DUST_LEVEL).sum())
    return table


def bases_in_runs(bases: np.ndarray, least: int = LEAST_RUN) -> int:
    """Number of bases in runs of `least` or more equal bases."""
    if not len(bases):
        return 0
    edges = np.flatnonzero(np.diff(bases)) + 1
    starts = np.concatenate([[0], edges])
    sizes = np.diff(np.concatenate([starts, [len(bases)]]))
    return int(sizes[(sizes >= least) & (bases[starts] < 4)].sum())


def dust_scores(bases: np.ndarray) -> np.ndarray:
    """Score of each window of 64 bases, one every 32; a shorter sequence is one window.

    With c_w the count of word w of three bases among the l words of a window, the score is
    sum c_w (c_w - 1) / 2 / (l - 1). Random sequence has about 0.5, a run of one base l / 2.

    Source: Morgulis et al. 2006, "A fast and symmetric DUST implementation", section 2.
    """
    num_words = len(bases) - 2
    if num_words < 2:
        return np.zeros(0)
    codes = bases.astype(np.int64)
    words = 16 * codes[:-2] + 4 * codes[1:-1] + codes[2:]
    words[(codes[:-2] > 3) | (codes[1:-1] > 3) | (codes[2:] > 3)] = 64
    size = min(DUST_WINDOW - 2, num_words)
    starts = range(0, num_words - size + 1, DUST_STEP)
    counts = np.stack([np.bincount(words[at : at + size], minlength=65)[:64] for at in starts])
    return (counts * (counts - 1) / 2).sum(axis=1) / (size - 1)


def gc_share(counts: np.ndarray) -> np.ndarray:
    """Share of G and C among the bases."""
    return ratio(counts[..., 1] + counts[..., 2], counts[..., :4].sum(axis=-1))


def gc_fractions(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Share of G and C among the bases of each sequence; nan where a sequence has no base."""
    bases = np.array([np.count_nonzero(sequence < 4) for sequence in sequences])
    strong = np.array(
        [np.count_nonzero((sequence == 1) | (sequence == 2)) for sequence in sequences]
    )
    return np.divide(strong, bases, out=np.full(len(sequences), np.nan), where=bases > 0)


def cpg_ratio(counts: np.ndarray) -> np.ndarray:
    """Observed over expected CpG: n_CG N / (n_C n_G).

    Source: Gardiner-Garden and Frommer 1987, "CpG islands in vertebrate genomes".
    """
    total = counts[..., :4].sum(axis=-1)
    return ratio(counts[..., _PAIRS + _CODE_CG] * total, counts[..., 1] * counts[..., 2])


def run_share(counts: np.ndarray) -> np.ndarray:
    """Share of bases in homopolymers."""
    return ratio(counts[..., _RUN], counts[..., :4].sum(axis=-1))


def low_share(counts: np.ndarray) -> np.ndarray:
    """Share of windows of low complexity."""
    return ratio(counts[..., _LOW], counts[..., _WINDOWS])


def dinucleotide_odds(counts: np.ndarray) -> np.ndarray:
    """Odds f_xy / (f_x f_y) of both strands together, (..., 16) in alphabetical order.

    Source: Karlin and Burge 1995, "Dinucleotide relative abundance extremes", eq. 2.
    """
    bases = counts[..., :4].astype(np.float64)
    pairs = counts[..., _PAIRS : _PAIRS + 16].astype(np.float64)
    table = pairs.reshape(*pairs.shape[:-1], 4, 4)
    # the complement of code b is 3 - b: both axes are flipped and exchanged.
    table = table + np.flip(table, axis=(-1, -2)).swapaxes(-1, -2)
    bases = bases + np.flip(bases, axis=-1)
    f_pair = table / table.sum(axis=(-1, -2), keepdims=True)
    f_base = bases / bases.sum(axis=-1, keepdims=True)
    odds = ratio(f_pair, f_base[..., :, None] * f_base[..., None, :])
    return odds.reshape(*pairs.shape)


def odds_distance(
    sequences: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> Estimate:
    """Mean absolute difference of the 16 odds from those of a reference.

    Args:
        sequences: counts of each sequence.
        reference: counts of the reference sequences, which are not resampled.
        rng: of the resampling.
    """
    target = dinucleotide_odds(reference.sum(axis=0))

    def distances(sums: np.ndarray) -> np.ndarray:
        return np.abs(dinucleotide_odds(sums) - target).mean(axis=-1)

    value = float(distances(sequences.sum(axis=0)[None])[0])
    return around(value, distances(resample_weights(len(sequences), rng) @ sequences))
