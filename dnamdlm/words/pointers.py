"""Where a window of DNA is found again in a training sequence: the address of its best alignment.

An address is a place in the training sequence followed by its reverse complement, as in `seeds`.
The template of an address is what is read from there on, as many bases as a window has, without
gaps and on one strand; N stands after its end. Words of the window that occur in the training
sequence propose addresses, and the one whose template agrees with the window at most bases is
taken, so that substitutions do no harm.

Shapes: B windows of L bases, n bases of the training sequence, m candidates. Sequences are codes of
the genome store without soft mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import N_CODE
from dnamdlm.words.kmers import MAX_KMER, canonical_kmers, has_only_bases, pack_contexts
from dnamdlm.words.seeds import SeedIndex
from dnamdlm.words.sorted_words import reverse_complements

_MOST_PLACES = 16
"""Places of a word that are looked at on each strand."""
_MOST_CANDIDATES = 16
"""Addresses of a window that are compared with it base by base."""
_WINDOWS_AT_ONCE = 128


@dataclass(frozen=True)
class Pointers:
    """The best address of each window.

    Attributes:
        addresses: int64 (B,), of the first base; -1 where no word of the window was found.
        matches: int64 (B,), bases at which window and template agree.
        copies: int64 (B,), how many of the addresses that were compared have this same template.
    """

    addresses: NDArray[np.int64]
    matches: NDArray[np.int64]
    copies: NDArray[np.int64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether each window has an address."""
        return self.addresses >= 0


