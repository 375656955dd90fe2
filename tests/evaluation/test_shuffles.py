"""Shuffles against counts of dinucleotides and of all sequences that share them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dnamdlm.evaluation.samples.shuffles import shuffle_dinucleotides
from dnamdlm.words.kmers import kmer_counts


def codes(text: str) -> np.ndarray:
    return np.array(["ACGTN".index(base) for base in text], np.uint8)


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
