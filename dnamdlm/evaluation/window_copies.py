"""Windows of a genome whose bases occur in other intervals, as they are or reverse-complemented.

Hashes find the candidates, and every hit is compared base by base. Memory follows the windows; the
intervals are read in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.genome_pieces import pieces
from dnamdlm.tokens.nucleotide import reverse_complement
from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.hashes import row_hashes, word_hashes
from dnamdlm.words.near_copies import WordLookup
from dnamdlm.words.ragged import places_within

_BASES_AT_ONCE = 1 << 18


def window_tiles(
    store: GenomeStore, intervals: Sequence[Interval], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Store offsets, in order, and sizes of adjacent windows; the last of an interval may be short.

    Args:
        store: genome store.
        intervals: without overlaps.
        length: bases of a window.
    """
    spans = np.array(sorted(store.span(interval) for interval in intervals), dtype=np.int64)
    low, high = spans.reshape(-1, 2).T
    counts = -(-(high - low) // length)
    starts = np.repeat(low, counts) + length * places_within(counts)
    return starts, np.minimum(starts + length, np.repeat(high, counts)) - starts


def find_copies(
    store: GenomeStore, intervals: Sequence[Interval], starts: NDArray[np.int64], length: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which windows occur in the intervals at any shift, and which reverse complements do.

    Args:
        store: genome store.
        intervals: where to look.
        starts: store offsets of W windows without N.
        length: bases of a window.

    Returns:
        Two boolean arrays (W,).
    """
    if not len(starts):
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    parts: list[NDArray[np.uint64]] = []
    for turn in (False, True):
        for rows in _rows(store, starts, length):
            parts.append(row_hashes(reverse_complement(rows) if turn else rows))
    lookup = WordLookup(np.concatenate(parts))
    # one window, or turned window, for each slot; those with an equal hash are taken as equal.
    owners = np.zeros(len(lookup.slots), np.int64)
    owners[lookup.slot_of] = np.arange(2 * len(starts))
    is_found = np.zeros(len(lookup.slots), np.bool_)
    for piece in pieces(store, intervals, length):
        codes = piece.codes
        hits, places = lookup.hits(word_hashes(codes, length))
        slots, first = np.unique(hits, return_index=True)
        for slot, place in zip(slots.tolist(), places[first].tolist(), strict=True):
            if not is_found[slot]:
                turn, window = divmod(int(owners[slot]), len(starts))
                wanted = store.codes[starts[window] : starts[window] + length] & CODE_MASK
                wanted = reverse_complement(wanted) if turn else wanted
                is_found[slot] = np.array_equal(codes[place : place + length], wanted)
    forward, turned = is_found[lookup.slot_of].reshape(2, -1)
    return forward, turned


def _rows(
    store: GenomeStore, starts: NDArray[np.int64], length: int
) -> Iterator[NDArray[np.uint8]]:
    """Windows as rows of codes, some at a time."""
    at_once = max(1, _BASES_AT_ONCE // length)
    views = np.lib.stride_tricks.sliding_window_view(store.codes, length)
    for first in range(0, len(starts), at_once):
        yield views[starts[first : first + at_once]] & CODE_MASK
