"""Packed words of all positions, and their counts, against one word at a time."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.words.codes import SOFT_MASK
from dnamdlm.words.kmers import (
    add_reverse_complement,
    canonical_kmers,
    has_only_bases,
    kmer_counts,
    pack_contexts,
    words_of_length,
)

CODES = st.lists(st.integers(0, 3), max_size=60).map(lambda codes: np.array(codes, np.uint8))
WITH_N = st.lists(st.integers(0, 4), max_size=40).map(lambda codes: np.array(codes, np.uint8))


def codes_of(text):
    return np.array(["ACGTN".index(base) for base in text], np.uint8)


def as_counter(counts):
    k = round(np.log(len(counts)) / np.log(4))
    return +Counter(dict(zip(words_of_length(k), counts.tolist(), strict=True)))


def packed(word):
    value = 0
    for code in word:
        value = value * 4 + int(code)
    return value


@given(codes=CODES, length=st.integers(1, 31))
def test_canonical_kmers_equal_packing_each_word(codes, length):
    expected = [
        min(packed(word), packed([3 - code for code in reversed(word)]))
        for word in (codes[i : i + length] for i in range(len(codes) - length + 1))
    ]
    assert canonical_kmers(codes, length).tolist() == expected


@given(codes=CODES, length=st.integers(1, 31))
def test_both_strands_have_the_same_kmers(codes, length):
    turned = canonical_kmers(3 - codes[::-1], length)
    assert turned[::-1].tolist() == canonical_kmers(codes, length).tolist()


@pytest.mark.parametrize("length", [0, 32])
def test_a_kmer_fits_64_bits(length):
    with pytest.raises(ValueError, match="1 to 31 bases"):
        canonical_kmers(np.zeros(50, np.uint8), length)


def test_words_with_an_n_are_known():
    codes = np.array([0, 1, 4, 2, 3, 0], np.uint8)
    assert has_only_bases(codes, 2).tolist() == [True, False, False, True, True]


@given(codes=WITH_N, order=st.integers(0, 5))
def test_contexts_are_the_bases_since_the_last_gap(codes, order):
    words, depth = pack_contexts(codes | SOFT_MASK, order)
    for place in range(len(codes)):
        run = []
        for code in codes[place::-1][: order + 1].tolist():
            if code > 3:
                break
            run.insert(0, code)
        assert depth[place] == len(run)
        assert words[place] & (4 ** len(run) - 1) == packed(run)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_counts_equal_sliding_windows_within_each_sequence(k):
    texts = ["ACGTACGGTNACGTTT", "GATTACA", "AC"]
    windows = (text[i : i + k] for text in texts for i in range(len(text) - k + 1))
    expected = Counter(window for window in windows if "N" not in window)
    counts = kmer_counts([codes_of(text) for text in texts], both_strands=False)
    assert as_counter(counts[k - 1]) == expected


def test_both_strands_add_the_reverse_complement():
    both = kmer_counts([codes_of("AACGT")], 2)[1]
    apart = kmer_counts([codes_of("AACGT"), codes_of("ACGTT")], 2, both_strands=False)[1]
    np.testing.assert_array_equal(both, apart)


def test_the_counts_of_the_other_strand_are_those_of_its_words():
    table = np.arange(64)
    words = words_of_length(3)
    turned = [word[::-1].translate(str.maketrans("ACGT", "TGCA")) for word in words]
    expected = [table[place] + table[words.index(word)] for place, word in enumerate(turned)]
    assert add_reverse_complement(table).tolist() == expected
