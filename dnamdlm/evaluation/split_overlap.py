"""What the splits of a genome have in common: shared bases, copied windows, near copies.

A held-out window of full length is a copy if the same bases stand anywhere in the other split, at
whatever shift, and a reverse copy if their reverse complement does; every hit is compared base by
base. It is a near copy if a given share of its minimizers are k-mers of the other split, on either
strand. A minimizer is the k-mer with the smallest hash among w in a row (Roberts et al. 2004,
doi:10.1093/bioinformatics/bth408).

Memory follows the held-out split, and the other one streams past in pieces. A held-out split with
more than `max_minimizers` keeps those whose second hash lies below a threshold, the same share of
every window, so that shares stay what they are and only their noise grows. Per held-out window that
is some 40 bytes and per kept minimizer 60: some 300 MB for a tenth of the human genome in windows
of 1,024 bases. A base that streams past takes about 0.1 microseconds, so that the splits of the
human genome take some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.splits import merge, shared_bases
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.words import (
    MAX_KMER,
    canonical_kmers,
    has_only_bases,
    pieces,
    row_hashes,
    word_hashes,
)
from dnamdlm.lm.contexts import BASE_BITS
from dnamdlm.tokens.nucleotide import reverse_complement

_PAIRS = (("train", "valid"), ("train", "test"), ("valid", "test"))
_BASES_AT_ONCE = 1 << 18
_BASE_BITS = np.uint8(BASE_BITS)
_NO_HASH = np.uint64(2**64 - 1)
_SECOND_HASH = np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True)
class OverlapSettings:
    """How near copies are told.

    Attributes:
        kmer: bases of a k-mer, 15 to 31.
        window: k-mers in a row of which one is the minimizer.
        threshold: share of its minimizers that makes a window a near copy.
        max_minimizers: most minimizers of a held-out split that are kept.
    """

    kmer: int = 21
    window: int = 11
    threshold: float = 0.5
    max_minimizers: int = 1 << 22

    def __post_init__(self) -> None:
        if not 15 <= self.kmer <= MAX_KMER:
            raise ValueError(f"k-mers of the overlap have 15 to {MAX_KMER} bases, got {self.kmer}")
        if self.window < 1 or self.max_minimizers < 1 or not 0.0 < self.threshold <= 1.0:
            raise ValueError(
                "window and max_minimizers must be at least 1 and threshold in (0, 1], got "
                f"{self.window}, {self.max_minimizers} and {self.threshold}"
            )


@dataclass(frozen=True)
class SplitOverlap:
    """How much of one split, the held-out one, stands in another.

    Attributes:
        split: the split that is searched.
        held_out: the split whose windows are looked for.
        bases: bases of the held-out split.
        shared_bases: those that are also bases of `split`, by position.
        windows: windows of the held-out split, side by side; the last of an interval may be short.
        compared_windows: those of full length without N, which can be copies.
        copies: compared windows whose bases stand in `split`.
        reverse_copies: compared windows whose reverse complement does.
        minimizers: kept minimizers of the held-out split.
        minimizers_found: those that are k-mers of `split`.
        kept_share: share of all minimizers that were kept.
        judged_windows: windows with at least one kept minimizer.
        judged_bases: their bases.
        near_windows: judged windows of which a share of at least `threshold` was found.
        near_bases: their bases.
    """

    split: str
    held_out: str
    bases: int
    shared_bases: int
    windows: int
    compared_windows: int
    copies: int
    reverse_copies: int
    minimizers: int
    minimizers_found: int
    kept_share: float
    judged_windows: int
    judged_bases: int
    near_windows: int
    near_bases: int

    def sentence(self) -> str:
        """One line for people."""
        return (
            f"{self.held_out} in {self.split}: {self.shared_bases:,} shared bases; of "
            f"{self.compared_windows:,} windows {self.copies:,} copies and "
            f"{self.reverse_copies:,} reverse-complement copies; "
            f"{_percent(self.minimizers_found, self.minimizers)} of minimizers found; near copies: "
            f"{_percent(self.near_windows, self.judged_windows)} of windows, "
            f"{_percent(self.near_bases, self.judged_bases)} of bases"
        )


@dataclass(frozen=True)
class OverlapReport:
    """The overlap of every pair of splits that hold something.

    Attributes:
        length: bases per window.
        settings: how near copies were told.
        pairs: train and valid, train and test, valid and test.
    """

    length: int
    settings: OverlapSettings
    pairs: tuple[SplitOverlap, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "window_length": self.length,
            "settings": asdict(self.settings),
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def sentences(self) -> list[str]:
        """One line per pair, for people."""
        return [pair.sentence() for pair in self.pairs]


def overlap_report(
    store: GenomeStore,
    splits: Mapping[str, Sequence[Interval]],
    length: int,
    settings: OverlapSettings | None = None,
) -> OverlapReport:
    """Compare the splits of a genome pair by pair.

    Args:
        store: the genome.
        splits: intervals of train, valid and test; they may overlap, and may be empty.
        length: bases per window.
        settings: how near copies are told; None takes the defaults.
    """
    settings = settings or OverlapSettings()
    merged = {name: merge(intervals) for name, intervals in splits.items()}
    pairs = tuple(
        _overlap(store, (first, merged[first]), (second, merged[second]), length, settings)
        for first, second in _PAIRS
        if merged.get(first) and merged.get(second)
    )
    return OverlapReport(length, settings, pairs)


def _overlap(
    store: GenomeStore,
    split: tuple[str, Sequence[Interval]],
    held_out: tuple[str, Sequence[Interval]],
    length: int,
    settings: OverlapSettings,
) -> SplitOverlap:
    (name, intervals), (held_name, held_intervals) = split, held_out
    starts, sizes = _tiles(store, held_intervals, length)
    full = starts[sizes == length]
    full = full[store.count_n(full, full + length) == 0]
    copies, reverse_copies = _find_copies(store, intervals, full, length)
    values, windows, kept_share = _minimizers(store, held_intervals, starts, settings)
    is_found = _find_kmers(store, intervals, values, settings.kmer)
    counts = np.bincount(windows, minlength=len(starts))
    found = np.bincount(windows[is_found], minlength=len(starts))
    is_judged = counts > 0
    is_near = is_judged & (found >= settings.threshold * counts)
    return SplitOverlap(
        split=name,
        held_out=held_name,
        bases=int(sizes.sum()),
        shared_bases=shared_bases(intervals, held_intervals),
        windows=len(starts),
        compared_windows=len(full),
        copies=int(copies.sum()),
        reverse_copies=int(reverse_copies.sum()),
        minimizers=len(values),
        minimizers_found=int(is_found.sum()),
        kept_share=kept_share,
        judged_windows=int(is_judged.sum()),
        judged_bases=int(sizes[is_judged].sum()),
        near_windows=int(is_near.sum()),
        near_bases=int(sizes[is_near].sum()),
    )


class _Lookup:
    """Which of a fixed set of 64-bit values occur in a stream of values."""

    def __init__(self, values: NDArray[np.uint64]) -> None:
        """Sort the values; equal ones share a slot."""
        self.slots, self.slot_of = np.unique(values, return_inverse=True)
        bits = min(max(8 * len(self.slots), 1 << 16).bit_length(), 28)
        self._shift = np.uint64(64 - bits)
        self._is_present = np.zeros(1 << bits, np.bool_)
        self._is_present[self._spread(self.slots)] = True

    def hits(self, stream: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slot and first place in the stream of each value that occurs."""
        places = np.flatnonzero(self._is_present[self._spread(stream)])
        found, first = np.unique(stream[places], return_index=True)
        slots = np.searchsorted(self.slots, found)
        is_here = slots < len(self.slots)
        is_here[is_here] = self.slots[slots[is_here]] == found[is_here]
        return slots[is_here], places[first[is_here]]

    def _spread(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (values * _SECOND_HASH) >> self._shift


def _find_copies(
    store: GenomeStore, intervals: Sequence[Interval], starts: NDArray[np.int64], length: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which windows stand in the intervals as they are, and which reversed and complemented."""
    if not len(starts):
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    parts: list[NDArray[np.uint64]] = []
    for turn in (False, True):
        for rows in _rows(store, starts, length):
            parts.append(row_hashes(reverse_complement(rows) if turn else rows))
    lookup = _Lookup(np.concatenate(parts))
    # one window, or turned window, for each slot; those with an equal hash are taken as equal.
    owners = np.zeros(len(lookup.slots), np.int64)
    owners[lookup.slot_of] = np.arange(2 * len(starts))
    is_found = np.zeros(len(lookup.slots), np.bool_)
    for _, _, codes in pieces(store, intervals, length):
        slots, places = lookup.hits(word_hashes(codes, length))
        for slot, place in zip(slots.tolist(), places.tolist(), strict=True):
            if not is_found[slot]:
                turn, window = divmod(int(owners[slot]), len(starts))
                wanted = store.codes[starts[window] : starts[window] + length] & _BASE_BITS
                wanted = reverse_complement(wanted) if turn else wanted
                is_found[slot] = np.array_equal(codes[place : place + length], wanted)
    forward, turned = is_found[lookup.slot_of].reshape(2, -1)
    return forward, turned


def _minimizers(
    store: GenomeStore,
    intervals: Sequence[Interval],
    starts: NDArray[np.int64],
    settings: OverlapSettings,
) -> tuple[NDArray[np.uint64], NDArray[np.int64], float]:
    """Kept minimizers of the intervals, the window of each, and the share that was kept."""
    expected = 2 * sum(map(len, intervals)) / (settings.window + 1)
    share = min(1.0, settings.max_minimizers / expected)
    reach = settings.window - 1
    values, windows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for interval in intervals:
        offset = store.offsets[interval.chrom]
        for first in range(interval.start, interval.end - settings.kmer + 1, _BASES_AT_ONCE):
            # every k-mer of the piece needs the windows on both of its sides.
            low = max(interval.start, first - reach)
            high = min(first + _BASES_AT_ONCE + reach + settings.kmer - 1, interval.end)
            hashes = _kmer_hashes(store.codes[offset + low : offset + high], settings.kmer)
            places = np.flatnonzero(_is_minimizer(hashes, settings.window))
            places = places[(places >= first - low) & (places < first - low + _BASES_AT_ONCE)]
            kept = places[_sampled(hashes[places], share)]
            values.append(hashes[kept])
            middle = offset + low + kept + settings.kmer // 2
            windows.append(np.searchsorted(starts, middle, side="right") - 1)
    return np.concatenate(values), np.concatenate(windows), share


def _is_minimizer(hashes: NDArray[np.uint64], window: int) -> NDArray[np.bool_]:
    """Whether each hash is the least of a stretch of `window` hashes that it lies in."""
    window = min(window, len(hashes))
    if not window:
        return np.zeros(0, np.bool_)
    views = np.lib.stride_tricks.sliding_window_view
    least = views(hashes, window).min(axis=1)
    padded = np.pad(least, window - 1)
    return (views(padded, window).max(axis=1) == hashes) & (hashes != _NO_HASH)


def _sampled(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """A fixed share of all hashes, chosen by a second hash."""
    if share >= 1.0:
        return np.ones(len(hashes), np.bool_)
    return _mixed(hashes ^ _SECOND_HASH) < np.uint64(share * 2.0**64)


def _find_kmers(
    store: GenomeStore, intervals: Sequence[Interval], values: NDArray[np.uint64], kmer: int
) -> NDArray[np.bool_]:
    """Which values are hashes of k-mers of the intervals."""
    if not len(values):
        return np.zeros(0, np.bool_)
    lookup = _Lookup(values)
    is_found = np.zeros(len(lookup.slots), np.bool_)
    for _, _, codes in pieces(store, intervals, kmer):
        slots, _ = lookup.hits(_kmer_hashes(codes, kmer))
        is_found[slots] = True
    return is_found[lookup.slot_of]


def _kmer_hashes(codes: NDArray[np.uint8], kmer: int) -> NDArray[np.uint64]:
    """A hash of each k-mer that is the same on both strands; the largest number beside an N."""
    codes = codes & _BASE_BITS
    hashes = _mixed(canonical_kmers(codes, kmer))
    return np.where(has_only_bases(codes, kmer), hashes, _NO_HASH)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit words whose output looks random."""
    words = (words ^ (words >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    words = (words ^ (words >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return words ^ (words >> np.uint64(32))


def _tiles(
    store: GenomeStore, intervals: Sequence[Interval], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Store offsets, in order, and sizes of windows side by side."""
    spans = sorted(store.span(interval) for interval in intervals)
    starts = [np.arange(low, high, length) for low, high in spans]
    sizes = [
        np.minimum(part + length, high) - part
        for part, (_, high) in zip(starts, spans, strict=True)
    ]
    return np.concatenate(starts), np.concatenate(sizes)


def _rows(
    store: GenomeStore, starts: NDArray[np.int64], length: int
) -> Iterator[NDArray[np.uint8]]:
    """Windows as rows of codes, some at a time."""
    at_once = max(1, _BASES_AT_ONCE // length)
    views = np.lib.stride_tricks.sliding_window_view(store.codes, length)
    for first in range(0, len(starts), at_once):
        yield views[starts[first : first + at_once]] & _BASE_BITS


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "none"
