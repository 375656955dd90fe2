"""A Markov chain that also copies: alignments to the training sequence that tolerate substitutions.

A chain of long contexts copies until the first base that differs, and then has to read a whole
context again. Here the copy goes on. Where a position is aligned with a base b of the training
sequence, and the chain has p(x) there,

    p'(b) = c,    p'(x) = (1 - c) p(x) / (1 - p(b))  for every other base x,

with the share c of such positions of the validation sequence that had the base of the training
sequence. Such positions have the same number of mismatches among the last 32 bases, distance from
the last one, and odds of b under the chain; rare ones are drawn towards p(b):

    c = (hits + m p(b)) / (positions + m).

Several copiers follow each other, each with seeds of another length; the chain of one is the result
of the one before. Each base has a probability given the bases before it, and the four sum to 1.
Substitution-tolerant copies of DNA: Pratas et al. 2016 (GeCo), Cao et al. 2007 (XM).

Shapes: n positions, m of them aligned. Natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.context_model import ContextModel
from dnamdlm.words.kmers import pack_contexts
from dnamdlm.words.seeds import HISTORY, Alignment, SeedIndex

SEED_LENGTHS = (16, 24)
"""Short seeds find old copies, long ones tell a copy from chance."""

REACH = 256
"""Bases after the last seed up to which a copy is followed."""

PSEUDO_COUNTS: tuple[float, ...] = tuple(2.0**power for power in range(9))
"""The m that are tried; the best one leaves each position out of its own counts."""

_RUNS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32])
_MOST_MISMATCHES = 12
_ODDS = 16
# log2 odds of 1:16 and less are one class.
_FIRST_ODDS = -4
_SHAPE = (len(_RUNS) + 1, _MOST_MISMATCHES + 1, _ODDS)


@dataclass(frozen=True)
class Copier:
    """Alignments with seeds of one length, and how far they are believed.

    Attributes:
        index: seeds of the training sequence.
        reach: bases after the last seed up to which an alignment is followed.
        positions: int64, how many aligned positions of the validation sequence were of each kind.
        hits: int64, how many of these had the base of the training sequence.
        pseudo_count: the m of all kinds.
    """

    index: SeedIndex
    reach: int
    positions: NDArray[np.int64]
    hits: NDArray[np.int64]
    pseudo_count: float

    def refined(
        self, log_probs: NDArray[np.float64], codes: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """Log-probabilities (n, 4) of each base given those before it, with copies.

        Args:
            log_probs: float64 (n, 4), without.
            codes: uint8 (n,), store codes without soft mask.
        """
        found = self.index.aligned(codes, self.reach)
        kinds, prior, rest = _kinds(log_probs, found)
        m = self.pseudo_count
        total = self.positions.reshape(-1)[kinds] + m
        hits = self.hits.reshape(-1)[kinds]
        refined = log_probs.copy()
        rows = np.arange(len(kinds))
        # 1 - c from what is left over, so that it does not vanish beside a 1.
        others = np.log((total - m - hits + m * rest) / total) - np.log(rest)
        changed = log_probs[found.positions] + others[:, None]
        changed[rows, found.predicted] = np.log((hits + m * prior) / total)
        refined[found.positions] = changed
        return refined


@dataclass(frozen=True)
class CopyModel:
    """A Markov chain and the copiers that follow it.

    Attributes:
        chain: of the same training sequence.
        copiers: in their order.

    Example: a copy goes on after the base that differs; here the chain has no context.
        >>> from dnamdlm.words.markov_chain import MarkovChain
        >>> rng = np.random.default_rng(0)
        >>> train = rng.integers(0, 4, 4000, np.uint8)
        >>> valid, read = train[:1000].copy(), train[1000:2000].copy()
        >>> for copied in (valid, read):
        ...     copied[20::20] = 3 - copied[20::20]
        >>> chain = MarkovChain.of_codes(train, (0,), (1.0,))
        >>> fit = fit_copies(train, valid, np.ones(1000, bool), chain, seed_lengths=(12,))
        >>> [round(float(m.position_nats(read).mean()), 1) for m in (chain, fit.model)]
        [1.4, 0.2]
    """

    chain: ContextModel
    copiers: tuple[Copier, ...]

    @property
    def context(self) -> int:
        """Bases before a position that its probability depends on, at most."""
        reach = max((copier.reach for copier in self.copiers), default=0)
        return max(self.chain.order, HISTORY + reach)

    @property
    def name(self) -> str:
        """Short name for tables, for instance 'markov_interpolated_20_copies'."""
        return f"{self.chain.name}_copies"

    @property
    def label(self) -> str:
        """Name for people."""
        return f"Markov order {self.chain.order} with copies that tolerate substitutions"

    def log_probs(self, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Log p of each of the four bases at each position, given the bases before it.

        Args:
            codes: uint8 (n,), store codes.

        Returns:
            float64 (n, 4), also where there is no base (N).
        """
        found = chain_log_probs(self.chain, codes)
        for copier in self.copiers:
            found = copier.refined(found, codes & CODE_MASK)
        return found

    def position_nats(self, codes: NDArray[np.uint8], context: int = 0) -> NDArray[np.float64]:
        """-log p of each base given the bases before it.

        Args:
            codes: uint8 (context + n,), store codes.
            context: number of leading bases that are only context.

        Returns:
            float64 (n,), nats; 0 where there is no base (N).
        """
        return _nats(self.log_probs(codes), codes & CODE_MASK)[context:]


