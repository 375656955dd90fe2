"""Counts of the long words of a training sequence, as a sorted array that is searched by halves.

A table of all 4^k words does not fit memory above twelve bases or so; the words that occur do.
Words are packed in base 4, oldest base first, so that the four words that continue one context
stand next to each other. Sequences are codes of the genome store; a code that is not a base
interrupts words.

Memory: 9 to 12 bytes for each distinct word, and up to 26 bytes for each word while it is counted.
Both strands of 12 million bases of yeast are 24 million words: 240 MB for each order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import DataError
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.kmers import pack_contexts

MAX_BASES = 1 << 26
"""Most bases of a training sequence whose words are sorted. At this limit three orders keep 4 GB,
and counting the last one takes 3.5 GB more for a while."""

_CHUNK_BASES = 1 << 20
_PAIRS, _NIBBLES = np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)


@dataclass(frozen=True)
class SortedWords:
    """How often each word of `order + 1` bases occurs, for the words that occur.

    Attributes:
        order: bases of a context, one fewer than those of a word.
        words: int64 (W,), distinct words in increasing order.
        counts: unsigned (W,), at least 1.
    """

    order: int
    words: NDArray[np.int64]
    counts: NDArray[np.unsignedinteger]

    @classmethod
    def counted(cls, codes: NDArray[np.uint8], order: int) -> SortedWords:
        """Count the words of both strands.

        Args:
            codes: uint8 (n,), store codes; the soft mask is ignored.
            order: bases of a context, 0 to 30.

        Raises:
            DataError: for more than `MAX_BASES` bases.

        >>> found = SortedWords.counted(np.array([0, 0, 1], np.uint8), 1)  # AAC and GTT
        >>> found.words.tolist(), found.counts.tolist()  # AA, AC, GT, TT
        ([0, 1, 11, 15], [1, 1, 1, 1])
        """
        check_size(codes)
        length = order + 1
        parts: list[NDArray[np.int64]] = []
        for first in range(0, len(codes), _CHUNK_BASES):
            context = min(first, order)
            words, depth = pack_contexts(codes[first - context : first + _CHUNK_BASES], order)
            whole = words[context:][depth[context:] == length].astype(np.int64)
            parts += [whole, reverse_complements(whole, length)]
        every = np.concatenate([np.zeros(0, np.int64), *parts])
        del parts
        every.sort()
        is_first = np.ones(len(every), np.bool_)
        np.not_equal(every[1:], every[:-1], out=is_first[1:])
        places = np.flatnonzero(is_first)
        del is_first
        counts = np.diff(places, append=len(every))
        counts = counts.astype(np.min_scalar_type(int(counts.max(initial=1))))
        return cls(order, every[places], counts)

    def after(self, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each of the four bases follows each context.

        Args:
            contexts: int64 (n,), of `order` bases each.

        Returns:
            int64 (n, 4).
        """
        found = np.zeros((len(contexts), 4), np.int64)
        if not len(self.words):
            return found
        # a search for values in order finds most of its path in the cache.
        rows = np.argsort(contexts)
        wanted = contexts[rows]
        first = np.searchsorted(self.words, wanted * 4)
        for step in range(4):
            places = np.minimum(first + step, len(self.words) - 1)
            words = self.words[places]
            hits = np.flatnonzero((words >> 2 == wanted) & (first + step < len(self.words)))
            found[rows[hits], words[hits] & 3] = self.counts[places[hits]]
        return found


def reverse_complements(words: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """The words of `length` bases as the other strand reads them, int64 (n,).

    >>> reverse_complements(np.array([1]), 3).tolist()  # AAC becomes GTT
    [47]
    """
    bits = ~words.astype(np.uint64)
    bits = (bits >> np.uint64(2)) & _PAIRS | (bits & _PAIRS) << np.uint64(2)
    bits = (bits >> np.uint64(4)) & _NIBBLES | (bits & _NIBBLES) << np.uint64(4)
    return (bits.byteswap() >> np.uint64(64 - 2 * length)).astype(np.int64)


def check_size(codes: NDArray[np.uint8]) -> None:
    """Refuse a sequence whose words would not fit memory.

    Raises:
        DataError: for more than `MAX_BASES` bases.
    """
    if len(codes) <= MAX_BASES:
        return
    num_bases = int(np.count_nonzero(codes & CODE_MASK < N_CODE))
    if num_bases > MAX_BASES:
        raise DataError(
            f"the training split has {num_bases:,} bases, and Markov orders above 10 are counted "
            f"for at most {MAX_BASES:,}, which take up to 7 GB of memory; use max_order=10 or a "
            "smaller training split"
        )