@dataclass(frozen=True)
class PointerIndex:
    """The words of a training sequence, and which of them occur in it more than once.

    Memory: 16 bytes for each base.

    Attributes:
        seeds: the words and their places.
        repeated_before: int32 (n + 1,), how many words that occur twice or more, on either strand,
            begin before each place.
    """

    seeds: SeedIndex
    repeated_before: NDArray[np.int32]

    @classmethod
    def of_codes(cls, codes: NDArray[np.uint8], word_length: int) -> PointerIndex:
        """Index a training sequence.

        Args:
            codes: uint8 (n,), store codes, N between its parts.
            word_length: bases that a window and its template must share in a row, 4 to 31.

        Raises:
            ValueError: for another word length.
            DataError: for more bases than fit memory.

        Example: the window TCTG is CAGA of the other strand.
            >>> index = PointerIndex.of_codes(np.array([0, 0, 1, 0, 2, 0, 3], np.uint8), 4)
            >>> found = index.find(np.array([[3, 1, 3, 2]], np.uint8))
            >>> index.templates(found.addresses, 4).tolist(), found.matches.tolist()
            ([[3, 1, 3, 2]], [4])
        """
        seeds = SeedIndex.of_codes(codes, word_length)
        return cls(seeds, _repeated_before(seeds.codes, word_length))

    @classmethod
    def without_words(cls, codes: NDArray[np.uint8]) -> PointerIndex:
        """A training sequence whose templates are read, and in which nothing is looked for."""
        seeds = SeedIndex(
            MAX_KMER,
            np.append(codes, np.uint8(N_CODE)),
            np.zeros(0, np.int64),
            np.zeros(0, np.int32),
        )
        return cls(seeds, np.zeros(len(codes) + 2, np.int32))

    @property
    def num_addresses(self) -> int:
        """How many addresses there are to choose from, on both strands."""
        return 2 * len(self.seeds.codes)

    def templates(self, addresses: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """The bases from each address on, N after the end of its strand, uint8 (B, L)."""
        size = len(self.seeds.codes)
        steps = addresses[:, None] + np.arange(length)
        same_strand = (steps >= size) == (addresses >= size)[:, None]
        return np.where(same_strand, self.seeds.bases(steps), np.uint8(N_CODE))

    def spans(self, addresses: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """First place of each template and the place after its last, int64 (B, 2).

        On the other strand they may lie before the first base.
        """
        doubled = self.num_addresses
        is_reverse = addresses >= doubled // 2
        first = np.where(is_reverse, doubled - addresses - length, addresses)
        return np.stack([first, first + length], axis=1)

    def has_repeats(self, spans: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a word within each span of places (..., 2) occurs anywhere else."""
        first, end = spans[..., 0], spans[..., 1]
        last = np.maximum(end - self.seeds.length + 1, first)
        return self.repeated_before[last] > self.repeated_before[first]

    def find(self, windows: NDArray[np.uint8], own: NDArray[np.int64] | None = None) -> Pointers:
        """The best address of each window.

        Of addresses with equally many matches the first is taken. Words with many places are looked
        up at 16 on each strand, spread evenly; and of all addresses the 16 are compared that most
        words propose.

        Args:
            windows: uint8 (B, L), N at what is not a base.
            own: int64 (B, P, 2), spans of places of the window itself; no template overlaps them.
                Empty spans exclude nothing.
        """
        parts = [
            self._find(windows[rows], None if own is None else own[rows])
            for rows in _parts(len(windows))
        ]
        empty = np.zeros(0, np.int64)
        return Pointers(
            np.concatenate([empty, *(part.addresses for part in parts)]),
            np.concatenate([empty, *(part.matches for part in parts)]),
            np.concatenate([empty, *(part.copies for part in parts)]),
        )

    def _find(self, windows: NDArray[np.uint8], own: NDArray[np.int64] | None) -> Pointers:
        rows, addresses, votes = self._proposed(windows)
        if own is not None:
            spans = self.spans(addresses, windows.shape[1])[:, None]
            mine = own[rows]
            first = np.maximum(mine[..., 0], spans[..., 0])
            clear = (first >= np.minimum(mine[..., 1], spans[..., 1])).all(axis=1)
            rows, addresses, votes = rows[clear], addresses[clear], votes[clear]
        rows, addresses = _most_voted(rows, addresses, votes)
        templates = self.templates(addresses, windows.shape[1])
        mine = windows[rows]
        matches = ((templates == mine) & (mine < N_CODE)).sum(axis=1)
        # the last of a row in this order is its best.
        order = np.lexsort((-addresses, matches, rows))
        rows, addresses, matches = rows[order], addresses[order], matches[order]
        is_last = np.ones(len(rows), np.bool_)
        is_last[:-1] = rows[1:] != rows[:-1]
        best = np.full(len(windows), -1, np.int64)
        best[rows[is_last]] = np.flatnonzero(is_last)
        has = best >= 0
        templates = templates[order]
        is_copy = (templates == templates[best[rows]]).all(axis=1)
        copies = np.bincount(rows[is_copy], minlength=len(windows))
        at = np.maximum(best, 0)
        if not len(rows):
            nothing = np.zeros(len(windows), np.int64)
            return Pointers(nothing - 1, nothing, nothing)
        return Pointers(
            np.where(has, addresses[at], -1), np.where(has, matches[at], 0), copies.astype(np.int64)
        )

    def _proposed(
        self, windows: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows, addresses and how many words of the row propose each of them, in their order."""
        length, size = self.seeds.length, len(self.seeds.codes)
        # a column that is not a base, so that no word crosses from one window to the next.
        flat = np.pad(windows, ((0, 0), (0, 1)), constant_values=N_CODE).reshape(-1)
        words, depth = pack_contexts(flat, length - 1)
        ends = np.flatnonzero(depth == length)
        words = words[ends].astype(np.int64)
        rows, after = np.divmod(ends, windows.shape[1] + 1)
        after += 1
        found: list[NDArray[np.int64]] = []
        for is_reverse in (False, True):
            wanted = reverse_complements(words, length) if is_reverse else words
            hits, places = self._places(wanted)
            # the other strand continues before the first base of the word.
            first = 2 * size - 1 - (places - length - 1) if is_reverse else places
            first = first - after[hits]
            low = size if is_reverse else 0
            inside = (first >= low) & (first < low + size)
            found.append(rows[hits[inside]] * self.num_addresses + first[inside])
        pairs, votes = np.unique(np.concatenate(found), return_counts=True)
        return *np.divmod(pairs, self.num_addresses), votes

    def _places(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of words that occur, and the place after each of their occurrences."""
        seeds = self.seeds.seeds
        order = np.argsort(wanted)
        first, end = np.zeros((2, len(wanted)), np.int64)
        first[order] = np.searchsorted(seeds, wanted[order])
        is_there = seeds[np.minimum(first, len(seeds) - 1)] == wanted if len(seeds) else first > 0
        present = np.flatnonzero(is_there & (first < len(seeds)))
        first = first[present]
        end = np.searchsorted(seeds, wanted[present], side="right")
        counts = end - first
        hits, places = [present[:0]], [present[:0]]
        for number in range(_MOST_PLACES):
            # of many places some that are spread evenly, so that none is preferred.
            step = np.where(counts > _MOST_PLACES, number * counts // _MOST_PLACES, number)
            some = np.flatnonzero(step < counts)
            hits.append(present[some])
            places.append(self.seeds.ends[first[some] + step[some]].astype(np.int64))
        return np.concatenate(hits), np.concatenate(places)


def _most_voted(
    rows: NDArray[np.int64], addresses: NDArray[np.int64], votes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The addresses of each row that have most votes."""
    order = np.lexsort((addresses, -votes, rows))
    rows, addresses = rows[order], addresses[order]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = rows[1:] != rows[:-1]
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(rows)), 0))
    kept = np.arange(len(rows)) - starts < _MOST_CANDIDATES
    return rows[kept], addresses[kept]


def _repeated_before(codes: NDArray[np.uint8], length: int) -> NDArray[np.int32]:
    """See `PointerIndex`."""
    is_word = has_only_bases(codes, length)
    words = canonical_kmers(codes, length)
    every = np.sort(words[is_word])
    twice = np.unique(every[1:][every[1:] == every[:-1]])
    flags = np.zeros(len(codes) + 1, np.int32)
    if len(twice):
        at = np.minimum(np.searchsorted(twice, words), len(twice) - 1)
        flags[np.flatnonzero(is_word & (twice[at] == words)) + 1] = 1
    return np.cumsum(flags, dtype=np.int32)


def _parts(count: int) -> Iterator[slice]:
    """Rows in parts that fit memory."""
    return (slice(at, at + _WINDOWS_AT_ONCE) for at in range(0, count, _WINDOWS_AT_ONCE))
