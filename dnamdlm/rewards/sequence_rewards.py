"""Rewards that are computed from the letters of a sequence alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError
from dnamdlm.rewards.word_matches import Word, match_counts_of
from dnamdlm.tokens.nucleotide import code_table
from dnamdlm.words.edits import edit_distance

_CODES = code_table()


@dataclass(frozen=True)
class MotifCount:
    """How often a word occurs, on either strand or on one.

    >>> MotifCount(Word("TATAAT")).batch(["TATAATGGATTATA", "CCCC"]).tolist()
    [2.0, 0.0]
    """

    word: Word

    @property
    def name(self) -> str:
        """The word."""
        return f"motif:{self.word.letters}"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Number of places, (N,)."""
        return match_counts_of(self.word, sequences).astype(np.float64)


@dataclass(frozen=True)
class GcWindow:
    """0 within a window of the share of G and C, and minus the distance to it outside.

    >>> GcWindow(0.4, 0.6).batch(["ACGT", "GGGG", "AAAA"]).round(2).tolist()
    [0.0, -0.4, -0.4]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_window(self.low, self.high)

    @property
    def name(self) -> str:
        """The window."""
        return f"gc:{self.low:g}-{self.high:g}"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Minus the distance of each share to the window, (N,)."""
        shares = gc_shares(sequences)
        return np.minimum(0.0, np.minimum(shares - self.low, self.high - shares))

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The distances and their derivatives by the bases, (N, L, 4); 0 within the window."""
        shares = gc_shares(sequences)
        slope = ((shares < self.low) * 1.0 - (shares > self.high)) / len(sequences[0])
        is_strong = np.array([0.0, 1.0, 1.0, 0.0])
        slopes = slope[:, None, None] * is_strong * np.ones((1, len(sequences[0]), 1))
        return self.batch(sequences), slopes


@dataclass(frozen=True)
class EditDistance:
    """Minus the edit distance to a reference, in bases: 0 for the reference itself.

    >>> EditDistance("ACGT").batch(["ACGT", "AGT", "AC"]).tolist()
    [0.0, -1.0, -2.0]
    """

    reference: str

    def __post_init__(self) -> None:
        if not self.reference or set(self.reference) - set("ACGT"):
            raise ConfigError(
                f"the reference {self.reference[:40]!r} of an edit distance must be made of A, C, "
                "G and T; give it bases"
            )

    @property
    def name(self) -> str:
        """That it is a distance, and to how many bases."""
        return f"distance:{len(self.reference)}bp"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Minus the number of edits, (N,)."""
        reference = store_codes(self.reference)
        edits = [edit_distance(store_codes(text), reference) for text in sequences]
        return 0.0 - np.array(edits, dtype=np.float64)


def store_codes(sequence: str) -> NDArray[np.uint8]:
    """Codes of the genome store, uint8 (n,)."""
    return _CODES[np.frombuffer(sequence.encode("ascii"), np.uint8)]


def gc_shares(sequences: Sequence[str]) -> NDArray[np.float64]:
    """Share of G and C among all letters, (N,); 0 for an empty sequence."""
    counts = [text.count("G") + text.count("C") for text in sequences]
    return np.array(counts, np.float64) / np.array([max(len(text), 1) for text in sequences])


def check_window(low: float, high: float) -> None:
    """Refuse a window of shares that is none.

    Raises:
        ConfigError: unless 0 <= low <= high <= 1.
    """
    if not 0 <= low <= high <= 1:
        raise ConfigError(
            f"gc=[{low:g},{high:g}] must be two shares in order between 0 and 1, such as [0.4,0.6]"
        )
