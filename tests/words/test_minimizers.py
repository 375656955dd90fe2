"""Minimizers against every window by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.words.codes import SOFT_MASK
from dnamdlm.words.minimizers import NO_HASH, is_minimizer, kmer_hashes


@pytest.mark.parametrize("first_of_ties", [False, True])
@given(
    hashes=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    window=st.integers(1, 8),
)
def test_each_window_gives_its_smallest_hashes(hashes, window, first_of_ties):
    size = min(window, len(hashes))
    expected = set()
    for first in range(len(hashes) - size + 1):
        stretch = hashes[first : first + size]
        least = [place for place, value in enumerate(stretch, first) if value == min(stretch)]
        expected.update(least[:1] if first_of_ties else least)
    kept = is_minimizer(np.array(hashes, np.uint64), window, first_of_ties=first_of_ties)
    assert np.flatnonzero(kept).tolist() == sorted(expected)


@pytest.mark.parametrize("first_of_ties", [False, True])
def test_words_with_n_are_never_minimizers(first_of_ties):
    hashes = np.full(9, NO_HASH)
    hashes[7] = 5
    kept = is_minimizer(hashes, 3, first_of_ties=first_of_ties)
    assert np.flatnonzero(kept).tolist() == [7]


def test_no_hash_has_no_minimizer():
    assert is_minimizer(np.zeros(0, np.uint64), 7).size == 0


def test_the_hash_of_a_kmer_is_the_same_on_both_strands():
    codes = np.random.default_rng(0).integers(0, 4, 100).astype(np.uint8)
    assert kmer_hashes(3 - codes[::-1], 21)[::-1].tolist() == kmer_hashes(codes, 21).tolist()


def test_a_kmer_with_n_has_no_hash_and_lower_case_has_that_of_upper_case():
    codes = np.array([0, 1, 4, 2, 3], np.uint8)
    hashes = kmer_hashes(codes | SOFT_MASK, 2)
    assert (hashes == NO_HASH).tolist() == [False, True, True, False]
    assert hashes.tolist() == kmer_hashes(codes, 2).tolist()
