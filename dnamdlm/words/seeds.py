"""Where a training sequence continues what was just read: seeds, and the alignments they start.

A seed is a word that occurs in the training sequence, on either strand. From there the training
sequence is read on, base by base, also through places where both differ, until no seed has been
seen for a while. What a position is aligned with depends on a bounded number of bases before it.

An address is a place in the training sequence followed by its reverse complement, so that reading
on is adding on both strands. Sequences are codes of the genome store without soft mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.kmers import MAX_KMER, pack_contexts
from dnamdlm.words.sorted_words import check_size, reverse_complements

HISTORY = 32
"""Bases before a position over which an alignment is judged."""

_MOST_PLACES = 8
_CHUNK_BASES = 1 << 20
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Alignment:
    """What the training sequence says of some positions.

    Attributes:
        positions: int64 (m,), increasing: those that are aligned.
        predicted: uint8 (m,), the base that the training sequence has there.
        mismatches: int64 (m,), of the last `HISTORY` bases.
        run: int64 (m,), bases since the last mismatch, at most `HISTORY`.
    """

    positions: NDArray[np.int64]
    predicted: NDArray[np.uint8]
    mismatches: NDArray[np.int64]
    run: NDArray[np.int64]


@dataclass(frozen=True)
class SeedIndex:
    """All words of one length of a training sequence, and where each of them ends.

    Memory: 12 bytes for each base.

    Attributes:
        length: bases of a seed.
        codes: uint8 (n,), the training sequence; it ends with N.
        seeds: int64 (S,), packed words in increasing order.
        ends: int32 (S,), the address after each of them.
    """

    length: int
    codes: NDArray[np.uint8]
    seeds: NDArray[np.int64]
    ends: NDArray[np.int32]

    @classmethod
    def of_codes(cls, codes: NDArray[np.uint8], length: int) -> SeedIndex:
        """Index a training sequence.

        Args:
            codes: uint8 (n,), store codes, N between its parts; the soft mask is ignored.
            length: bases of a seed, 4 to 31.

        Raises:
            ValueError: for another length.
            DataError: for more bases than fit memory.

        Example: after CAGG the sequence goes on with T, and its other strand after ACCT with G.
            >>> index = SeedIndex.of_codes(np.array([1, 0, 2, 2, 3], np.uint8), 4)
            >>> found = index.aligned(np.array([1, 0, 2, 2, 3], np.uint8), reach=0)
            >>> found.positions.tolist(), found.predicted.tolist(), found.run.tolist()
            ([4], [3], [4])
            >>> index.aligned(np.array([0, 1, 1, 3, 0], np.uint8), reach=0).predicted.tolist()
            [2]
        """
        if not 4 <= length <= MAX_KMER:
            raise ValueError(f"a seed has 4 to {MAX_KMER} bases, got {length}")
        check_size(codes)
        codes = np.append(codes & CODE_MASK, np.uint8(N_CODE))
        seeds, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for first in range(0, len(codes), _CHUNK_BASES):
            context = min(first, length - 1)
            words, depth = pack_contexts(codes[first - context : first + _CHUNK_BASES], length - 1)
            whole = np.flatnonzero(depth[context:] == length)
            seeds.append(words[context:][whole].astype(np.int64))
            ends.append((whole + first + 1).astype(np.int32))
        every, places = np.concatenate(seeds), np.concatenate(ends)
        order = np.argsort(every, kind="stable")
        return cls(length, codes, every[order], places[order])

    def bases(self, addresses: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The base at each address; N outside of the sequence."""
        size = len(self.codes)
        is_reverse = addresses >= size
        places = np.where(is_reverse, 2 * size - 1 - addresses, addresses)
        found = self.codes[np.clip(places, 0, size - 1)]
        is_base = (places >= 0) & (places < size) & (found < N_CODE)
        return np.where(is_base, np.where(is_reverse, 3 - found, found), np.uint8(N_CODE))

    def aligned(self, codes: NDArray[np.uint8], reach: int) -> Alignment:
        """The positions before which a seed ends, and up to `reach` more after each.

        The alignment of a position depends on the `HISTORY + reach` bases before it alone, of
        which the seeds are part. Where a seed has several places, the one is taken whose bases
        before it agree best, of eight on each strand.

        Args:
            codes: uint8 (n,), store codes without soft mask.
            reach: bases after the last seed up to which an alignment is followed.
        """
        before = np.concatenate([np.full(HISTORY, N_CODE, np.uint8), codes])
        positions, addresses = self._seeded(codes, before)
        rows = np.full(len(codes), -1, np.int64)
        rows[positions] = np.arange(len(positions))
        rows = np.maximum.accumulate(rows) if len(rows) else rows
        here = np.flatnonzero(rows >= 0)
        age = here - positions[rows[here]]
        here, age = here[age <= reach], age[age <= reach]
        addresses = addresses[rows[here]] + age
        predicted = self.bases(addresses)
        is_base = predicted < N_CODE
        here, addresses, predicted = here[is_base], addresses[is_base], predicted[is_base]
        mismatches, run = np.zeros(len(here), np.int64), np.zeros(len(here), np.int64)
        for part in _parts(len(here)):
            agrees = self._agreement(before, here[part], addresses[part])
            mismatches[part] = HISTORY - agrees.sum(axis=1)
            newest_first = agrees[:, ::-1]
            run[part] = np.where(agrees.all(axis=1), HISTORY, newest_first.argmin(axis=1))
        return Alignment(here, predicted, mismatches, run)

    def _seeded(
        self, codes: NDArray[np.uint8], before: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions before which a seed ends, and the address that each is aligned with."""
        words, depth = pack_contexts(codes, self.length - 1)
        positions = np.flatnonzero(depth[:-1] == self.length) + 1
        words = words[positions - 1].astype(np.int64)
        size = len(self.codes)
        best = np.full(len(words), -1, np.int64)
        chosen = np.zeros(len(words), np.int64)
        for is_reverse in (False, True):
            wanted = reverse_complements(words, self.length) if is_reverse else words
            order = np.argsort(wanted)
            first = np.zeros((2, len(words)), np.int64)
            for row, side in zip(first, ("left", "right"), strict=True):
                row[order] = np.searchsorted(self.seeds, wanted[order], side=side)  # pyright: ignore[reportArgumentType, reportCallIssue]
            counts = first[1] - first[0]
            for number in range(_MOST_PLACES):
                # of many places some that are spread evenly, so that none is preferred.
                step = np.where(counts > _MOST_PLACES, number * counts // _MOST_PLACES, number)
                rows = np.flatnonzero(step < counts)
                if not len(rows):
                    break
                ends = self.ends[first[0][rows] + step[rows]].astype(np.int64)
                # the other strand goes on before the first base of the seed.
                addresses = 2 * size - 1 - (ends - self.length - 1) if is_reverse else ends
                for part in _parts(len(rows)):
                    mine = rows[part]
                    agreeing = self._agreement(before, positions[mine], addresses[part]).sum(axis=1)
                    is_better = agreeing > best[mine]
                    best[mine[is_better]] = agreeing[is_better]
                    chosen[mine[is_better]] = addresses[part][is_better]
        found = best >= 0
        return positions[found], chosen[found]

    def _agreement(
        self,
        before: NDArray[np.uint8],
        positions: NDArray[np.int64],
        addresses: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Which of the bases before positions agree with those before addresses, (m, HISTORY)."""
        steps = np.arange(HISTORY)
        mine = before[positions[:, None] + steps]
        return (mine == self.bases(addresses[:, None] + steps - HISTORY)) & (mine < N_CODE)


def _parts(count: int) -> Iterator[slice]:
    """Rows in parts that fit the memory."""
    return (slice(first, first + _ROWS_AT_ONCE) for first in range(0, count, _ROWS_AT_ONCE))
