"""Divergences of spectra against counts made by hand, and ranks of words."""

from collections import Counter

import numpy as np
import pytest

from dnamdlm.evaluation.samples.spectra import (
    jensen_shannon,
    rank_shares,
    spectrum_divergences,
    word_shares,
)

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
        spectrum_divergences(fresh(), reference, rng, max_k=2, repeats=60)[1] for _ in range(40)
    ]
    observed = np.std([item.value for item in estimates], ddof=1)
    claimed = np.mean([(item.high - item.value) / 1.96 for item in estimates])
    # the standard deviation of 40 values is known to about 11 per cent.
    assert claimed == pytest.approx(observed, rel=0.35)


def test_shares_of_words_are_those_of_counted_words(samples):
    found = word_shares(*samples, 3)
    assert found["words"] == sorted(found["words"])
    for name, sequences in zip(("generated", "reference"), samples, strict=True):
        expected = shares(sequences, 3)
        # three significant digits are stored.
        assert found[name] == pytest.approx(
            [expected.get(word, 0.0) for word in found["words"]], rel=5e-3
        )
