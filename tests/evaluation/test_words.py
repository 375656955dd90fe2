"""Hashes and packed k-mers of all positions against one word at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.evaluation.words import canonical_kmers, has_only_bases, row_hashes, word_hashes

CODES = st.lists(st.integers(0, 3), max_size=60).map(lambda codes: np.array(codes, np.uint8))


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


@given(codes=CODES, length=st.integers(1, 20))
def test_the_hash_of_a_word_is_that_of_a_row_wherever_it_stands(codes, length):
    hashes = word_hashes(codes, length)
    assert len(hashes) == max(0, len(codes) - length + 1)
    for place, value in enumerate(hashes.tolist()):
        assert int(row_hashes(codes[None, place : place + length])[0]) == value


def test_words_beside_an_n_are_told():
    codes = np.array([0, 1, 4, 2, 3, 0], np.uint8)
    assert has_only_bases(codes, 2).tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("length", [0, 32])
def test_a_kmer_fits_64_bits(length):
    with pytest.raises(ValueError, match="1 to 31 bases"):
        canonical_kmers(np.zeros(50, np.uint8), length)
