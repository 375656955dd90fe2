"""Many short sequences as token ids in one array, and the strict way from DNA text to ids.

Ids are those of `dnamdlm.tokens.nucleotide`. Lower case means the same base, ambiguity codes are
read as N, every other letter is refused with the place where it stands.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import (
    AMBIGUITY_CODES,
    BASE_CODES,
    IDS_OF_CODES,
    code_table,
    reverse_complement,
)
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.words.codes import CODE_MASK, N_CODE

logger = logging.getLogger(__name__)

_REFUSED = 255
_AMBIGUOUS = np.zeros(256, dtype=bool)
_AMBIGUOUS[[*AMBIGUITY_CODES, *AMBIGUITY_CODES.lower()]] = True
# how tables write that there is no value; the letters of the first two are codes of nucleotides.
_MISSING = frozenset({"NA", "NAN", "<NA>", "N/A", "#N/A", "NULL", "NONE", "NIL", "-", "."})
_LONGEST_MISSING = max(map(len, _MISSING))
_AMINO_ACIDS = frozenset(b"EFILPQ")
_IDS = IDS_OF_CODES.astype(np.uint8)


@runtime_checkable
class TokenRows(Protocol):
    """Anything with a length that gives the token ids of one sequence by its number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.integer]: ...


@dataclass(frozen=True)
class SequenceSet:
    """Token ids of N named sequences, one after the other.

    Attributes:
        names: one per sequence; they need not differ.
        tokens: ids of all sequences, shape (total,).
        offsets: sequence i is `tokens[offsets[i]:offsets[i + 1]]`, shape (N + 1,).
    """

    names: tuple[str, ...]
    tokens: NDArray[np.integer]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[str], arrays: Sequence[NDArray[np.integer]]) -> SequenceSet:
        """Join separate arrays of ids."""
        lengths = np.fromiter((len(array) for array in arrays), dtype=np.int64, count=len(arrays))
        tokens = np.concatenate(arrays) if len(arrays) else np.zeros(0, dtype=np.uint8)
        return cls(tuple(names), tokens, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NDArray[np.integer]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence, shape (N,)."""
        return np.diff(self.offsets)

    def take(self, indices: NDArray[np.integer]) -> SequenceSet:
        """Some of the sequences, in the order of `indices`."""
        return SequenceSet.of([self.names[i] for i in indices], [self[i] for i in indices])

    def stretch(self, first: int, last: int) -> SequenceSet:
        """The sequences `first` <= i < `last`."""
        offsets = self.offsets[first : last + 1]
        tokens = self.tokens[offsets[0] : offsets[-1]]
        return SequenceSet(self.names[first:last], tokens, offsets - offsets[0])

    def codes(self, vocabulary: Vocabulary) -> NDArray[np.uint8]:
        """Store codes of all tokens, `N_CODE` for every token that is not a base, shape (total,).

        Args:
            vocabulary: of the tokens, with four real ids in the order A, C, G, T.
        """
        code_of = np.full(len(vocabulary), N_CODE, dtype=np.uint8)
        code_of[list(vocabulary.real_ids)] = np.arange(N_CODE)
        return code_of[self.tokens]

    def digest(self) -> str:
        """SHA-256 of all ids and lengths."""
        content = hashlib.sha256(np.ascontiguousarray(self.offsets).tobytes())
        content.update(np.ascontiguousarray(self.tokens).tobytes())
        return content.hexdigest()


def encode_dna(
    names: Sequence[str], texts: Sequence[str], source: str, *, rna: bool = False
) -> SequenceSet:
    """Strict conversion of DNA text to ids; sequences of N alone are read with a warning.

    Args:
        names: one per sequence.
        texts: letters, upper or lower case.
        source: file name, for messages.
        rna: read U as T.

    Raises:
        DataError: for an empty or missing sequence, or a letter that is not a nucleotide code.
    """
    for row, fault in faults_of_dna(texts, rna=rna).items():
        raise DataError(f"{source}: sequence {row + 1} ({names[row]!r}) {fault}")
    found = ids_of_dna(names, texts, rna=rna)
    log_n_alone(names_of_n_alone(found), len(found), source)
    return found


def ids_of_dna(names: Sequence[str], texts: Sequence[str], *, rna: bool = False) -> SequenceSet:
    """Ids of texts in which `faults_of_dna` finds no fault."""
    lengths = np.fromiter((len(text) for text in texts), dtype=np.int64, count=len(texts))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return SequenceSet(tuple(names), _IDS[code_table(rna=rna)[_bytes_of(texts)]], offsets)


def names_of_n_alone(sequences: SequenceSet) -> list[str]:
    """Names of the sequences without a base; a result for them says nothing about DNA."""
    if not len(sequences):
        return []
    bases = np.add.reduceat(sequences.tokens != _IDS[N_CODE], sequences.offsets[:-1], dtype=int)
    return [sequences.names[row] for row in np.flatnonzero(bases == 0)]


def log_n_alone(names: Sequence[str], count: int, source: str) -> None:
    """The warning about the sequences of these names, among `count`."""
    if names:
        warn_of_n_alone(len(names), names[0], count, source)


def warn_of_n_alone(number: int, first: str, count: int, source: str) -> None:
    """Log that a number of `count` sequences, the first of this name, have no base."""
    logger.warning(
        "%s: %d of %d sequences consist of N alone, the first is %r; a result for them says "
        "nothing about DNA, so leave them out",
        source, number, count, first,
    )  # fmt: skip


def faults_of_dna(texts: Sequence[str], *, rna: bool = False) -> dict[int, str]:
    """Number of each text that is no DNA -> what is wrong with it and what to do, in order.

    >>> faults_of_dna(["ACGT", "", "acgn"])
    {1: 'is empty; give it bases or remove it'}
    """
    codes = code_table(rna=rna)
    usable = (codes != _REFUSED) & ~_AMBIGUOUS
    raw = _bytes_of(texts)
    lengths = np.fromiter((len(text) for text in texts), dtype=np.int64, count=len(texts))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    unusual = np.searchsorted(offsets, np.flatnonzero(~usable[raw]), side="right") - 1
    suspects: set[int] = {*unusual.tolist(), *np.flatnonzero(lengths <= _LONGEST_MISSING).tolist()}
    faults = {
        row: _fault(str(texts[row]), raw[offsets[row] : offsets[row + 1]], codes)
        for row in sorted(suspects)
    }
    return {row: fault for row, fault in faults.items() if fault is not None}


def _bytes_of(texts: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("".join(texts).encode("ascii", "replace"), dtype=np.uint8)


def _fault(text: str, raw: NDArray[np.uint8], codes: NDArray[np.uint8]) -> str | None:
    """What is wrong with one text, as letters and as bytes."""
    if not text:
        return "is empty; give it bases or remove it"
    if text.upper() in _MISSING:
        return f"is {text!r}, which stands for a missing value; give it bases or remove it"
    bad = np.flatnonzero(codes[raw] == _REFUSED)
    if bad.size:
        place = int(bad[0])
        return f"has {text[place]!a} at position {place + 1}, {_meaning(raw, int(raw[place]))}"
    count = int(_AMBIGUOUS[raw].sum())
    if 2 * count > len(text):
        return (
            f"looks like protein, {count} of its {len(text)} letters are ambiguity codes; give DNA "
            "sequences"
        )
    return None


@dataclass(frozen=True)
class IntervalIds:
    """`interval_ids` of an interval of any length, of which only the stretches asked for are read.

    Attributes:
        store: the genome.
        interval: with the strand to read.
    """

    store: GenomeStore
    interval: Interval

    def __len__(self) -> int:
        return len(self.interval)

    def __getitem__(self, stretch: slice) -> NDArray[np.uint8]:
        """Ids of a stretch; that of a whole circular record may go across its origin."""
        if stretch.start is not None and not 0 <= stretch.start <= stretch.stop <= len(self):
            name = self.interval.chrom
            return _IDS[self.store.stretch(name, stretch.start, stretch.stop) & CODE_MASK]
        first, last, _ = stretch.indices(len(self))
        low, high = self.interval.start, self.interval.end
        if self.interval.strand == "-":
            part = replace(self.interval, start=high - last, end=high - first)
        else:
            part = replace(self.interval, start=low + first, end=low + last)
        return interval_ids(self.store, part)


def interval_ids(store: GenomeStore, interval: Interval) -> NDArray[np.uint8]:
    """Ids of an interval of a genome, those of the opposite strand where the interval says '-'.

    Raises:
        DataError: if the record is unknown or the interval ends past it.
    """
    codes = store.fetch(interval) & CODE_MASK
    return _IDS[reverse_complement(codes) if interval.strand == "-" else codes]


def _meaning(letters: NDArray[np.uint8], letter: int) -> str:
    """What a refused letter says about its sequence, and what to do."""
    upper = set(bytes(letters).upper())
    outside = np.isin(
        letters, np.frombuffer(BASE_CODES + BASE_CODES.lower(), np.uint8), invert=True
    )
    if upper & _AMINO_ACIDS and outside.mean() > 0.25:
        return "which looks like protein; give DNA sequences"
    if letter in b"Uu":
        return "which means RNA; write T for U"
    return "which is not a nucleotide code; use A, C, G, T, N or an ambiguity code"
