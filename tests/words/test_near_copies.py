"""Shared words of queries and references against Counters."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.words.near_copies import OwnedWords, WordLookup, near_copies

SEQUENCES = st.lists(st.lists(st.integers(0, 12), max_size=8), max_size=6)


def owned(sequences, first=0):
    owners = [number for number, words in enumerate(sequences, first) for _ in words]
    words = [word for words in sequences for word in words]
    return OwnedWords(np.array(words, np.uint64), np.array(owners, np.int64))


def brute_force(queries, references, max_holders):
    holders = Counter(word for words in references for word in set(words))
    shared = []
    for words in queries:
        known = [word for word in words if max_holders is None or holders[word] <= max_holders]
        shared.append(max((sum(word in set(r) for word in known) for r in references), default=0))
    return shared


@given(queries=SEQUENCES, references=SEQUENCES, max_holders=st.sampled_from([None, 1, 2]))
def test_the_best_reference_of_each_query_is_found(queries, references, max_holders):
    found = near_copies(owned(queries), len(queries), [owned(references)], max_holders=max_holders)
    assert found.totals.tolist() == [len(words) for words in queries]
    assert found.shared.tolist() == brute_force(queries, references, max_holders)


@given(queries=SEQUENCES, references=SEQUENCES, cut=st.integers(0, 20))
def test_references_may_come_in_parts_and_queries_in_any_order(queries, references, cut):
    whole = owned(references)
    parts = [
        OwnedWords(whole.words[part], whole.owners[part]) for part in (np.s_[:cut], np.s_[cut:])
    ]
    given_queries = owned(queries)
    order = np.random.default_rng(0).permutation(len(given_queries.words))
    shuffled = OwnedWords(given_queries.words[order], given_queries.owners[order])
    found = near_copies(shuffled, len(queries), parts, max_holders=2)
    assert found.shared.tolist() == brute_force(queries, references, 2)


def test_more_queries_than_are_compared_at_once():
    queries = [[number, number + 1] for number in range(1500)]
    found = near_copies(owned(queries), len(queries), [owned([[word] for word in range(1500)])])
    assert found.shared.tolist() == [1] * 1500


@pytest.mark.parametrize(("share", "expected"), [(0.5, [True, False, False]), (0.75, [False] * 3)])
def test_a_near_copy_has_the_share_and_a_query_without_words_is_none(share, expected):
    queries = [[1, 2, 3, 4], [1, 5, 6], []]
    found = near_copies(owned(queries), 3, [owned([[1, 2], [3]])])
    assert found.is_near_copy(share).tolist() == expected
    assert found.shares.tolist() == [0.5, 1 / 3, 0.0]


def test_parts_are_joined_in_order_and_may_be_none():
    assert OwnedWords.joined([]).words.dtype == np.uint64
    joined = OwnedWords.joined([owned([[5]]), owned([[6, 7]], first=3)])
    assert (joined.words.tolist(), joined.owners.tolist()) == ([5, 6, 7], [0, 3, 3])


def test_a_lookup_names_every_place_of_a_known_value():
    lookup = WordLookup(np.array([9, 4, 9], np.uint64))
    assert lookup.slots.tolist() == [4, 9]
    assert lookup.slot_of.tolist() == [1, 0, 1]
    slots, places = lookup.hits(np.array([9, 1, 4, 9, 2**64 - 1], np.uint64))
    assert (slots.tolist(), places.tolist()) == ([1, 0, 1], [0, 2, 3])
