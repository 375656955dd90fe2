"""Ridge regression on the words of a sequence: a second opinion on activities, or a reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna
from dnamdlm.evaluation.tasks.probes import Probe, fit_probe, kmer_frequencies
from dnamdlm.rewards.sequence_rewards import store_codes
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

_SIZES = (3, 4, 5, 6)


@dataclass(frozen=True)
class KmerOracle:
    """A reward: what ridge regression on shares of words predicts.

    Attributes:
        k: bases of a word.
        probe: the regression.
        pearson: correlation with the activities of the rows that it was not fitted on.
        rows: rows that it was fitted on.
    """

    k: int
    probe: Probe
    pearson: float
    rows: int
    name: str = "kmer"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The predictions, (N,)."""
        return self.probe.outputs(_features(_encoded(sequences), self.k))[:, 0]

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The predictions and their derivatives by the one-hot bases A, C, G, T, (N, L, 4).

        The share of a word is a product of one-hot bases, summed over places. So the derivative by
        base b at a place, minus that by the base which stands there, is exactly what the prediction
        gains if b replaces it.

        Args:
            sequences: N of them, of one length L, of A, C, G and T.
        """
        assert self.probe.weight is not None
        gains, k = self.probe.weight[0], self.k
        codes = np.array([store_codes(text) for text in sequences]).astype(np.int64)
        slopes = np.zeros((*codes.shape, 4))
        # words at a place; the first base of a word is its highest digit.
        places = codes.shape[1] - k + 1
        digits = 4 ** np.arange(k - 1, -1, -1)
        if places > 0:
            words = sum(codes[:, j : j + places] * digits[j] for j in range(k))
            for j in range(k):
                others = words - codes[:, j : j + places] * digits[j]
                for base in range(4):
                    slopes[:, j : j + places, base] += gains[others + base * digits[j]] / places
        return self.batch(sequences), slopes


def fit_kmer_oracle(
    sequences: Sequence[str], activities: NDArray[np.float64], *, seed: int
) -> KmerOracle:
    """Fit on a random half of the rows; the other half chooses k and the strength.

    So `pearson` is that of a choice among 20 regressions, which hardly raises it for hundreds of
    rows.

    Args:
        sequences: N of them, at least 4.
        activities: a number for each, (N,).
        seed: of the halves.
    """
    order = np.random.default_rng(seed).permutation(len(sequences))
    half = len(order) // 2
    known, held = (
        ([sequences[int(row)] for row in rows], activities[rows])
        for rows in (np.sort(order[:half]), np.sort(order[half:]))
    )
    return fit_on_words(known, held)


def fit_on_words(
    train: tuple[Sequence[str], NDArray[np.float64]],
    valid: tuple[Sequence[str], NDArray[np.float64]],
    sizes: Sequence[int] = _SIZES,
) -> KmerOracle:
    """Fit ridge regression on shares of words; other rows choose k and the strength.

    Args:
        train: sequences and their activities, (N,), to fit on.
        valid: others, to choose by; `pearson` is of them.
        sizes: k, of which the best is kept; the first of equals.
    """
    (known, targets), (held, wanted) = ((_encoded(part[0]), part[1]) for part in (train, valid))
    best: KmerOracle | None = None
    for k in sizes:
        features = _features(held, k)
        probe = fit_probe(
            "ridge", "regression", (_features(known, k), targets[:, None]),
            (features, wanted[:, None]), num_outputs=1, metric="r2",
        )  # fmt: skip
        found = probe.outputs(features)[:, 0]
        spread = found.std() > 0 and wanted.std() > 0
        pearson = float(np.corrcoef(found, wanted)[0, 1]) if spread else 0.0
        if best is None or pearson > best.pearson:
            best = KmerOracle(k, probe, pearson, len(known))
    assert best is not None
    return best


def _encoded(sequences: Sequence[str]) -> SequenceSet:
    names = [f"row {number + 1}" for number in range(len(sequences))]
    return encode_dna(names, list(sequences), "the sequences")


def _features(sequences: SequenceSet, k: int) -> Any:
    return kmer_frequencies(sequences, NUCLEOTIDE_VOCABULARY, k)
