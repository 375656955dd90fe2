"""What generated sequences are compared with: real, Markov and shuffled samples of equal size.

Real windows are drawn from intervals of a genome store and cut to the lengths of the generated
sequences. They are divided into two parts that share no window: `real`, a sample as large as the
generated one, shows the best figures that a generator can reach; `reference` is what all samples
are compared with. Weaker reference samples are made from them: samples of Markov models of the
reference, and the real sample shuffled with its dinucleotides kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.splits import merge
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.shuffles import shuffle_dinucleotides
from dnamdlm.lm.markov import MarkovModel
from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.kmers import kmer_counts
from dnamdlm.words.ragged import places_within

MARKOV_ORDERS = (3, 5)
GENERATED, REAL, SHUFFLED = "generated", "real", "shuffled_2"
_PSEUDO_COUNT = 1.0
_MAX_REFERENCE_BASES = 1 << 24


@dataclass(frozen=True)
class Compared:
    """All samples; each has the same number of sequences, of the same lengths.

    Attributes:
        samples: name -> sequences, "generated" first.
        labels: name -> label for people.
        reference: real windows that no sample contains.
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
    """Draw the real samples and make the Markov and shuffled ones.

    Args:
        generated: sequences of A, C, G and T.
        store: genome store of real sequence.
        intervals: the parts of it to draw from.
        rng: source of all randomness.
        where: name of the intervals, for messages.

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
    # a window is as long as the generated sequence of the same place.
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
    """Adjacent windows of the intervals, without those that contain an N.

    A shorter interval is one window, unless it has less than half the length.
    """
    long_enough = [interval for interval in intervals if 2 * len(interval) >= length]
    spans = np.array([store.span(interval) for interval in long_enough], dtype=np.int64)
    low, high = spans.reshape(-1, 2).T
    sizes = np.minimum(length, high - low)
    counts = (high - low) // sizes
    owners = np.repeat(np.arange(len(long_enough)), counts)
    steps = places_within(counts) * sizes[owners]
    offsets = low[owners] + steps
    whole = store.count_n(offsets, offsets + sizes[owners]) == 0
    firsts = np.array([interval.start for interval in long_enough], dtype=np.int64)
    starts = firsts[owners] + steps
    return [
        Interval(long_enough[owner].chrom, start, start + size)
        for owner, start, size in zip(
            owners[whole].tolist(), starts[whole].tolist(), sizes[owners][whole].tolist(),
            strict=True,
        )
    ]  # fmt: skip


def without(intervals: Sequence[Interval], removed: Sequence[Interval]) -> list[Interval]:
    """The intervals without the parts that others cover."""
    by_record: dict[str, list[Interval]] = {}
    for item in merge(removed):
        by_record.setdefault(item.chrom, []).append(item)
    rest = []
    for interval in intervals:
        start = interval.start
        items = by_record.get(interval.chrom, [])
        first = bisect_right(items, interval.start, key=lambda item: item.end)
        last = bisect_left(items, interval.end, key=lambda item: item.start)
        for item in items[first:last]:
            if item.start > start:
                rest.append(Interval(interval.chrom, start, item.start))
            start = max(start, item.end)
        if start < interval.end:
            rest.append(Interval(interval.chrom, start, interval.end))
    return rest


def markov_models(sequences: Sequence[np.ndarray], max_order: int) -> dict[int, MarkovModel]:
    """Markov models of order 0 to max_order of both strands, one count added per context.

    The first bases of a sequence, which have shorter contexts, are counted in the lower orders.
    """
    tables = []
    for counts in kmer_counts(sequences, max_order + 1):
        counted = counts.reshape(-1, 4) + _PSEUDO_COUNT / 4
        tables.append(np.log(counted / counted.sum(axis=1, keepdims=True)))
    return {
        order: MarkovModel("additive", tuple(tables[: order + 1]), (_PSEUDO_COUNT,) * (order + 1))
        for order in range(max_order + 1)
    }
