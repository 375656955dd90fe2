"""Sorted words against brute-force counts of both strands."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.errors import DataError
from dnamdlm.words import sorted_words
from dnamdlm.words.sorted_words import SortedWords, reverse_complements

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def codes_of(text: str) -> np.ndarray:
    return np.array(["ACGTN".index(letter) for letter in text], np.uint8)


def packed(word: str) -> int:
    return int("".join(str("ACGT".index(base)) for base in word), 4)


def both_strands(text: str, width: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for strand in (text, text.translate(COMPLEMENT)[::-1]):
        words = (strand[at : at + width] for at in range(len(strand) - width + 1))
        found.update(word for word in words if "N" not in word)
    return found


@settings(max_examples=60, deadline=None)
@given(text=st.text("ACGTN", max_size=80), order=st.integers(0, 24), repeats=st.integers(1, 3))
def test_words_and_counts_are_those_of_a_brute_force_count(text, order, repeats):
    text *= repeats
    found = SortedWords.counted(codes_of(text), order)
    expected = sorted(
        (packed(word), count) for word, count in both_strands(text, order + 1).items()
    )
    assert list(zip(found.words.tolist(), found.counts.tolist(), strict=True)) == expected


@pytest.mark.parametrize("chunk", [5, 13, 64])
def test_no_word_is_lost_or_doubled_at_the_edge_of_a_chunk(monkeypatch, chunk):
    monkeypatch.setattr(sorted_words, "_CHUNK_BASES", chunk)
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), 150)) + "NNACGTACGTACGT"
    found = SortedWords.counted(codes_of(text), 6)
    assert int(found.counts.sum()) == both_strands(text, 7).total()


def test_counts_after_contexts_are_those_of_the_words():
    text = "ACGTACGTTTACGA" * 3
    expected = both_strands(text, 4)
    contexts = ["ACG", "TTT", "CCC", "CGT", "ACG"]
    found = SortedWords.counted(codes_of(text), 3).after(np.array([packed(c) for c in contexts]))
    assert found.tolist() == [[expected[c + base] for base in "ACGT"] for c in contexts]


def test_a_sequence_without_a_word_has_no_counts():
    found = SortedWords.counted(codes_of("ACNGT"), 12)
    assert len(found.words) == 0
    assert found.after(np.array([0, 5])).tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("length", [1, 2, 13, 25, 31])
def test_the_other_strand_of_a_word_is_read_backwards_with_complements(length):
    word = "".join(np.random.default_rng(length).choice(list("ACGT"), length))
    found = reverse_complements(np.array([packed(word)]), length)
    assert found.tolist() == [packed(word.translate(COMPLEMENT)[::-1])]


def test_a_training_split_beyond_the_limit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(sorted_words, "MAX_BASES", 10)
    SortedWords.counted(codes_of("ACGTACGTAC" + "N" * 90), 12)
    with pytest.raises(DataError, match=r"has 11 bases, .* at most 10, .* use max_order=10"):
        SortedWords.counted(codes_of("ACGTACGTACG"), 12)
