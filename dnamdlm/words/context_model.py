"""What models of a base given the bases before it have in common, and how their orders are chosen.

Contexts are packed in base 4, oldest base first, see `pack_contexts`. Natural logarithms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import N_CODE
from dnamdlm.words.kmers import pack_contexts

PSEUDO_COUNTS: tuple[float, ...] = tuple(2.0**power for power in range(-1, 14))
"""Pseudo-counts that are tried for each order with a table."""

Model = TypeVar("Model", bound="ContextModel")


class ContextModel(ABC):
    """p(base | the bases before it), of one order or several that share their counts."""

    @property
    @abstractmethod
    def context_lengths(self) -> tuple[int, ...]:
        """The orders: lengths of the contexts that are counted, increasing from 0."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @property
    def order(self) -> int:
        """The longest context used."""
        return self.context_lengths[-1]

    @abstractmethod
    def truncated(self: Model, order: int) -> Model:
        """The model that ends at a lower one of its orders; tables are shared, not copied."""

    @abstractmethod
    def next_log_probs(
        self, contexts: NDArray[np.int64], depth: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Log p of each base after contexts, normalised over the four.

        Args:
            contexts: int (n,), packed; only the newest `depth` bases are read.
            depth: int (n,), bases of each context that are known, 0 for none.

        Returns:
            float64 (n, 4).
        """

    @abstractmethod
    def word_nats(
        self, words: NDArray[np.signedinteger], depth: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """-log p of the last base of each word, 0 where its depth is 0.

        Args:
            words: int (n,), from `pack_contexts` with this order or a larger one.
            depth: int (n,), from the same call.
        """

    def position_nats(self, codes: np.ndarray, context: int = 0) -> NDArray[np.float64]:
        """-log p of each base given the bases before it.

        Args:
            codes: uint8 (context + n,), store codes.
            context: number of leading bases that are only context.

        Returns:
            float64 (n,), nats; 0 where there is no base (N).
        """
        words, depth = pack_contexts(codes, self.order)
        return self.word_nats(words[context:], depth[context:])

    def fill(self, codes: np.ndarray, uniforms: np.ndarray) -> NDArray[np.uint8]:
        """Draw the absent bases from left to right; present bases are kept and serve as context.

        A drawn base depends only on the bases before it, even if bases after it are given.

        Args:
            codes: uint8 (n, length), 0..3 where a base is given, anything else where one is drawn.
            uniforms: float64 (n, length) in (0, 1); the inverse distribution is taken at them.

        Returns:
            uint8 (n, length) of codes 0..3.
        """
        filled = codes.copy()
        context = np.zeros(len(codes), np.int64)
        for position in range(codes.shape[1]):
            depth = np.full(len(codes), min(position, self.order))
            cumulative = np.cumsum(np.exp(self.next_log_probs(context, depth)), axis=1)[:, :3]
            drawn = (uniforms[:, position, None] > cumulative).sum(axis=1)
            filled[:, position] = np.where(codes[:, position] < N_CODE, codes[:, position], drawn)
            context = (context * 4 + filled[:, position]) & (4**self.order - 1)
        return filled

    def sample(self, rng: np.random.Generator, num_sequences: int, length: int) -> np.ndarray:
        """Independent sequences, uint8 (num_sequences, length) of codes 0..3."""
        wanted = np.full((num_sequences, length), N_CODE, np.uint8)
        return self.fill(wanted, rng.random((num_sequences, length)))


@dataclass(frozen=True)
class MarkovFit(Generic[Model]):
    """A fitted model and how each of its orders does on validation.

    Attributes:
        model: the model of all orders.
        valid_bits: bits per base on validation, one per order.
    """

    model: Model
    valid_bits: tuple[float, ...]

    @property
    def models(self) -> list[Model]:
        """The model that ends at each order, in the order of `valid_bits`."""
        return [self.model.truncated(order) for order in self.model.context_lengths]

    @property
    def best_order(self) -> int:
        """The order with the fewest bits per base on validation (the lower one of a tie)."""
        return self.model.context_lengths[int(np.argmin(self.valid_bits))]

    @property
    def best(self) -> Model:
        """The model that ends at the best order."""
        return self.model.truncated(self.best_order)


def smoothed(counts: np.ndarray, prior: np.ndarray, pseudo_count: float) -> np.ndarray:
    """(n(c, b) + m q(b | c)) / (n(c) + m) for counts (n, 4), a prior (n, 4) and the m of all."""
    return (counts + pseudo_count * prior) / (counts.sum(axis=1, keepdims=True) + pseudo_count)


def log_probs_of_tables(
    tables: tuple[np.ndarray, ...],
    orders: tuple[int, ...],
    contexts: NDArray[np.int64],
    depth: NDArray[np.integer],
) -> NDArray[np.float64]:
    """For each context the row of the longest table whose order is at most its depth, (n, 4)."""
    chosen = np.searchsorted(orders, depth, side="right") - 1
    log_probs = np.zeros((len(contexts), 4))
    for number, (order, table) in enumerate(zip(orders, tables, strict=True)):
        here = np.flatnonzero(chosen == number)
        log_probs[here] = table[contexts[here] & (4**order - 1)]
    return log_probs
