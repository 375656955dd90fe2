"""How often each base occurs between its neighbours, whichever of the neighbours are known.

A pattern has one letter for each neighbour of a base: A, C, G, T, or * where it is not known. The
counts of a pattern with * are the sums over the letter, so that words of bases alone give them all.
With n(b, c) the count of base b within pattern c, and c' the pattern without its farthest known
neighbour (the mean of the two choices where one on either side is as far),

    p(b | c) = (n(b, c) + m p(b | c')) / (n(c) + m).

There is one m for each set of known neighbours and its mirror image.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_LETTERS = 5
"""A, C, G, T and *."""
UNKNOWN = 4
"""The letter of a neighbour that is not known."""
MAX_NEIGHBOURS = 10

_Subset = tuple[bool, ...]


@dataclass(frozen=True)
class WildcardTable:
    """Distributions of a base for every pattern of its neighbours.

    The number of a pattern has one digit in base 5 per neighbour, from left to right, the leftmost
    the most significant: A 0, C 1, G 2, T 3, * 4.

    Attributes:
        left: neighbours on the left.
        right: neighbours on the right.
        probs: float64 (5^(left + right), 4), each row sums to 1.
        own_share: float64 (5^(left + right),), how much of the probability of a base in a pattern
            is due to one of the occurrences that were counted.
    """

    left: int
    right: int
    probs: NDArray[np.float64]
    own_share: NDArray[np.float64]


def smoothed_table(
    counts: np.ndarray, left: int, right: int, *, pseudo_count: float | None = None
) -> WildcardTable:
    """The distributions of all patterns from the counts of words.

    Args:
        counts: (4^(left + 1 + right),), how often each word occurs, in alphabetical order; from
            both strands for an equivariant table (`add_reverse_complement`).
        left: letters of a word before the base that is predicted.
        right: letters after it.
        pseudo_count: the m of all patterns. None chooses each as the power of two under which the
            words that were counted are likeliest, each predicted from all the others.

    Raises:
        ValueError: if there are no neighbours, more than 10, or other than 4^n counts.

    Example: T follows A in three cases of four; nothing is known of the base after G.
        >>> counts = np.zeros(16)
        >>> counts[3], counts[0] = 3, 1
        >>> table = smoothed_table(counts, 1, 0, pseudo_count=0.0)
        >>> table.probs[0].tolist(), table.probs[4].tolist()
        ([0.25, 0.0, 0.0, 0.75], [0.25, 0.0, 0.0, 0.75])
    """
    num = left + right
    if not 1 <= num <= MAX_NEIGHBOURS or min(left, right) < 0 or counts.size != 4 ** (num + 1):
        raise ValueError(f"{counts.size} counts do not suit {left} and {right} neighbours")
    totals = np.moveaxis(counts.reshape((4,) * (num + 1)), left, -1).astype(np.float64)
    for axis in range(num):
        totals = np.concatenate([totals, totals.sum(axis=axis, keepdims=True)], axis=axis)
    probs = np.empty(totals.shape)
    shares = np.empty((*totals.shape[:-1], 1))
    distances = [*range(left, 0, -1), *range(1, right + 1)]
    chosen: dict[_Subset, float] = {}
    # each set of known neighbours after all that have fewer.
    for known in sorted(itertools.product((False, True), repeat=num), key=sum):
        here = _part(known)
        shorter = [_part(fewer) for fewer in _without_farthest(known, distances)]
        prior = sum((probs[part] for part in shorter[1:]), probs[shorter[0]]) if shorter else 0.25
        share = sum((shares[part] for part in shorter[1:]), shares[shorter[0]]) if shorter else 0.0
        level = _Level(totals[here], prior / max(len(shorter), 1), share / max(len(shorter), 1))
        mirror = min(known, known[::-1]) if left == right else known
        if mirror not in chosen:
            start = _start(chosen, known, distances, symmetric=left == right)
            chosen[mirror] = level.best(start) if pseudo_count is None else pseudo_count
        probs[here], shares[here] = level.smoothed(chosen[mirror])
    size = NUM_LETTERS**num
    return WildcardTable(left, right, probs.reshape(size, 4), shares.reshape(size))


@dataclass(frozen=True)
class _Level:
    """The patterns with one set of known neighbours: counts, and the shorter patterns."""

    counts: np.ndarray
    prior: np.ndarray | float
    prior_share: np.ndarray | float

    def smoothed(self, m: float) -> tuple[np.ndarray, np.ndarray]:
        """The distributions, and the share of one occurrence in them."""
        total = self.counts.sum(axis=-1, keepdims=True) + m
        if m == 0:
            # a pattern that was not seen has the distribution of the shorter one.
            unseen = total == 0
            total = np.where(unseen, 1.0, total)
            probs = np.where(unseen, self.prior, self.counts / total)
            return probs, np.where(unseen, self.prior_share, 1 / total)
        return (self.counts + m * self.prior) / total, (1 + m * self.prior_share) / total

    def best(self, start: float) -> float:
        """The power of two, found by steps from `start`, that predicts the counts best."""
        costs = {start: self._cost(start)}
        for factor in (2.0, 0.5):
            m = start * factor
            while 2.0**-3 <= m <= 2.0**20:
                costs[m] = self._cost(m)
                if costs[m] >= costs[m / factor]:
                    break
                m *= factor
        return min(costs, key=lambda m: (costs[m], m))

    def _cost(self, m: float) -> float:
        """Nats of all occurrences, each under the counts without it."""
        probs, share = self.smoothed(m)
        seen = self.counts > 0
        rest = np.maximum(probs - share, np.finfo(np.float64).tiny) / np.maximum(1 - share, 1e-12)
        return -float(np.dot(self.counts[seen], np.log(rest[seen])))


def _part(known: _Subset) -> tuple[slice, ...]:
    """Where the patterns with these known neighbours are."""
    return tuple(slice(0, UNKNOWN) if flag else slice(UNKNOWN, NUM_LETTERS) for flag in known)


def _without_farthest(known: _Subset, distances: list[int]) -> Iterable[_Subset]:
    """The sets with the farthest known neighbour left out; two where both sides are as far."""
    farthest = max((d for d, flag in zip(distances, known, strict=True) if flag), default=0)
    for place, distance in enumerate(distances):
        if known[place] and distance == farthest:
            yield (*known[:place], False, *known[place + 1 :])


def _start(
    chosen: dict[_Subset, float], known: _Subset, distances: list[int], *, symmetric: bool
) -> float:
    """The pseudo-count of a shorter set, where the search for that of a set begins."""
    for fewer in _without_farthest(known, distances):
        return chosen[min(fewer, fewer[::-1]) if symmetric else fewer]
    return 1.0