@dataclass(frozen=True)
class CopyFit:
    """A fitted model, and how it does on validation.

    Attributes:
        model: the model.
        valid_bits: bits per base on validation, each position left out of its own counts.
    """

    model: CopyModel
    valid_bits: float


def fit_copies(
    codes: NDArray[np.uint8],
    valid: NDArray[np.uint8],
    is_scored: NDArray[np.bool_],
    chain: ContextModel,
    *,
    seed_lengths: Sequence[int] = SEED_LENGTHS,
    reach: int = REACH,
) -> CopyFit:
    """Index a training sequence, and count on validation how far copies of it can be believed.

    Args:
        codes: uint8 (n,), store codes of the training sequence, N between its parts.
        valid: uint8 (v,), store codes of the validation sequence.
        is_scored: bool (v,), False at bases that are only context of others.
        chain: fitted to the training sequence.
        seed_lengths: of the copiers, in their order.
        reach: as in `Copier`.

    Raises:
        DataError: if the index would not fit memory.
    """
    valid = valid & CODE_MASK
    is_counted = is_scored & (valid < N_CODE)
    log_probs = chain_log_probs(chain, valid)
    left_out = log_probs
    copiers: list[Copier] = []
    for length in seed_lengths:
        copier, left_out = _fitted(SeedIndex.of_codes(codes, length), log_probs, valid, is_counted,
                                   reach)  # fmt: skip
        log_probs = copier.refined(log_probs, valid)
        copiers.append(copier)
    nats = _nats(left_out, valid)[is_counted]
    return CopyFit(CopyModel(chain, tuple(copiers)), float(nats.mean()) / math.log(2.0))


def _fitted(
    index: SeedIndex,
    log_probs: NDArray[np.float64],
    valid: NDArray[np.uint8],
    is_counted: NDArray[np.bool_],
    reach: int,
) -> tuple[Copier, NDArray[np.float64]]:
    """A copier, and log-probabilities whose counts leave out the position itself."""
    found = index.aligned(valid, reach)
    kinds, prior, rest = _kinds(log_probs, found)
    is_used = is_counted[found.positions]
    is_hit = found.predicted == valid[found.positions]
    size = math.prod(_SHAPE)
    positions = np.bincount(kinds[is_used], minlength=size)
    hits = np.bincount(kinds[is_used & is_hit], minlength=size)
    # the counts of a kind without the position.
    others, agreed = positions[kinds] - is_used, hits[kinds] - (is_used & is_hit)

    def log_rates(m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rate = np.log((agreed + m * prior) / (others + m))
        rest_of_rate = np.log((others - agreed + m * rest) / (others + m))
        return rate, rest_of_rate

    def cost(m: float) -> float:
        rate, rest_of_rate = log_rates(m)
        # what the other bases keep among themselves does not depend on m.
        return -float(np.where(is_hit, rate, rest_of_rate)[is_used].sum())

    best = min(PSEUDO_COUNTS, key=cost)
    rate, rest_of_rate = log_rates(best)
    left_out = log_probs.copy()
    changed = log_probs[found.positions] + (rest_of_rate - np.log(rest))[:, None]
    changed[np.arange(len(kinds)), found.predicted] = rate
    left_out[found.positions] = changed
    shape = (positions.reshape(_SHAPE), hits.reshape(_SHAPE))
    return Copier(index, reach, *shape, best), left_out


def chain_log_probs(chain: ContextModel, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log p of each base at each position of a sequence under a chain, (n, 4)."""
    words, depth = pack_contexts(codes, chain.order)
    contexts = np.zeros(len(codes), np.int64)
    known = np.zeros(len(codes), np.int64)
    contexts[1:] = words[:-1].astype(np.int64) & (4**chain.order - 1)
    known[1:] = np.minimum(depth[:-1], chain.order)
    return chain.next_log_probs(contexts, known)


def _kinds(
    log_probs: NDArray[np.float64], found: Alignment
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The kind of each aligned position, p of the predicted base, and p of the other three."""
    probs = np.exp(log_probs[found.positions])
    rows = np.arange(len(probs))
    prior = probs[rows, found.predicted]
    probs[rows, found.predicted] = 0.0
    rest = probs.sum(axis=1)
    odds = np.clip(np.floor(np.log2(prior / rest)) - _FIRST_ODDS, 0, _ODDS - 1).astype(np.int64)
    runs = np.searchsorted(_RUNS, found.run, side="right")
    mismatches = np.minimum(found.mismatches, _MOST_MISMATCHES)
    return np.ravel_multi_index((runs, mismatches, odds), _SHAPE), prior, rest


def _nats(log_probs: NDArray[np.float64], codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    is_base = codes < N_CODE
    chosen = log_probs[np.arange(len(codes)), np.where(is_base, codes, 0)]
    return np.where(is_base, -chosen, 0.0)
