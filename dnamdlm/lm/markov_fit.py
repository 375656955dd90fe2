"""Fitting Markov models of DNA to a genome store, and scoring them on whole intervals.

Counts come from both strands of the training intervals. With n(c, b) the count of base b after
context c, and a prior q(b | c),

    p(b | c) = (n(c, b) + m q(b | c)) / (n(c) + m).

"additive" takes q = 1/4, the textbook model. "interpolated" takes for q the model that is one order
shorter, so that a rare context falls back to its most recent bases; this is the stronger baseline.
Each order has one pseudo-count m, the one of `PSEUDO_COUNTS` that is best on validation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.lm.contexts import ContextCounts, count_contexts
from dnamdlm.lm.markov import MarkovModel, Smoothing
from dnamdlm.words.context_model import PSEUDO_COUNTS, MarkovFit, smoothed
from dnamdlm.words.kmers import add_reverse_complement


def fit_markov(
    store: GenomeStore,
    train: Sequence[Interval],
    valid: Sequence[Interval],
    *,
    max_order: int = 10,
    smoothings: Sequence[Smoothing] = ("additive", "interpolated"),
) -> dict[Smoothing, MarkovFit[MarkovModel]]:
    """Fit orders 0..max_order on both strands of `train`; choose pseudo-counts on `valid`.

    The genome is read once whatever the number of orders and smoothings.

    Raises:
        DataError: if a split has no A, C, G or T.
    """
    train_counts = count_contexts(store, train, max_order)
    valid_counts = count_contexts(store, valid, max_order, beyond_interval=True)
    require_bases(train=train_counts.num_bases > 0, valid=valid_counts.num_bases > 0)
    train_tables = [add_reverse_complement(table) for table in train_counts.tables()]
    fits: dict[Smoothing, MarkovFit[MarkovModel]] = {}
    for smoothing in smoothings:
        model = _fit_tables(train_tables, valid_counts.tables(), smoothing)
        bits = tuple(
            bits_per_base(model.truncated(order), valid_counts) for order in range(max_order + 1)
        )
        fits[smoothing] = MarkovFit(model, bits)
    return fits


def require_bases(*, train: bool, valid: bool) -> None:
    """Refuse splits to count or to choose by that have no bases.

    Raises:
        DataError: naming the split.
    """
    for split, has_bases in (("training", train), ("validation", valid)):
        if not has_bases:
            raise DataError(
                f"the {split} split holds no A, C, G or T; choose intervals with sequence"
            )


def interval_bits(model: MarkovModel, store: GenomeStore, intervals: Iterable[Interval]) -> float:
    """Bits per base over whole intervals, with the context that the chromosome gives.

    Context may come from before an interval, which favours this model over a model of windows.
    """
    counts = count_contexts(store, intervals, model.order, beyond_interval=True)
    return bits_per_base(model, counts)


def bits_per_base(model: MarkovModel, counts: ContextCounts) -> float:
    """Bits per base of the positions that `counts` counted, `counts.max_order` >= model.order."""
    tables = counts.tables()[: model.order + 1]
    shallow = zip(counts.starts[: model.order], model.log_probs[:-1], strict=True)
    log_prob = float(np.vdot(tables[-1], model.log_probs[-1]))
    log_prob += sum(float(np.vdot(start, log_probs)) for start, log_probs in shallow)
    return -log_prob / math.log(2.0) / counts.num_bases


def _fit_tables(
    train: Sequence[np.ndarray], valid: Sequence[np.ndarray], smoothing: Smoothing
) -> MarkovModel:
    """Smooth each order in turn, with the pseudo-count that fits the validation counts best."""
    log_probs: list[np.ndarray] = []
    pseudo_counts: list[float] = []
    uniform = np.full((1, 4), 0.25)
    prior = uniform
    for train_table, valid_table in zip(train, valid, strict=True):
        prior = np.resize(prior if smoothing == "interpolated" else uniform, train_table.shape)
        # only words that occur in validation distinguish the pseudo-counts.
        seen = np.flatnonzero(valid_table)
        weights, counts = valid_table.reshape(-1)[seen], train_table.reshape(-1)[seen]
        totals, priors = train_table.sum(axis=1)[seen // 4], prior.reshape(-1)[seen]
        costs = [
            -float(np.dot(weights, np.log((counts + m * priors) / (totals + m))))
            for m in PSEUDO_COUNTS
        ]
        pseudo_counts.append(PSEUDO_COUNTS[int(np.argmin(costs))])
        prior = smoothed(train_table, prior, pseudo_counts[-1])
        log_probs.append(np.log(prior))
    return MarkovModel(smoothing, tuple(log_probs), tuple(pseudo_counts))
