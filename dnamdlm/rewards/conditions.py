"""Conditions that a sequence satisfies or not; each is checked for many sequences at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.leaks import find_leaks
from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna
from dnamdlm.errors import ConfigError
from dnamdlm.rewards.sequence_rewards import check_window, gc_shares
from dnamdlm.rewards.word_matches import Word, match_counts_of
from dnamdlm.suggestions import did_you_mean
from dnamdlm.tokens.iupac import BASES_OF_CODE
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

# rounding of a share such as 0.6 must not refuse 90 of 150 bases.
_ROUNDING = 1e-9


class Condition(Protocol):
    """What every sequence has to satisfy.

    Attributes:
        setting: as the user gave it, such as `avoid=EcoRI`.
    """

    @property
    def setting(self) -> str: ...

    def holds(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each sequence satisfies it, bool (N,).

        Args:
            sequences: N strings of A, C, G and T in upper case.
        """
        ...


@dataclass(frozen=True)
class ForbiddenWord:
    """No place has the word.

    >>> ForbiddenWord(Word("GGTCTC", name="BsaI")).holds(["AGAGACCA", "AGGTCACA"]).tolist()
    [False, True]
    """

    word: Word

    @property
    def setting(self) -> str:
        """The word with its name."""
        return f"avoid={self.word}"

    def holds(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Whether none occurs."""
        return match_counts_of(self.word, sequences) == 0


@dataclass(frozen=True)
class RequiredWord:
    """At least one place has the word."""

    word: Word

    @property
    def setting(self) -> str:
        """The word with its name."""
        return f"require={self.word}"

    def holds(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Whether one occurs."""
        return match_counts_of(self.word, sequences) > 0


@dataclass(frozen=True)
class LongestRun:
    """No base is repeated more than `most` times in a row.

    >>> LongestRun(3).holds(["AAACC", "AAAAC"]).tolist()
    [True, False]
    """

    most: int

    @property
    def setting(self) -> str:
        """The setting."""
        return f"longest_run={self.most}"

    def holds(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Whether every run is short enough."""
        runs = [base * (self.most + 1) for base in "ACGT"]
        return np.array([not any(run in text for run in runs) for text in sequences], np.bool_)


@dataclass(frozen=True)
class GcShare:
    """The share of G and C lies in a window, ends included.

    >>> GcShare(0.4, 0.6).holds(["ACGTA", "ATATG"]).tolist()
    [True, False]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_window(self.low, self.high)

    @property
    def setting(self) -> str:
        """The setting."""
        return f"gc=[{self.low:g},{self.high:g}]"

    def holds(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each share lies within."""
        shares = gc_shares(sequences)
        return (shares >= self.low - _ROUNDING) & (shares <= self.high + _ROUNDING)


@dataclass(frozen=True)
class NotLike:
    """No given sequence is equal, the reverse complement, or a near copy.

    Attributes:
        source: file of the given sequences.
        known: the sequences.
        share: share of the words of a sequence that one given sequence must not hold, see
            `dnamdlm.data.tasks.leaks`.
        word: bases of a word.
    """

    source: str
    known: SequenceSet = field(repr=False)
    share: float
    word: int

    @property
    def setting(self) -> str:
        """The file."""
        return f"unlike={self.source}"

    def holds(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each sequence is new."""
        if not len(sequences):
            return np.zeros(0, np.bool_)
        names = [f"design {number + 1}" for number in range(len(sequences))]
        ours = encode_dna(names, sequences, "designs")
        found = find_leaks(
            self.known, ours, NUCLEOTIDE_VOCABULARY, word=self.word, share=self.share
        )
        return ~found.any


def word_of(text: str, setting: str) -> Word:
    """A word as it is typed: IUPAC letters, the name of an enzyme, or `start_codon`.

    A plus sign at the end asks for the strand as it is written alone, as `start_codon` (ATG) does.

    Args:
        text: what was typed.
        setting: for messages.

    Raises:
        ConfigError: for what is neither.

    >>> word_of("EcoRI", "avoid").letters, word_of("GGTCTC+", "avoid").both_strands
    ('GAATTC', False)
    """
    from Bio.Restriction.Restriction_Dictionary import rest_dict

    name, both = text.removesuffix("+"), not text.endswith("+")
    if name == "start_codon":
        return Word("ATG", both_strands=False, name=name)
    if name and not set(name) - set(BASES_OF_CODE):
        return Word(name, both)
    site = rest_dict.get(name, {}).get("site", "")
    if not site or set(site) - set(BASES_OF_CODE):
        # EcoR1 and ecori are usual spellings of EcoRI.
        spelt = name.lower().replace("1", "i")
        same = [known for known in rest_dict if known.lower() == spelt]
        hint = f" (did you mean {same[0]}?)" if same else did_you_mean(name, list(rest_dict))
        raise ConfigError(
            f"{setting}={text} is neither IUPAC letters in upper case nor the name of an enzyme"
            f"{hint}; write for instance {setting}=GAATTC or {setting}=EcoRI"
        )
    return Word(site, both, name)


def failures_of(conditions: Sequence[Condition], sequences: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each sequence fails each condition, bool (N, number of conditions)."""
    if not conditions or not sequences:
        return np.zeros((len(sequences), len(conditions)), np.bool_)
    return np.stack([~condition.holds(sequences) for condition in conditions], axis=1)
