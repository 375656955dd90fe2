"""Words with IUPAC letters: their places in many sequences at once, on one strand or both.

Sequences are strings of A, C, G and T; any other letter matches no word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError
from dnamdlm.tokens.iupac import BASES_OF_CODE, set_table

_SETS = set_table()
_ONE_BASE = np.where(np.isin(_SETS, (1, 2, 4, 8)), _SETS, 0).astype(np.uint8)
# A 1 and T 8, C 2 and G 4: the complement of a set is its four bits reversed.
_COMPLEMENT = np.array([int(f"{bits:04b}"[::-1], 2) for bits in range(16)], dtype=np.uint8)


@dataclass(frozen=True)
class Word:
    """A word of IUPAC letters.

    Attributes:
        letters: in upper case.
        both_strands: it is found as its reverse complement too.
        name: for messages, such as the name of an enzyme.
    """

    letters: str
    both_strands: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        if not self.letters or set(self.letters) - set(BASES_OF_CODE):
            raise ConfigError(
                f"the word {self.letters!r} is not made of nucleotide codes; use A, C, G, T and "
                "IUPAC codes in upper case"
            )

    def __len__(self) -> int:
        """Bases of the word."""
        return len(self.letters)

    def __str__(self) -> str:
        """The name with the letters."""
        strand = "" if self.both_strands else "+"
        same = self.name in ("", self.letters)
        return f"{self.letters}{strand}" if same else f"{self.name} ({self.letters}{strand})"

    @property
    def sets(self) -> NDArray[np.uint8]:
        """Set of bases of each letter, see `dnamdlm.tokens.iupac`; (k,)."""
        return _SETS[np.frombuffer(self.letters.encode("ascii"), np.uint8)]

    @property
    def forms(self) -> list[NDArray[np.uint8]]:
        """The word, and its reverse complement where that counts and differs."""
        forward = self.sets
        reverse = _COMPLEMENT[forward[::-1]]
        if not self.both_strands or np.array_equal(forward, reverse):
            return [forward]
        return [forward, reverse]


def sets_of_sequences(sequences: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All sequences end to end, an empty set after each; (T,), and the owner of each, (T,)."""
    joined = "\n".join([*sequences, ""])
    sets = _ONE_BASE[np.frombuffer(joined.encode("ascii", "replace"), np.uint8)]
    lengths = [len(sequence) + 1 for sequence in sequences]
    return sets, np.repeat(np.arange(len(sequences)), lengths)


def match_counts_of(word: Word, sequences: Sequence[str]) -> NDArray[np.int64]:
    """Places where each sequence has the word, (N,); a place counts once for both strands.

    >>> match_counts_of(Word("GAATTC"), ["AGAATTCA", "GAATTCGAATTC", "ACGT"]).tolist()
    [1, 2, 0]
    >>> match_counts_of(Word("GGTCTC"), ["TTGAGACCTT"]).tolist()  # on the other strand
    [1]
    """
    sets, owners = sets_of_sequences(sequences)
    found = places_of(word, sets)
    return np.bincount(owners[: len(found)][found], minlength=len(sequences))


def places_of(word: Word, sets: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the word, on either of its strands, begins at each place, bool (T - k + 1,)."""
    size = max(len(sets) - len(word) + 1, 0)
    found = np.zeros(size, np.bool_)
    for form in word.forms:
        here = np.ones(size, np.bool_)
        for offset, bits in enumerate(form):
            part = sets[offset : offset + size]
            # the whole set of a position lies within that of the word, and is not empty.
            here &= (part & ~bits == 0) & (part != 0)
        found |= here
    return found
