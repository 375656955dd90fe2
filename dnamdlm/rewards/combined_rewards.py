"""Rewards made from others, and from functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnamdlm.errors import DataError, DnamdlmError
from dnamdlm.rewards.reward import Reward, gradient_of, rewards_of

FAULTS_OF_CODE = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError,
    NameError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What code of a user may raise by mistake."""


@dataclass(frozen=True)
class FunctionReward:
    """A function of a list of strings that gives one number for each."""

    function: Callable[[Sequence[str]], ArrayLike]
    name: str

    def batch(self, sequences: Sequence[str]) -> ArrayLike:
        """What the function gives; whoever uses it checks it.

        Raises:
            DataError: if the function fails.
        """
        try:
            return self.function(sequences)
        except DnamdlmError:
            raise
        except FAULTS_OF_CODE as error:
            reason = (str(error).splitlines() or [""])[0][:200]
            raise DataError(
                f"reward={self.name} failed with {type(error).__name__}: {reason}; it is called "
                "with a list of strings and must give one number for each"
            ) from error


@dataclass(frozen=True)
class WeightedSum:
    """sum_k weight_k reward_k.

    >>> from dnamdlm.rewards import GcWindow, MotifCount
    >>> from dnamdlm.rewards.word_matches import Word
    >>> both = WeightedSum((MotifCount(Word("TATA")), GcWindow(0.5, 0.5)), (2.0, 1.0))
    >>> both.batch(["TATACCGG", "TATA"]).tolist()
    [2.0, 1.5]
    """

    terms: tuple[Reward, ...]
    weights: tuple[float, ...]

    @property
    def name(self) -> str:
        """All terms with their weights."""
        pairs = zip(self.terms, self.weights, strict=True)
        return "+".join(
            term.name if weight == 1 else f"{weight:g}*{term.name}" for term, weight in pairs
        )

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The sums, (N,); a term that gives no number is named by itself."""
        parts = zip(self.terms, self.weights, strict=True)
        total = np.zeros(len(sequences))
        for term, weight in parts:
            total += weight * rewards_of(term, sequences)
        return total

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The sums and their derivatives, see `gradient_of`; every term needs its own."""
        values, slopes = np.zeros(len(sequences)), np.zeros((len(sequences), len(sequences[0]), 4))
        for term, weight in zip(self.terms, self.weights, strict=True):
            value, slope = gradient_of(term, sequences)
            values += weight * value
            slopes += weight * slope
        return values, slopes


@dataclass(frozen=True)
class MeanReward:
    """The mean of several rewards: an ensemble, minus a multiple of their disagreement.

    With `caution` c the reward is m - c s, where m is the mean of the members and s their standard
    deviation, sqrt(mean of (r_k - m)^2): a sequence that the members disagree on counts for less.
    Of two members with c = 1 it is the lower one.

    >>> from dnamdlm.rewards import GcWindow, MotifCount
    >>> from dnamdlm.rewards.word_matches import Word
    >>> members = MotifCount(Word("TATA")), GcWindow(0.5, 0.5)
    >>> MeanReward(members).batch(["TATACCGG", "TATA"]).tolist()
    [0.5, 0.25]
    >>> MeanReward(members, caution=1.0).batch(["TATACCGG", "TATA"]).tolist()
    [0.0, -0.5]
    """

    terms: tuple[Reward, ...]
    caution: float = 0.0

    @property
    def name(self) -> str:
        """All members, and the caution where there is one."""
        shown = f"mean({','.join(term.name for term in self.terms)})"
        return f"{shown}-{self.caution:g}*deviation" if self.caution else shown

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The means minus the disagreement, (N,)."""
        values = np.array([rewards_of(term, sequences) for term in self.terms])
        found = values.mean(axis=0)
        return found - self.caution * values.std(axis=0) if self.caution else found

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same and its derivatives, see `gradient_of`; every term needs its own.

        Where all members agree the deviation has no derivative, and counts as constant.
        """
        parts = [gradient_of(term, sequences) for term in self.terms]
        values, slopes = (np.stack(item) for item in zip(*parts, strict=True))
        mean, slope = values.mean(axis=0), slopes.mean(axis=0)
        if not self.caution:
            return mean, slope
        deviation = values.std(axis=0)
        shares = (values - mean) / np.where(deviation > 0, deviation, 1.0)
        steep = np.einsum("kn,knlb->nlb", shares, slopes) / len(self.terms)
        return mean - self.caution * deviation, slope - self.caution * steep


@dataclass(frozen=True)
class Product:
    """The product of several rewards; two negative factors make it positive."""

    terms: tuple[Reward, ...]

    @property
    def name(self) -> str:
        """All factors."""
        return f"product({','.join(term.name for term in self.terms)})"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The products, (N,)."""
        return np.prod([rewards_of(term, sequences) for term in self.terms], axis=0)

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The products and their derivatives, see `gradient_of`; every term needs its own."""
        value, slope = gradient_of(self.terms[0], sequences)
        for term in self.terms[1:]:
            other, steep = gradient_of(term, sequences)
            slope = slope * other[:, None, None] + steep * value[:, None, None]
            value = value * other
        return value, slope
