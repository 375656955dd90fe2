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
    """The mean of several rewards: an ensemble."""

    terms: tuple[Reward, ...]

    @property
    def name(self) -> str:
        """All members."""
        return f"mean({','.join(term.name for term in self.terms)})"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The means, (N,)."""
        return np.mean([rewards_of(term, sequences) for term in self.terms], axis=0)

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The means and their derivatives, see `gradient_of`; every term needs its own."""
        values, slopes = zip(*(gradient_of(term, sequences) for term in self.terms), strict=True)
        return np.mean(values, axis=0), np.mean(slopes, axis=0)


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
