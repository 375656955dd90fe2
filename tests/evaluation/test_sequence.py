"""Spectra, divergence and shuffles against brute force and closed forms."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dnamdlm.evaluation.samples.sequence_statistics import (
    divergence_with_error,
    gc_fractions,
    jensen_shannon,
    shuffle_bases,
    shuffle_dinucleotides,
)
from dnamdlm.words.kmers import kmer_counts


def codes(text: str) -> np.ndarray:
    return np.array(["ACGTN".index(base) for base in text], np.uint8)


def test_divergence_of_disjoint_spectra_is_one_bit_and_of_equal_ones_zero():
    assert jensen_shannon(np.array([3, 0]), np.array([0, 9])) == pytest.approx(1.0)
    assert jensen_shannon(np.array([3, 6]), np.array([1, 2])) == pytest.approx(0.0, abs=1e-15)


def test_divergence_agrees_with_its_definition_by_relative_entropies():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(64), size=2)
    middle = (p + q) / 2
    expected = (np.sum(p * np.log2(p / middle)) + np.sum(q * np.log2(q / middle))) / 2
    assert jensen_shannon(p, q) == pytest.approx(expected, rel=1e-12)


def test_the_bootstrap_error_agrees_with_fresh_samples():
    rng = np.random.default_rng(2)
    reference = list(rng.choice(4, (300, 200), p=[0.4, 0.1, 0.1, 0.4]).astype(np.uint8))

    def fresh() -> list[np.ndarray]:
        return list(rng.choice(4, (60, 200), p=[0.3, 0.2, 0.2, 0.3]).astype(np.uint8))

    estimates = [
        divergence_with_error(fresh(), reference, rng, num_resamples=60) for _ in range(40)
    ]
    observed = np.std([rates[1].value for rates in estimates], ddof=1)
    claimed = np.mean([rates[1].standard_error for rates in estimates])
    # the standard deviation of 40 values is known to about 11 per cent.
    assert claimed == pytest.approx(observed, rel=0.35)


def test_gc_is_counted_per_sequence_without_n():
    fractions = gc_fractions([codes("GGCCAAAA"), codes("GNNN"), codes("NN")])
    np.testing.assert_allclose(fractions, [0.5, 1.0, np.nan])


def test_shuffled_bases_keep_their_counts():
    text = codes("ACGTTTGACCA" * 9)
    shuffled = shuffle_bases(text, np.random.default_rng(3))
    np.testing.assert_array_equal(np.bincount(shuffled), np.bincount(text))
    assert not np.array_equal(shuffled, text)


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_dinucleotides_keep_their_counts(seed):
    rng = np.random.default_rng(seed)
    text = rng.choice(4, int(rng.integers(3, 300)), p=[0.5, 0.1, 0.1, 0.3]).astype(np.uint8)
    shuffled = shuffle_dinucleotides(text, rng)
    before, after = (kmer_counts([item], 2, both_strands=False)[1] for item in (text, shuffled))
    np.testing.assert_array_equal(before, after)
    assert shuffled[0] == text[0]


def test_every_sequence_with_the_same_dinucleotides_is_equally_likely():
    text = "ACAGATACA"
    rng = np.random.default_rng(4)
    seen = Counter(
        "".join("ACGT"[base] for base in shuffle_dinucleotides(codes(text), rng))
        for _ in range(6000)
    )
    # A visits C, G, T and C again between its five occurrences: 4! / 2! orders.
    assert len(seen) == 12
    chi_square = sum((count - 500) ** 2 / 500 for count in seen.values())
    # 11 degrees of freedom: mean 11, standard deviation 4.7.
    assert chi_square < 11 + 4 * 4.7


def test_a_sequence_with_n_is_not_shuffled_by_dinucleotides():
    with pytest.raises(ValueError, match="A, C, G and T"):
        shuffle_dinucleotides(codes("ACNGT"), np.random.default_rng(5))
