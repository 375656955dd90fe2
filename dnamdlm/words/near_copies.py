"""Near copies: which sequences share most of their words with others.

A query is a near copy if a given share of its words occurs in one single reference sequence. Words
are 64-bit numbers (k-mers, or hashes of them) and each belongs to a sequence, its owner. Whoever
calls this chooses the words: all distinct k-mers, a sample of them, or minimizers, the same rule
for queries and references.

Memory follows the queries, and grows by one entry for each query word and reference sequence that
holds it; references are read once, in parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_SPREAD = np.uint64(0xD1B54A32D192ED03)
_MOST_BITS = 28
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True)
class OwnedWords:
    """Words of several sequences.

    Attributes:
        words: uint64 (W,).
        owners: int64 (W,), number of the sequence of each word.
    """

    words: NDArray[np.uint64]
    owners: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Iterable[OwnedWords]) -> OwnedWords:
        """All parts in one."""
        found = [cls(np.zeros(0, np.uint64), np.zeros(0, np.int64)), *parts]
        return cls(
            np.concatenate([part.words for part in found]),
            np.concatenate([part.owners for part in found]),
        )


@dataclass(frozen=True)
class SharedWords:
    """How much of each query one reference sequence holds.

    Attributes:
        totals: int64 (Q,), words of each query.
        shared: int64 (Q,), most of them that a single reference sequence holds.
    """

    totals: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Shared words over all words of each query, 0 for a query without words."""
        return self.shared / np.maximum(self.totals, 1)

    def is_near_copy(self, share: float) -> NDArray[np.bool_]:
        """Whether each query shares at least this share of its words; False without words."""
        return (self.totals > 0) & (self.shares >= share)


def near_copies(
    queries: OwnedWords,
    num_queries: int,
    references: Iterable[OwnedWords],
    *,
    max_holders: int | None = None,
) -> SharedWords:
    """Compare queries with reference sequences by the words that they share.

    A word that a query has twice counts twice.

    Args:
        queries: words of the queries, owned by 0 ... num_queries - 1.
        num_queries: Q.
        references: words of the references in parts; owners never decrease, and the words of one
            owner may come in several parts.
        max_holders: words that more reference sequences than this hold (repeats) are not counted
            as shared; None counts all.

    >>> import numpy as np
    >>> ours = OwnedWords(np.array([1, 2, 3, 9], np.uint64), np.array([0, 0, 0, 1]))
    >>> theirs = OwnedWords(np.array([1, 2, 3], np.uint64), np.array([0, 0, 1]))
    >>> found = near_copies(ours, 2, [theirs])
    >>> found.shared.tolist(), found.is_near_copy(0.5).tolist()
    ([2, 0], [True, False])
    """
    order = np.argsort(queries.owners, kind="stable")
    words, rows = queries.words[order], queries.owners[order]
    totals = np.bincount(rows, minlength=num_queries)
    lookup = WordLookup(words)
    slots, holders = _holders(lookup, references)
    edges = np.searchsorted(slots, np.arange(len(lookup.slots) + 1))
    first, counts = edges[:-1][lookup.slot_of], np.diff(edges)[lookup.slot_of]
    if max_holders is not None:
        counts[counts > max_holders] = 0
    num_references = int(holders.max(initial=0)) + 1
    shared = np.zeros(num_queries, np.int64)
    ends = np.searchsorted(rows, np.arange(0, num_queries + _QUERIES_AT_ONCE, _QUERIES_AT_ONCE))
    for start, end in pairwise(ends):
        repeats = counts[start:end]
        if not repeats.sum():
            continue
        # every pair of a query word and a reference that holds it.
        shift = np.repeat(np.cumsum(repeats) - repeats, repeats)
        place = np.arange(len(shift)) - shift + np.repeat(first[start:end], repeats)
        pairs = np.repeat(rows[start:end], repeats) * num_references + holders[place]
        distinct, sizes = np.unique(pairs, return_counts=True)
        np.maximum.at(shared, distinct // num_references, sizes)
    return SharedWords(totals, shared)


class WordLookup:
    """Which of a fixed set of 64-bit values occur in a stream of values, and where.

    Attributes:
        slots: the distinct values, sorted.
        slot_of: int64 (W,), slot of each value that was given.
    """

    def __init__(self, values: NDArray[np.uint64]) -> None:
        """Sort the values; equal ones share a slot."""
        self.slots, self.slot_of = np.unique(values, return_inverse=True)
        bits = min(max(8 * len(self.slots), 1 << 16).bit_length(), _MOST_BITS)
        self._shift = np.uint64(64 - bits)
        # most values of a stream are absent, and a table in the cache says so at once.
        self._is_present = np.zeros(1 << bits, np.bool_)
        self._is_present[self._spread(self.slots)] = True

    def hits(self, stream: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slot and place in the stream of each value that occurs, in the order of the stream."""
        places = np.flatnonzero(self._is_present[self._spread(stream)])
        found, inverse = np.unique(stream[places], return_inverse=True)
        slots = np.searchsorted(self.slots, found)
        is_here = slots < len(self.slots)
        is_here[is_here] = self.slots[slots[is_here]] == found[is_here]
        is_hit = is_here[inverse]
        return slots[inverse[is_hit]], places[is_hit]

    def _spread(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (values * _SPREAD) >> self._shift


def _holders(
    lookup: WordLookup, references: Iterable[OwnedWords]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slot and reference of each pair of a query word and a reference that holds it, by slot."""
    last = np.full(len(lookup.slots), -1, np.int64)
    slots, holders = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part in references:
        hit, place = lookup.hits(part.words)
        if not len(hit):
            continue
        owners = part.owners[place]
        start = int(owners.min())
        span = int(owners.max()) - start + 1
        slot, owner = np.divmod(np.unique(hit * span + (owners - start)), span)
        owner += start
        # an owner may continue from the part before.
        is_new = last[slot] != owner
        slots.append(slot[is_new])
        holders.append(owner[is_new])
        # of equal slots the last assignment stays, that of the largest owner.
        last[slot] = owner
    joined = np.concatenate(slots)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(holders)[order]
