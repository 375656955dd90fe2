"""Test rows that training rows give away: copies, reverse complements, near copies, overlaps.

A near copy shares at least a given share of its k-mers, on either strand, with one single training
sequence. K-mers are sampled by their hash, the same on both sides, so that large sets stay small in
memory. Words that stand in very many training sequences (repeats) are not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.tokens.vocabulary import Vocabulary

_MIX = np.uint64(0x9E3779B97F4A7C15)
_BLOCK_TOKENS = 1 << 22
_MAX_WORDS = 20_000_000
_MAX_OCCURRENCES = 200


@dataclass(frozen=True)
class Leaks:
    """For each test row, whether training rows hold it; each of shape (N,).

    Attributes:
        exact: the same sequence is a training row.
        reverse: its reverse complement is.
        near: it shares most of its k-mers with one training row.
    """

    exact: NDArray[np.bool_]
    reverse: NDArray[np.bool_]
    near: NDArray[np.bool_]

    @property
    def any(self) -> NDArray[np.bool_]:
        """Rows to set aside."""
        return self.exact | self.reverse | self.near

    def counts(self) -> dict[str, int]:
        """Number of rows of each kind; a row may be of several."""
        return {
            "rows": len(self.exact),
            "exact": int(self.exact.sum()),
            "reverse_complement": int(self.reverse.sum()),
            "near": int(self.near.sum()),
            "any": int(self.any.sum()),
        }


def find_leaks(
    train: SequenceSet,
    test: SequenceSet,
    vocabulary: Vocabulary,
    *,
    word: int = 24,
    share: float = 0.5,
) -> Leaks:
    """Compare every test sequence with all training sequences.

    Args:
        train: sequences that a model learns from.
        test: sequences that it is tested on.
        vocabulary: of both; without complements only exact copies are found.
        word: k of the k-mers, at most 31.
        share: share of a test sequence's sampled k-mers that one training sequence must hold.
    """
    known = {train[i].tobytes() for i in range(len(train))}
    exact = np.array([test[i].tobytes() in known for i in range(len(test))], dtype=bool)
    nothing = np.zeros(len(test), dtype=bool)
    if vocabulary.complement is None:
        return Leaks(exact, nothing, nothing)
    complement = np.array(vocabulary.complement, dtype=test.tokens.dtype)
    reverse = np.array(
        [complement[test[i][::-1]].tobytes() in known for i in range(len(test))], dtype=bool
    )
    density = max(1, -(-int(train.offsets[-1]) // _MAX_WORDS))
    shares = _best_shares(
        _sampled_words(train, vocabulary, word, density),
        _sampled_words(test, vocabulary, word, density),
        len(train),
        len(test),
    )
    return Leaks(exact, reverse, shares >= share)


def _best_shares(
    train: tuple[NDArray[np.uint64], NDArray[np.int64]],
    test: tuple[NDArray[np.uint64], NDArray[np.int64]],
    num_train: int,
    num_test: int,
) -> NDArray[np.float64]:
    """Largest share of each test sequence's words that one training sequence holds."""
    words, owners = train
    order = np.argsort(words, kind="stable")
    words, owners = words[order], owners[order]
    asked, rows = test
    totals = np.bincount(rows, minlength=num_test)
    best = np.zeros(num_test, dtype=np.int64)
    first = np.searchsorted(words, asked, side="left")
    counts = np.searchsorted(words, asked, side="right") - first
    counts[counts > _MAX_OCCURRENCES] = 0
    ends = np.searchsorted(rows, np.arange(0, num_test + 512, 512))
    for start, end in pairwise(ends):
        repeats = counts[start:end]
        if not repeats.sum():
            continue
        shift = np.repeat(np.cumsum(repeats) - repeats, repeats)
        place = np.arange(repeats.sum()) - shift + np.repeat(first[start:end], repeats)
        pairs = np.repeat(rows[start:end], repeats) * num_train + owners[place]
        distinct, shared = np.unique(pairs, return_counts=True)
        np.maximum.at(best, distinct // num_train, shared)
    return best / np.maximum(totals, 1)


def _sampled_words(
    sequences: SequenceSet, vocabulary: Vocabulary, word: int, density: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Distinct hashed canonical k-mers of each sequence and the sequence of each, by sequence."""
    code_of = np.full(len(vocabulary), 4, dtype=np.uint8)
    code_of[list(vocabulary.real_ids)] = np.arange(4)
    hashes: list[NDArray[np.uint64]] = []
    rows: list[NDArray[np.int64]] = []
    edges = np.arange(0, sequences.offsets[-1] + _BLOCK_TOKENS, _BLOCK_TOKENS)
    bounds = np.minimum(np.searchsorted(sequences.offsets, edges), len(sequences))
    for first, last in pairwise(bounds):
        begin, end = sequences.offsets[first], sequences.offsets[last]
        if end - begin < word:
            continue
        codes = code_of[sequences.tokens[begin:end]]
        owner = np.repeat(np.arange(first, last), sequences.lengths[first:last])
        found, place = _canonical_words(codes, word)
        usable = (owner[place] == owner[place + word - 1]) & (found % np.uint64(density) == 0)
        found, row = found[usable], owner[place[usable]]
        order = np.lexsort((found, row))
        found, row = found[order], row[order]
        is_new = np.ones(len(row), dtype=bool)
        is_new[1:] = (found[1:] != found[:-1]) | (row[1:] != row[:-1])
        hashes.append(found[is_new])
        rows.append(row[is_new])
    if not hashes:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    return np.concatenate(hashes), np.concatenate(rows)


def _canonical_words(
    codes: NDArray[np.uint8], word: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hash of the smaller strand of each k-mer without N, and where it begins."""
    count = len(codes) - word + 1
    ahead = np.zeros(count, dtype=np.uint64)
    back = np.zeros(count, dtype=np.uint64)
    wide = (codes & 3).astype(np.uint64)
    for step in range(word):
        piece = wide[step : step + count]
        ahead = (ahead << np.uint64(2)) | piece
        back |= (np.uint64(3) - piece) << np.uint64(2 * step)
    bad = np.concatenate([[0], np.cumsum(codes > 3)])
    place = np.flatnonzero(bad[word:] == bad[:count])
    mixed = np.minimum(ahead, back)[place] * _MIX
    return mixed ^ (mixed >> np.uint64(29)), place


def overlap_shares(train: Sequence[Interval], test: Sequence[Interval]) -> NDArray[np.float64]:
    """Largest share of each test interval that one training interval covers, on either strand."""
    by_record: dict[str, list[Interval]] = defaultdict(list)
    for interval in train:
        by_record[interval.chrom].append(interval)
    tables = {}
    for name, intervals in by_record.items():
        spans = np.array(sorted((item.start, item.end) for item in intervals), dtype=np.int64)
        tables[name] = (spans, int((spans[:, 1] - spans[:, 0]).max()))
    shares = np.zeros(len(test))
    for row, interval in enumerate(test):
        if interval.chrom not in tables:
            continue
        spans, longest = tables[interval.chrom]
        low = np.searchsorted(spans[:, 0], interval.start - longest, side="right")
        high = np.searchsorted(spans[:, 0], interval.end, side="left")
        if low < high:
            near = spans[low:high]
            covered = np.minimum(near[:, 1], interval.end) - np.maximum(near[:, 0], interval.start)
            shares[row] = max(0, covered.max()) / len(interval)
    return shares
