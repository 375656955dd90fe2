"""Interpolated Markov models whose orders may skip, up to order 24.

With n(c, b) the count of base b after context c on both strands of the training sequence, and p'
the probability under the next lower order of the chain,

    p(b | c) = (n(c, b) + m p'(b | c)) / (n(c) + m),    p' = 1/4 below the lowest order,

with one pseudo-count m per order, the one that is best on validation. Orders up to `DENSE_ORDER`
are tables of all contexts, higher ones are `SortedWords`. A position with fewer bases before it
than the chain is long (chromosome start, after an N) uses the orders that it has.

Contexts are packed in base 4, oldest base first. Natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.context_model import (
    PSEUDO_COUNTS,
    ContextModel,
    MarkovFit,
    log_probs_of_tables,
    smoothed,
)
from dnamdlm.words.kmers import add_reverse_complement, pack_contexts
from dnamdlm.words.sorted_words import SortedWords, check_size

DENSE_ORDER = 10
"""Highest order with a table of all contexts."""

MAX_ORDER = 24
"""Highest order of a chain."""

LONG_PSEUDO_COUNTS: tuple[float, ...] = tuple(2.0**power for power in range(-6, 14))
"""Pseudo-counts that are tried for each higher order, where one occurrence may be certain."""

_CHUNK_BASES = 1 << 20


def chain_orders(max_order: int) -> tuple[int, ...]:
    """The orders of the chain up to an order: each one up to 10, then 12, 16, 20, 24, and the last.

    Raises:
        ValueError: unless 0 <= max_order <= 24.

    >>> chain_orders(20)
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20)
    """
    if not 0 <= max_order <= MAX_ORDER:
        raise ValueError(f"the Markov order must lie in 0..{MAX_ORDER}, got {max_order}")
    wanted = {*range(DENSE_ORDER + 1), 12, 16, 20, 24, max_order}
    return tuple(sorted(order for order in wanted if order <= max_order))


@dataclass(frozen=True)
class MarkovChain(ContextModel):
    """An interpolated Markov model of several orders.

    Attributes:
        orders: increasing, the first is 0.
        pseudo_counts: the m of each order.
        tables: log p of the orders up to `DENSE_ORDER`, float64 (4^order, 4).
        counts: words of the higher orders.

    Example: after AAAA the base A, seen once, is more probable than C.
        >>> codes = np.array([0, 0, 0, 0, 0], np.uint8)
        >>> chain = MarkovChain.of_codes(codes, (0, 4), (1.0, 1.0))
        >>> log_probs = chain.next_log_probs(np.array([0]), np.array([4]))
        >>> np.exp(log_probs).round(3).tolist()
        [[0.739, 0.011, 0.011, 0.239]]
        >>> chain.label
        'Markov order 4, interpolated over orders 0, 4'
    """

    orders: tuple[int, ...]
    pseudo_counts: tuple[float, ...]
    tables: tuple[NDArray[np.float64], ...]
    counts: tuple[SortedWords, ...]

    @classmethod
    def of_codes(
        cls, codes: NDArray[np.uint8], orders: Sequence[int], pseudo_counts: Sequence[float]
    ) -> MarkovChain:
        """The chain with pseudo-counts that are known.

        Args:
            codes: uint8 (n,), store codes of the training sequence, N between its parts.
            orders: increasing, the first is 0, the last at most 24.
            pseudo_counts: one for each order, above 0.

        Raises:
            ValueError: for other orders or pseudo-counts.
            DataError: if the words of an order above 10 would not fit memory.
        """
        if len(orders) != len(pseudo_counts) or any(m <= 0 for m in pseudo_counts):
            raise ValueError(
                f"{len(orders)} orders need one pseudo-count above 0 each, got {pseudo_counts}"
            )
        known = dict(zip(orders, pseudo_counts, strict=True))
        return _grown(codes, orders, lambda order, _: known[order])

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The orders."""
        return self.orders

    @property
    def smoothing(self) -> str:
        """Always 'interpolated'."""
        return "interpolated"

    @property
    def name(self) -> str:
        """Short name for tables, for instance 'markov_interpolated_20'."""
        return f"markov_interpolated_{self.order}"

    @property
    def label(self) -> str:
        """Name for people."""
        if self.orders == tuple(range(self.order + 1)):
            return f"Markov order {self.order}, interpolated"
        return f"Markov order {self.order}, interpolated over orders {named_orders(self.orders)}"

    def truncated(self, order: int) -> MarkovChain:
        """The chain that ends at a lower one of its orders; tables are shared, not copied.

        Raises:
            ValueError: if the chain does not have the order.
        """
        if order not in self.orders:
            raise ValueError(f"order must be one of {named_orders(self.orders)}, got {order}")
        size = self.orders.index(order) + 1
        num_tables = len(self.tables)
        return MarkovChain(
            self.orders[:size],
            self.pseudo_counts[:size],
            self.tables[:size],
            self.counts[: max(0, size - num_tables)],
        )

    def next_log_probs(
        self, contexts: NDArray[np.int64], depth: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See `ContextModel`."""
        num = len(self.tables)
        log_probs = log_probs_of_tables(self.tables, self.orders[:num], contexts, depth)
        for found, m in zip(self.counts, self.pseudo_counts[num:], strict=True):
            here = np.flatnonzero(depth >= found.order)
            after = found.after(contexts[here].astype(np.int64) & (4**found.order - 1))
            is_seen = after.any(axis=1)
            rows, after = here[is_seen], after[is_seen]
            log_probs[rows] = np.log(smoothed(after, np.exp(log_probs[rows]), m))
        return log_probs

    def word_nats(
        self, words: NDArray[np.signedinteger], depth: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See `ContextModel`."""
        nats = np.zeros(len(words))
        for first in range(0, len(words), _CHUNK_BASES):
            part, known = words[first : first + _CHUNK_BASES], depth[first : first + _CHUNK_BASES]
            log_probs = self.next_log_probs(part >> 2, known - 1)
            chosen = np.take_along_axis(log_probs, (part & 3)[:, None].astype(np.int64), axis=1)
            nats[first : first + len(part)] = np.where(known > 0, -chosen[:, 0], 0.0)
        return nats


def fit_chain(
    codes: NDArray[np.uint8],
    valid: NDArray[np.uint8],
    is_scored: NDArray[np.bool_],
    orders: Sequence[int],
) -> MarkovFit[MarkovChain]:
    """Count words of both strands of the training sequence; choose pseudo-counts on validation.

    Args:
        codes: uint8 (n,), store codes of the training sequence, N between its parts.
        valid: uint8 (v,), store codes of the validation sequence.
        is_scored: bool (v,), False at bases that are only context of others.
        orders: increasing, the first is 0, the last at most 24.

    Raises:
        ValueError: for other orders, or a validation sequence without a base.
        DataError: if the words of an order above 10 would not fit memory.
    """
    words, depth = pack_contexts(valid, max(orders))
    used = np.flatnonzero(is_scored & (depth > 0))
    if not len(used):
        raise ValueError("the validation sequence has no A, C, G or T")
    words, depth = words[used].astype(np.int64), depth[used]
    log_probs = np.full(len(used), np.log(0.25))
    bits: list[float] = []

    def chosen(order: int, after: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> float:
        """The best pseudo-count of an order; the bits of the chain up to it are kept."""
        here = np.flatnonzero(depth > order)
        mine = words[here] & (4 ** (order + 1) - 1)
        found = after(mine >> 2)
        counts, totals = found[np.arange(len(mine)), mine & 3], found.sum(axis=1)
        # a context that training does not have says nothing about the pseudo-count.
        is_seen = totals > 0
        rows, counts, totals = here[is_seen], counts[is_seen], totals[is_seen]
        priors = np.exp(log_probs[rows])
        tried = PSEUDO_COUNTS if order <= DENSE_ORDER else LONG_PSEUDO_COUNTS
        costs = [-float(np.log((counts + m * priors) / (totals + m)).sum()) for m in tried]
        best = tried[int(np.argmin(costs))]
        log_probs[rows] = np.log((counts + best * priors) / (totals + best))
        bits.append(-float(log_probs.sum()) / math.log(2.0) / len(log_probs))
        return best

    return MarkovFit(_grown(codes, orders, chosen), tuple(bits))


def named_orders(orders: Sequence[int]) -> str:
    """Orders for people, with runs of three or more as ranges.

    >>> named_orders((0, 1, 2, 3, 8, 12))
    '0-3, 8, 12'
    """
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(orders), start=1) if b > a + 1)]
    runs = [orders[a:b] for a, b in pairwise([*edges, len(orders)])]
    parts = [
        [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(order) for order in run] for run in runs
    ]
    return ", ".join(text for part in parts for text in part)


