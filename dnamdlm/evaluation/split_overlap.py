"""What the splits of a genome have in common: shared bases, copied windows, near copies.

A held-out window of full length is a copy if the same bases occur anywhere in the other split, at
any shift, and a reverse copy if their reverse complement does; every hit is compared base by base.
It is a near copy if a given share of its minimizers (see `dnamdlm.words.minimizers`) are k-mers of
the other split, on either strand.

Memory follows the held-out split, and the other one is read in pieces. A held-out split with more
than `max_minimizers` keeps those that a second hash chooses, the same share of every window, so
that only the noise of the shares grows. A held-out window takes about 40 bytes and a kept minimizer
100: about 450 MB for a tenth of the human genome in windows of 1,024 bases. A base that is read
takes about 0.1 microseconds, so that the splits of the human genome take a few minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.splits import merge, shared_bases
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.evaluation.genome_pieces import Piece, is_short_interval, pieces
from dnamdlm.evaluation.window_copies import find_copies, window_tiles
from dnamdlm.words.hashes import in_share
from dnamdlm.words.kmers import MAX_KMER
from dnamdlm.words.minimizers import are_minimizers, is_minimizer, kmer_hashes
from dnamdlm.words.near_copies import OwnedWords, near_copies
from dnamdlm.words.ragged import places_within

_PAIRS = (("train", "valid"), ("train", "test"), ("valid", "test"))
_BASES_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class OverlapSettings:
    """What counts as a near copy.

    Attributes:
        kmer: bases of a k-mer, 15 to 31.
        window: neighbouring k-mers of which the smallest is a minimizer.
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
    """How much of one split, the held-out one, occurs in another.

    Attributes:
        split: the split that is searched.
        held_out: the split whose windows are searched for.
        bases: bases of the held-out split.
        shared_bases: those that are also bases of `split`, by position.
        windows: adjacent windows of the held-out split; the last of an interval may be short.
        compared_windows: those of full length without N, which can be copies.
        copies: compared windows whose bases occur in `split`.
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
    """The overlap of every pair of splits that are not empty.

    Attributes:
        length: bases per window.
        settings: what counts as a near copy.
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
        settings: what counts as a near copy; None takes the defaults.
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
    starts, sizes = window_tiles(store, held_intervals, length)
    full = starts[sizes == length]
    full = full[store.count_n(full, full + length) == 0]
    copies, reverse_copies = find_copies(store, intervals, full, length)
    expected = 2 * sum(map(len, held_intervals)) / (settings.window + 1)
    kept_share = min(1.0, settings.max_minimizers / expected)
    minimizers = OwnedWords.joined(_minimizers(store, held_intervals, starts, settings, kept_share))
    near = near_copies(
        minimizers, len(starts), _kmers_of_one_owner(store, intervals, settings.kmer)
    )
    is_judged = near.totals > 0
    is_near = near.is_near_copy(settings.threshold)
    return SplitOverlap(
        split=name,
        held_out=held_name,
        bases=int(sizes.sum()),
        shared_bases=shared_bases(intervals, held_intervals),
        windows=len(starts),
        compared_windows=len(full),
        copies=int(copies.sum()),
        reverse_copies=int(reverse_copies.sum()),
        minimizers=int(near.totals.sum()),
        minimizers_found=int(near.shared.sum()),
        kept_share=kept_share,
        judged_windows=int(is_judged.sum()),
        judged_bases=int(sizes[is_judged].sum()),
        near_windows=int(is_near.sum()),
        near_bases=int(sizes[is_near].sum()),
    )


def _minimizers(
    store: GenomeStore,
    intervals: Sequence[Interval],
    starts: NDArray[np.int64],
    settings: OverlapSettings,
    share: float,
) -> Iterator[OwnedWords]:
    """A share of the minimizers of the intervals; the window of its middle base owns each."""
    for is_short, group in groupby(intervals, key=is_short_interval):
        if is_short:
            for piece in pieces(store, list(group), settings.kmer):
                yield _minimizers_of(piece, starts, settings, share)
        else:
            for interval in group:
                yield from _minimizers_in(interval, store, starts, settings, share)


def _minimizers_in(
    interval: Interval,
    store: GenomeStore,
    starts: NDArray[np.int64],
    settings: OverlapSettings,
    share: float,
) -> Iterator[OwnedWords]:
    """A share of the minimizers of a long interval, in parts."""
    reach = settings.window - 1
    offset = store.offsets[interval.chrom]
    for first in range(interval.start, interval.end - settings.kmer + 1, _BASES_AT_ONCE):
        # every k-mer of the piece needs the neighbours on both of its sides.
        low = max(interval.start, first - reach)
        high = min(first + _BASES_AT_ONCE + reach + settings.kmer - 1, interval.end)
        hashes = kmer_hashes(store.codes[offset + low : offset + high], settings.kmer)
        places = np.flatnonzero(is_minimizer(hashes, settings.window))
        places = places[(places >= first - low) & (places < first - low + _BASES_AT_ONCE)]
        kept = places[in_share(hashes[places], share)]
        middle = offset + low + kept + settings.kmer // 2
        yield OwnedWords(hashes[kept], np.searchsorted(starts, middle, side="right") - 1)


def _minimizers_of(
    piece: Piece, starts: NDArray[np.int64], settings: OverlapSettings, share: float
) -> OwnedWords:
    """A share of the minimizers of the intervals of a piece, each of which is whole."""
    ends = np.append(piece.begins[1:] - 1, len(piece.codes) - (len(piece.begins) > 1))
    counts = ends - piece.begins - settings.kmer + 1
    # k-mers that reach over a gap belong to no interval.
    places = np.repeat(piece.begins, counts) + places_within(counts)
    hashes = kmer_hashes(piece.codes, settings.kmer)[places]
    kept = np.flatnonzero(are_minimizers(hashes, counts, settings.window))
    kept = kept[in_share(hashes[kept], share)]
    middle = piece.offsets_at(places[kept]) + settings.kmer // 2
    return OwnedWords(hashes[kept], np.searchsorted(starts, middle, side="right") - 1)


def _kmers_of_one_owner(
    store: GenomeStore, intervals: Sequence[Interval], kmer: int
) -> Iterator[OwnedWords]:
    """All k-mers of the intervals, which together count as one reference sequence."""
    for piece in pieces(store, intervals, kmer):
        hashes = kmer_hashes(piece.codes, kmer)
        yield OwnedWords(hashes, np.zeros(len(hashes), np.int64))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "none"
