"""Counts of short contexts as a language model: the floor under small models of text.

Witten-Bell interpolation. With c(hw) the count of token w after context h, c(h) the count of h,
T(h) the number of distinct tokens seen after h, and h' the context h without its oldest token,

    p(w | h) = (c(hw) + T(h) p(w | h')) / (c(h) + T(h)),

and below the empty context every real token is equally likely. Nothing is tuned.

Source: Witten and Bell 1991; Chen and Goodman 1998, "An empirical study of smoothing techniques".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.stream import Sweep
from dnamdlm.data.text.rows import Rows
from dnamdlm.evaluation.rates import Rate, clustered_rate
from dnamdlm.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class _Level:
    """Counts of one context length, as sorted keys."""

    contexts: NDArray[np.int64]
    totals: NDArray[np.int64]
    kinds: NDArray[np.int64]
    words: NDArray[np.int64]
    counts: NDArray[np.int64]


class CountModel:
    """Probabilities of a token given the tokens right before it.

    Args:
        tokens: int64 (N,), what is counted.
        vocabulary: meaning of the ids.
        order: longest context, in tokens.
    """

    def __init__(self, tokens: NDArray[np.int64], vocabulary: Vocabulary, order: int) -> None:
        self.order, self._num_ids = order, len(vocabulary)
        self._num_real = len(vocabulary.real_ids)
        self._levels: list[_Level] = []
        for length in range(order + 1):
            contexts, following = _keys(tokens, length, self._num_ids), tokens[length:]
            words, counts = np.unique(contexts * self._num_ids + following, return_counts=True)
            of_words = words // self._num_ids
            known, first = np.unique(of_words, return_index=True)
            totals = np.add.reduceat(counts, first)
            kinds = np.diff(np.append(first, len(of_words)))
            self._levels.append(_Level(known, totals, kinds, words, counts))

    def probabilities(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of each token of one row given those before it in the row, shape (L,)."""
        result = np.full(len(tokens), 1.0 / self._num_real)
        for length, level in enumerate(self._levels[: len(tokens)]):
            contexts = _keys(tokens, length, self._num_ids)
            totals, kinds = (
                _looked_up(level.contexts, values, contexts)
                for values in (level.totals, level.kinds)
            )
            seen = _looked_up(level.words, level.counts, contexts * self._num_ids + tokens[length:])
            shorter = result[length:]
            longer = (seen + kinds * shorter) / np.maximum(totals + kinds, 1)
            result[length:] = np.where(totals > 0, longer, shorter)
        return result

    def bits(self, windows: Sweep[Rows]) -> Rate:
        """Bits per scored token of rows, each row read by itself."""
        sums, counts = [], []
        for batch in windows.batches(256):
            for tokens, valid in zip(batch.tokens.numpy(), batch.valid.numpy(), strict=True):
                # padding stands at the end, so that what it gets does not matter.
                sums.append(-np.log2(self.probabilities(tokens)[valid]).sum())
                counts.append(valid.sum())
        return clustered_rate(np.array(sums), np.array(counts))


def _keys(tokens: NDArray[np.int64], length: int, num_ids: int) -> NDArray[np.int64]:
    """One number for the `length` tokens before each position from `length` on."""
    keys = np.zeros(max(len(tokens) - length, 0), dtype=np.int64)
    for place in range(length):
        keys = keys * num_ids + tokens[place : len(tokens) - length + place]
    return keys


def _looked_up(
    keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is unknown."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
