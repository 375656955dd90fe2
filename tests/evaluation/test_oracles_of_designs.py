"""The second oracle of words and the nearest record, against brute force."""

import numpy as np
import pytest

from dnamdlm.evaluation.samples.nearest_records import nearest_records
from dnamdlm.evaluation.tasks.kmer_oracle import fit_kmer_oracle
from dnamdlm.rewards.sequence_rewards import store_codes
from dnamdlm.words.edits import bit_parallel_distance

RNG = np.random.default_rng(7)


def random_texts(count, length):
    return ["".join(RNG.choice(list("ACGT"), length)) for _ in range(count)]


def test_a_regression_of_words_learns_an_activity_of_words():
    texts = random_texts(300, 60)
    activity = np.array([text.count("TAT") for text in texts], float)
    oracle = fit_kmer_oracle(texts, activity, seed=3)
    fresh = random_texts(100, 60)
    truth = [text.count("TAT") for text in fresh]
    assert oracle.rows == 150
    assert oracle.pearson > 0.8
    assert np.corrcoef(oracle.batch(fresh), truth)[0, 1] > 0.8


@pytest.mark.parametrize("factor", [1, 4], ids=["words", "longer words"])
def test_derivatives_of_a_regression_of_words_are_the_gains_of_single_bases(factor):
    texts = random_texts(300, 24)
    activity = np.array([text.count("TAT") + factor * text.count("GATTA") for text in texts], float)
    oracle = fit_kmer_oracle(texts, activity, seed=3)
    some = texts[:3]
    values, slopes = oracle.gradient(some)
    np.testing.assert_array_equal(values, oracle.batch(some))
    for row, text in enumerate(some):
        for place in range(len(text)):
            for base, letter in enumerate("ACGT"):
                (changed,) = oracle.batch([text[:place] + letter + text[place + 1 :]])
                own = slopes[row, place, "ACGT".index(text[place])]
                gained = slopes[row, place, base] - own
                assert gained == pytest.approx(changed - values[row], abs=1e-11)


def test_an_activity_of_chance_is_not_learned():
    texts = random_texts(200, 40)
    oracle = fit_kmer_oracle(texts, RNG.normal(size=200), seed=3)
    assert abs(oracle.pearson) < 0.4
    assert fit_kmer_oracle(texts, np.ones(200), seed=3).pearson == 0


@pytest.mark.parametrize("strand", [1, -1])
def test_the_nearest_record_is_that_of_all_alignments(strand):
    records = random_texts(30, 50)
    designs = []
    for record in records[:6]:
        letters = list(record)
        for place in RNG.choice(50, 4, replace=False):
            letters[place] = "ACGT"[RNG.integers(4)]
        text = "".join(letters)
        if strand < 0:
            text = text[::-1].translate(str.maketrans("ACGT", "TGCA"))
        designs.append(text)
    codes = [store_codes(text) for text in designs]
    known = [store_codes(text) for text in records]
    places, identities = nearest_records(codes, known)
    for text, place, identity in zip(codes, places, identities, strict=True):
        both = (text, 3 - text[::-1])
        all_identities = [
            1 - min(bit_parallel_distance(form, record) for form in both) / 50 for record in known
        ]
        assert place == int(np.argmax(all_identities))
        assert identity == pytest.approx(max(all_identities), abs=1e-12)
