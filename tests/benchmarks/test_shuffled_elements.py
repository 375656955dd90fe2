"""Elements against their shuffles: what is kept, which scores must be chance, and the judging."""

import gzip
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.shuffled_elements import (
    accuracies,
    chain_scores,
    codes_of,
    drawn_pairs,
    paired_accuracy,
    read_elements,
    seen_in_training,
    text_of,
    word_scores,
)
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.shuffles import shuffle_dinucleotides
from dnamdlm.words.markov_chain import MarkovChain


def dinucleotides(text):
    return Counter(text[place : place + 2] for place in range(len(text) - 1))


@settings(max_examples=200, deadline=None)
@given(st.text("ACGT", min_size=1, max_size=60), st.integers(0, 1 << 30))
def test_a_shuffle_keeps_every_dinucleotide_and_both_ends(text, seed):
    shuffled = text_of(shuffle_dinucleotides(codes_of(text), np.random.default_rng(seed)))
    assert dinucleotides(shuffled) == dinucleotides(text)
    assert (shuffled[0], shuffled[-1]) == (text[0], text[-1])


@pytest.fixture
def pairs():
    """Elements with a word that shuffles rarely keep."""
    rng = np.random.default_rng(0)
    elements = [rng.integers(0, 4, 60).astype(np.uint8) for _ in range(80)]
    for codes in elements:
        codes[20:32] = codes_of("TATAAATGCGCA")
    return drawn_pairs(np.array(["a"] * 50 + ["b"] * 30), elements, pairs=30, seed=1)


def test_as_many_elements_of_each_class_are_drawn_as_asked_for(pairs):
    assert Counter(pairs.names.tolist()) == {"a": 30, "b": 30}
    assert any((one != other).any() for one, other in zip(pairs.real, pairs.shuffled, strict=True))


def test_a_chain_of_order_one_cannot_tell_them_apart_and_a_longer_one_can(pairs):
    codes = np.concatenate([*pairs.real, np.zeros(0, np.uint8)])
    low, high = (
        MarkovChain.of_codes(codes, orders, (1.0,) * len(orders))
        for orders in ((0, 1), (0, 1, 2, 3, 4, 5))
    )
    scores = {
        name: (chain_scores(chain, pairs.real), chain_scores(chain, pairs.shuffled))
        for name, chain in (("one", low), ("five", high))
    }
    every = {"all": np.ones(len(pairs), bool)}
    found = accuracies(scores, every, seed=0, repeats=20)
    assert (found["one"]["all"].value, found["one"]["all"].low) == (0.5, 0.5)
    assert found["five"]["all"].value > 0.95


def test_words_are_fitted_on_pairs_that_are_not_judged(pairs):
    judged = np.arange(len(pairs)) % 2 == 0
    real, shuffled = word_scores(pairs, judged, 0)
    assert paired_accuracy(real[judged], shuffled[judged]) > 0.9
    swapped = type(pairs)(pairs.names, pairs.shuffled, pairs.real)
    other = word_scores(swapped, judged, 0)
    assert paired_accuracy(other[1][judged], other[0][judged]) < 0.1


def test_flipped_sides_a_constant_and_a_shuffled_column_give_what_they_must():
    rng = np.random.default_rng(2)
    real, shuffled = rng.normal(1, 1, 4000), rng.normal(0, 1, 4000)
    right = paired_accuracy(real, shuffled)
    assert right == pytest.approx(1 - paired_accuracy(shuffled, real))
    assert paired_accuracy(real * 0, shuffled * 0) == 0.5
    both = rng.permutation(np.concatenate([real, shuffled])).reshape(2, -1)
    # 4,000 fair pairs: a standard deviation of 0.0079.
    assert abs(paired_accuracy(*both) - 0.5) < 4 * 0.0079
    assert right > 0.7


def test_tables_are_read_and_mistakes_are_sentences(tmp_path):
    path = tmp_path / "elements.tsv.gz"
    with gzip.open(path, "wt") as file:
        file.write("sequence\tclass\nAACCGGTT\tx\nACGN\tx\nacgtac\ty\n")
    names, elements, left_out = read_elements(path, None, length=4)
    assert (names.tolist(), [text_of(codes) for codes in elements]) == (
        ["x", "y"],
        ["CCGG", "CGTA"],
    )
    assert left_out == 1
    assert len(read_elements(path, ["y"], length=None)[1]) == 1
    with pytest.raises(DataError, match="its classes: x, y"):
        read_elements(path, ["z"], length=None)
    (tmp_path / "other.csv").write_text("dna,class\nACGT,x\n")
    with pytest.raises(DataError, match="has no column sequence; it has dna, class"):
        read_elements(tmp_path / "other.csv", None, length=None)


def test_elements_of_the_training_split_are_known_on_either_strand(tmp_path):
    rng = np.random.default_rng(3)
    first, second = ("".join(rng.choice(list("ACGT"), 300)) for _ in range(2))
    (tmp_path / "g.fa").write_text(f">a\n{first}\n>b\n{second}\n")
    genome = GenomeData(
        fasta=str(tmp_path / "g.fa"), cache_dir=str(tmp_path), length=64, train=["a"], test=["b"]
    ).open()
    mirrored = first[50:120][::-1].translate(str.maketrans("ACGT", "TGCA"))
    tested = [codes_of(text) for text in (first[10:80], mirrored, second[10:80])]
    assert seen_in_training(tested, genome).tolist() == [True, True, False]
