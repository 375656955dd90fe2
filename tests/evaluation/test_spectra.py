"""Divergences of spectra against counts made by hand, and ranks of words."""

from collections import Counter

import numpy as np
import pytest

from dnamdlm.evaluation.samples.spectra import rank_shares, spectrum_divergences

OPPOSITE = str.maketrans("ACGT", "TGCA")


def text(codes):
    return "".join("ACGT"[code] for code in codes)


def shares(sequences, k):
    counts = Counter()
    for sequence in map(text, sequences):
        for strand in (sequence, sequence.translate(OPPOSITE)[::-1]):
            counts.update(strand[at : at + k] for at in range(len(strand) - k + 1))
    total = sum(counts.values())
    return {word: count / total for word, count in counts.items()}


def divergence(first, second):
    """Mean of the two Kullback-Leibler divergences from the middle, in bits."""
    middle = {w: (first.get(w, 0) + second.get(w, 0)) / 2 for w in {*first, *second}}
    return sum(
        share * np.log2(share / middle[word]) / 2
        for law in (first, second)
        for word, share in law.items()
    )


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    law = [[0.4, 0.1, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]]
    return [[rng.choice(4, 90, p=p).astype(np.uint8) for _ in range(6)] for p in law]


def test_divergences_of_both_strands_are_those_of_counted_words(samples):
    found = spectrum_divergences(*samples, np.random.default_rng(1))
    assert len(found) == 8
    expected = [divergence(shares(samples[0], k), shares(samples[1], k)) for k in range(1, 9)]
    assert [item.value for item in found] == pytest.approx(expected, rel=1e-6)


def test_an_interval_holds_its_figure(samples):
    for item in spectrum_divergences(*samples, np.random.default_rng(1), max_k=4):
        assert 0 <= item.low <= item.value <= item.high


def test_words_longer_than_every_sequence_have_no_divergence():
    short = [np.array([0, 1, 2], np.uint8)]
    found = spectrum_divergences(short, short, np.random.default_rng(0), max_k=4)
    assert found[2].value == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(found[3].value)


def test_ranks_are_few_and_shares_fall(samples):
    ranks = rank_shares({"x": samples[0]}, 6, points=20)
    values = ranks["shares"]["x"]
    assert len(ranks["ranks"]) <= 20
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(max(shares(samples[0], 6).values()), rel=1e-3)
