"""Test rows that training rows give away: copies, reverse complements, near copies, overlaps.

A near copy shares at least a given share of its k-mers, on either strand, with one single training
sequence. Of large sets a sample of the k-mers is compared, chosen by their hash on both sides, so
that memory stays bounded. Words that very many training sequences hold (repeats) are not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.words.hashes import one_in
from dnamdlm.words.kmers import canonical_kmers, has_only_bases
from dnamdlm.words.near_copies import OwnedWords, near_copies

_BLOCK_TOKENS = 1 << 22
_MAX_WORDS = 20_000_000
_MAX_HOLDERS = 200


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
    found = near_copies(
        OwnedWords.joined(_sampled_words(test, vocabulary, word, density)),
        len(test),
        _sampled_words(train, vocabulary, word, density),
        max_holders=_MAX_HOLDERS,
    )
    return Leaks(exact, reverse, found.is_near_copy(share))


def _sampled_words(
    sequences: SequenceSet, vocabulary: Vocabulary, word: int, density: int
) -> Iterator[OwnedWords]:
    """The distinct canonical k-mers of each sequence, or one in `density` of them."""
    edges = np.arange(0, sequences.offsets[-1] + _BLOCK_TOKENS, _BLOCK_TOKENS)
    bounds = np.minimum(np.searchsorted(sequences.offsets, edges), len(sequences))
    codes = sequences.codes(vocabulary)
    for first, last in pairwise(bounds):
        block = codes[sequences.offsets[first] : sequences.offsets[last]]
        if len(block) < word:
            continue
        kmers = canonical_kmers(block, word)
        owner = np.repeat(np.arange(first, last), sequences.lengths[first:last])
        usable = has_only_bases(block, word) & (owner[: len(kmers)] == owner[word - 1 :])
        usable &= one_in(kmers, density)
        kmers, row = kmers[usable], owner[: len(kmers)][usable]
        order = np.lexsort((kmers, row))
        kmers, row = kmers[order], row[order]
        is_new = np.ones(len(row), dtype=bool)
        is_new[1:] = (kmers[1:] != kmers[:-1]) | (row[1:] != row[:-1])
        yield OwnedWords(kmers[is_new], row[is_new])


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
