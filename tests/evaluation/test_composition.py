"""Composition of tiny sequences, counted by hand."""

import math

import numpy as np
import pytest

from dnamdlm.evaluation.samples import composition as parts

CODES = {"A": 0, "C": 1, "G": 2, "T": 3, "N": 4}


def dna(text):
    return np.array([CODES[base] for base in text], np.uint8)


def sums(*texts):
    return parts.base_counts([dna(text) for text in texts]).sum(axis=0)


def test_gc_counts_bases_and_no_n():
    assert parts.gc_share(sums("GGCA", "NNTT")) == pytest.approx(3 / 6)


def test_the_gc_of_each_sequence_leaves_n_out():
    fractions = parts.gc_fractions([dna("GGCCAAAA"), dna("GNNN"), dna("NN")])
    np.testing.assert_allclose(fractions, [0.5, 1.0, np.nan])


def test_cpg_is_observed_over_expected():
    # two CG among 8 bases, 2 C and 3 G: 2 x 8 / (2 x 3).
    assert parts.cpg_ratio(sums("ACGTACGG")) == pytest.approx(16 / 6)


def test_a_dinucleotide_does_not_cross_an_n_or_two_sequences():
    assert math.isnan(parts.cpg_ratio(sums("CCCC")))
    assert parts.cpg_ratio(sums("CNG", "C", "G")) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("AAAAAA", 6), ("AAAAA", 0), ("CAAAAAAAGTTTTTT", 13), ("NNNNNNNN", 0), ("", 0)],
)
def test_runs_of_six_bases_are_homopolymers(text, expected):
    assert parts.bases_in_runs(dna(text)) == expected


def test_dust_of_one_repeated_base_is_half_the_number_of_words():
    # 62 words AAA in a window of 64: 62 x 61 / 2 / 61.
    assert parts.dust_scores(dna("A" * 64)) == pytest.approx([31.0])


def test_dust_of_words_that_all_differ_is_zero():
    assert parts.dust_scores(dna("AACAGATCC")) == pytest.approx([0.0])


def test_windows_overlap_by_half():
    assert len(parts.dust_scores(dna("ACGT" * 32))) == 3


def test_odds_of_independent_bases_are_one():
    codes = np.random.default_rng(0).integers(0, 4, 200_000).astype(np.uint8)
    odds = parts.dinucleotide_odds(parts.base_counts([codes]).sum(axis=0))
    assert np.abs(odds - 1).max() < 0.02


def test_odds_are_those_of_both_strands():
    forward = parts.dinucleotide_odds(sums("AACGTTGACCAGT")).reshape(4, 4)
    assert forward == pytest.approx(forward[::-1, ::-1].T)


def test_odds_of_a_sample_have_no_distance_from_themselves():
    counts = parts.base_counts([dna("ACGTTGCAAC"), dna("GGATCCATTA")])
    found = parts.odds_distance(counts, counts, np.random.default_rng(0))
    assert found.value == 0.0
