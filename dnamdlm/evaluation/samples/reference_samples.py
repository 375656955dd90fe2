"""What generated sequences are compared with: samples of real sequence, and its floors.

Real windows are drawn from intervals of a genome store and cut to the lengths of the generated
sequences. They fall into two parts that share no window: `real`, a sample as large as the generated
one, is as good as a generator gets; `reference` is what all are compared with. Floors are made from
them: samples of Markov models of the reference, and the real sample with its dinucleotides kept and
everything else shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.shuffles import shuffle_dinucleotides
from dnamdlm.lm.markov import MarkovModel
from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.kmers import kmer_counts

MARKOV_ORDERS = (3, 5)
GENERATED, REAL, SHUFFLED = "generated", "real", "shuffled_2"
_PSEUDO_COUNT = 1.0
_MAX_REFERENCE_BASES = 1 << 24


@dataclass(frozen=True)
class Compared:
    """All samples, each with as many sequences of the same lengths.

    Attributes:
        samples: name -> sequences, "generated" first.
        labels: name -> label for people.
        reference: real windows that are in no sample.
        real_intervals: where the sequences of `real` lie.
        markov: order -> Markov model of the reference.
    """

    samples: dict[str, list[np.ndarray]]
    labels: dict[str, str]
    reference: list[np.ndarray]
    real_intervals: tuple[Interval, ...]
    markov: dict[int, MarkovModel]


def compare_with(
    generated: Sequence[np.ndarray],
    store: GenomeStore,
    intervals: Sequence[Interval],
    rng: np.random.Generator,
    *,
    where: str,
) -> Compared:
    """Draw the real samples and make the floors.

    Args:
        generated: sequences of A, C, G and T.
        store: genome store of real sequence.
        intervals: the parts of it to draw from.
        rng: source of all randomness.
        where: what the intervals are, for messages.

    Raises:
        DataError: if there are fewer than two windows.
    """
    longest = max(map(len, generated))
    pool = windows_without_n(store, intervals, longest)
    size = min(len(generated), len(pool) // 2)
    if not size:
        raise DataError(
            f"{where} has {len(pool)} windows of {longest} bp without N, 2 are needed; "
            "give more real sequence or generate shorter sequences"
        )
    kept = list(generated[:size])
    num_reference = min(len(pool) - size, max(size, _MAX_REFERENCE_BASES // longest))
    chosen = [pool[index] for index in rng.permutation(len(pool))[: size + num_reference]]
    # a window is as long as the generated sequence that it stands beside.
    lengths = [len(kept[index % size]) for index in range(len(chosen))]
    windows = [
        Interval(item.chrom, item.start, min(item.end, item.start + length))
        for item, length in zip(chosen, lengths, strict=True)
    ]
    codes = [store.fetch(item) & CODE_MASK for item in windows]
    real, reference = codes[:size], codes[size:]
    samples = {GENERATED: kept, REAL: real}
    labels = {GENERATED: "Generated", REAL: "Real, another sample"}
    markov = markov_models(reference, max(MARKOV_ORDERS))
    for order in sorted(MARKOV_ORDERS, reverse=True):
        name = f"markov_{order}"
        drawn = markov[order].sample(rng, size, longest)
        samples[name] = [row[: len(item)] for row, item in zip(drawn, kept, strict=True)]
        labels[name] = f"Markov, order {order}"
    samples[SHUFFLED] = [shuffle_dinucleotides(item, rng) for item in real]
    labels[SHUFFLED] = "Real, dinucleotides shuffled"
    return Compared(samples, labels, reference, tuple(windows[:size]), markov)


def windows_without_n(
    store: GenomeStore, intervals: Sequence[Interval], length: int
) -> list[Interval]:
    """Windows side by side, those with an N left out.

    A shorter interval is one window, and one below half the length is none.
    """
    windows = []
    for interval in intervals:
        if 2 * len(interval) < length:
            continue
        size = min(length, len(interval))
        starts = np.arange(interval.start, interval.end - size + 1, size, dtype=np.int64)
        offsets = starts + store.span(interval)[0] - interval.start
        whole = starts[store.count_n(offsets, offsets + size) == 0]
        windows += [Interval(interval.chrom, start, start + size) for start in whole.tolist()]
    return windows


def without(intervals: Sequence[Interval], removed: Sequence[Interval]) -> list[Interval]:
    """The intervals with others cut out of them."""
    by_record: dict[str, list[Interval]] = {}
    for item in sorted(removed):
        by_record.setdefault(item.chrom, []).append(item)
    rest = []
    for interval in intervals:
        start = interval.start
        for item in by_record.get(interval.chrom, ()):
            if not item.overlaps(interval):
                continue
            if item.start > start:
                rest.append(Interval(interval.chrom, start, item.start))
            start = max(start, item.end)
        if start < interval.end:
            rest.append(Interval(interval.chrom, start, interval.end))
    return rest


def markov_models(sequences: Sequence[np.ndarray], max_order: int) -> dict[int, MarkovModel]:
    """Markov models of order 0 to max_order of both strands, one count added per base and context.

    A sequence's first bases are counted in the lower orders too, so that they are drawn alike.
    """
    tables = []
    for counts in kmer_counts(sequences, max_order + 1):
        counted = counts.reshape(-1, 4) + _PSEUDO_COUNT / 4
        tables.append(np.log(counted / counted.sum(axis=1, keepdims=True)))
    return {
        order: MarkovModel("additive", tuple(tables[: order + 1]), (_PSEUDO_COUNT,) * (order + 1))
        for order in range(max_order + 1)
    }
