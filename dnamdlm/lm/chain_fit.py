"""Fitting a Markov chain to the splits of a genome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.lm.contexts import chunks_with_context
from dnamdlm.lm.markov_fit import require_bases
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.context_model import ContextModel, MarkovFit
from dnamdlm.words.copies import REACH, CopyFit, fit_copies
from dnamdlm.words.markov_chain import MarkovChain, chain_orders, fit_chain
from dnamdlm.words.seeds import HISTORY


def fit_markov_chain(
    store: GenomeStore,
    train: Sequence[Interval],
    valid: Sequence[Interval],
    orders: Sequence[int] | None = None,
) -> MarkovFit[MarkovChain]:
    """Fit a chain on both strands of `train`; choose its pseudo-counts on `valid`.

    With orders 0 to 10 its model is that of `fit_markov` with smoothing "interpolated".

    Args:
        store: genome store.
        train: intervals of the training split.
        valid: intervals of the validation split, whose first bases have the context before them.
        orders: increasing from 0, at most 24; None is `chain_orders(20)`.

    Raises:
        DataError: if a split has no A, C, G or T, or the words would not fit memory.
    """
    orders = chain_orders(20) if orders is None else orders
    codes, _ = joined_codes(store, train)
    valid_codes, is_scored = joined_codes(store, valid, context=max(orders))
    require_bases(
        train=bool((codes < N_CODE).any()), valid=bool((valid_codes[is_scored] < N_CODE).any())
    )
    return fit_chain(codes, valid_codes, is_scored, orders)


def fit_chain_copies(
    store: GenomeStore, train: Sequence[Interval], valid: Sequence[Interval], chain: ContextModel
) -> CopyFit:
    """Let a chain copy from `train`; count on `valid` how far copies can be believed.

    Args:
        store: genome store.
        train: intervals that the chain was fitted to.
        valid: intervals of the validation split, as in `fit_markov_chain`.
        chain: the chain.

    Raises:
        DataError: if the index of `train` would not fit memory.
    """
    codes, _ = joined_codes(store, train)
    context = max(chain.order, HISTORY + REACH)
    valid_codes, is_scored = joined_codes(store, valid, context=context)
    return fit_copies(codes, valid_codes, is_scored, chain)


def joined_codes(
    store: GenomeStore, intervals: Iterable[Interval], *, context: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The bases of intervals in one array, with an N between them.

    Args:
        store: genome store.
        intervals: disjoint intervals.
        context: bases before each interval that are put before it, as far as the chromosome goes.

    Returns:
        uint8 (n,) without soft mask, and bool (n,), False at context and between intervals.
    """
    gap, not_scored = np.full(1, N_CODE, np.uint8), np.zeros(1, np.bool_)
    codes, scored = [np.zeros(0, np.uint8)], [np.zeros(0, np.bool_)]
    for interval in intervals:
        chunks = chunks_with_context(store, interval, context, beyond_interval=True)
        for number, (part, before) in enumerate(chunks):
            # the context of a later chunk of an interval is there already.
            new = part[before:] if number else part
            codes.append(new & CODE_MASK)
            scored.append(np.arange(len(new)) >= (0 if number else before))
        codes.append(gap)
        scored.append(not_scored)
    return np.concatenate(codes), np.concatenate(scored)