def _grown(
    codes: NDArray[np.uint8],
    orders: Sequence[int],
    pseudo_count: Callable[[int, Callable[[NDArray[np.int64]], NDArray[np.int64]]], float],
) -> MarkovChain:
    """A chain, order by order; the pseudo-count of each is asked for when its counts are known."""
    orders = tuple(orders)
    if not orders or orders[0] != 0 or any(b <= a for a, b in pairwise(orders)):
        raise ValueError(f"the orders of a Markov chain increase from 0, got {orders}")
    if orders[-1] > MAX_ORDER:
        raise ValueError(f"the Markov order must lie in 0..{MAX_ORDER}, got {orders[-1]}")
    dense = [order for order in orders if order <= DENSE_ORDER]
    if len(dense) < len(orders):
        check_size(codes)
    chosen: list[float] = []
    tables: list[NDArray[np.float64]] = []
    prior = np.full((1, 4), 0.25)
    for order, counted in zip(dense, _tables(codes, dense), strict=True):
        chosen.append(pseudo_count(order, lambda contexts, counted=counted: counted[contexts]))
        # the newest bases are the last digits of a context: rows of the shorter one repeat.
        prior = smoothed(counted, np.resize(prior, counted.shape), chosen[-1])
        tables.append(np.log(prior))
    sparse: list[SortedWords] = []
    for order in orders[len(dense) :]:
        sparse.append(SortedWords.counted(codes, order))
        chosen.append(pseudo_count(order, sparse[-1].after))
    return MarkovChain(orders, tuple(chosen), tuple(tables), tuple(sparse))


def _tables(codes: NDArray[np.uint8], orders: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Counts of both strands for each order, int64 (4^order, 4)."""
    tables = [np.zeros(4 ** (order + 1), np.int64) for order in orders]
    longest = orders[-1]
    for first in range(0, len(codes), _CHUNK_BASES):
        context = min(first, longest)
        packed = pack_contexts(codes[first - context : first + _CHUNK_BASES] & CODE_MASK, longest)
        words, depth = (part[context:] for part in packed)
        for order, table in zip(orders, tables, strict=True):
            mine = words[depth > order] & (4 ** (order + 1) - 1)
            table[:] += np.bincount(mine, minlength=table.size)
    return (add_reverse_complement(table).reshape(-1, 4) for table in tables)
