"""Counting DNA words: how often each base follows each context, over a genome of any size.

Codes are those of the genome store: A0 C1 G2 T3, anything else is not a base. A word of w bases is
packed in base 4, oldest base first. The depth of a position is the number of bases in a row that
end there, so a position of depth d has a context of d - 1 bases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.kmers import pack_contexts

# 4^13 counts of 8 bytes are half a gigabyte; a larger table belongs in another structure.
MAX_ORDER = 12
CHUNK_BASES = 1 << 22
# a table of counts may have more entries than a short interval has bases.
_SHORT_BASES = CHUNK_BASES // 8


@dataclass(frozen=True)
class ContextCounts:
    """Counts of all words of up to `max_order + 1` bases.

    `full` holds the words of `max_order + 1` bases; `starts[j]` holds the words of j + 1 bases that
    end at depth exactly j + 1, which no longer word covers. Together they give every order exactly.
    """

    max_order: int
    full: np.ndarray
    starts: tuple[np.ndarray, ...]

    @property
    def num_bases(self) -> int:
        """Number of bases counted, each once."""
        return int(self.full.sum() + sum(int(table.sum()) for table in self.starts))

    def tables(self) -> list[np.ndarray]:
        """For each order j: int64 (4^j, 4), how often base b followed context c inside a run."""
        tables = [self.full]
        for start in reversed(self.starts):
            # a word loses its oldest base, which is its most significant digit.
            tables.append(tables[-1].reshape(4, -1).sum(axis=0) + start)
        return [table.reshape(-1, 4) for table in reversed(tables)]


def chunks_with_context(
    store: GenomeStore, interval: Interval, max_order: int, *, beyond_interval: bool
) -> Iterator[tuple[np.ndarray, int]]:
    """Codes of an interval in bounded pieces, each preceded by its context.

    Args:
        store: genome store.
        interval: 0-based half-open, inside one chromosome.
        max_order: number of preceding bases wanted.
        beyond_interval: whether the context may reach before the interval (never the chromosome).

    Yields:
        Codes uint8 (context + n,) and the number of leading bases that are context only.
    """
    offset = store.offsets[interval.chrom]
    lowest = 0 if beyond_interval else interval.start
    for start in range(interval.start, interval.end, CHUNK_BASES):
        end = min(start + CHUNK_BASES, interval.end)
        first = max(lowest, start - max_order)
        yield np.asarray(store.codes[offset + first : offset + end]), start - first


def codes_before(store: GenomeStore, starts: np.ndarray, context: int) -> np.ndarray:
    """The bases before windows, without soft mask.

    Args:
        store: genome store.
        starts: int64 (B,), store offset of each window.
        context: bases before each window.

    Returns:
        uint8 (B, context); `N_CODE` before the start of the chromosome.
    """
    chromosomes = np.array(list(store.offsets.values()))
    lowest = chromosomes[np.searchsorted(chromosomes, starts, side="right") - 1]
    offsets = starts[:, None] + np.arange(-context, 0)
    codes = store.codes[np.maximum(offsets, 0)] & CODE_MASK
    return np.where(offsets >= lowest[:, None], codes, np.uint8(N_CODE))


def count_contexts(
    store: GenomeStore,
    intervals: Iterable[Interval],
    max_order: int,
    *,
    beyond_interval: bool = False,
) -> ContextCounts:
    """Count the words of the forward strand; memory does not grow with the genome.

    No word crosses an N, a chromosome end or, unless `beyond_interval`, the start of an interval.

    Args:
        store: genome store.
        intervals: disjoint intervals; every base inside is counted once as the last of its word.
        max_order: longest context, 0 to `MAX_ORDER`.
        beyond_interval: give the first bases of an interval the context before it.

    Raises:
        ValueError: if `max_order` is out of range.
    """
    if not 0 <= max_order <= MAX_ORDER:
        raise ValueError(f"the Markov order must lie in 0..{MAX_ORDER}, got {max_order}")
    full = np.zeros(4 ** (max_order + 1), np.int64)
    starts = tuple(np.zeros(4 ** (order + 1), np.int64) for order in range(max_order))
    chunks = (
        chunk
        for interval in intervals
        for chunk in chunks_with_context(
            store, interval, max_order, beyond_interval=beyond_interval
        )
    )
    for codes, counted in _joined(chunks):
        words, depth = (part[counted] for part in pack_contexts(codes, max_order))
        full += np.bincount(words[depth == max_order + 1], minlength=full.size)
        shallow = np.flatnonzero((depth > 0) & (depth <= max_order))
        for order in np.unique(depth[shallow]) - 1:
            words_here = words[shallow][depth[shallow] == order + 1] & (4 ** (order + 1) - 1)
            starts[order][:] += np.bincount(words_here, minlength=starts[order].size)
    return ContextCounts(max_order, full, starts)


def _joined(
    chunks: Iterable[tuple[np.ndarray, int]],
) -> Iterator[tuple[np.ndarray, slice | np.ndarray]]:
    """Chunks with what of them is counted; short ones are joined, with an N between them."""
    held: list[tuple[np.ndarray, int]] = []
    num_bases = 0
    for codes, context in chunks:
        if len(codes) >= _SHORT_BASES:
            yield codes, slice(context, None)
            continue
        held.append((codes, context))
        num_bases += len(codes) + 1
        if num_bases >= CHUNK_BASES:
            yield _one_chunk(held)
            held, num_bases = [], 0
    if held:
        yield _one_chunk(held)


def _one_chunk(chunks: Sequence[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    gap = np.full(1, N_CODE, np.uint8)
    codes = np.concatenate([part for chunk, _ in chunks for part in (chunk, gap)])
    # what is not counted: the context of each chunk, and the gaps, which have no word.
    contexts = np.array([context for _, context in chunks])
    rest = np.array([len(chunk) + 1 for chunk, _ in chunks]) - contexts
    is_counted = np.repeat(
        np.tile([False, True], len(chunks)), np.stack([contexts, rest], axis=1).reshape(-1)
    )
    return codes, is_counted
