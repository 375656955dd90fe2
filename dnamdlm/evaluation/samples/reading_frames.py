"""Open reading frames: the longest in six frames, and genes that pyrodigal finds in bacteria."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import BASE_CODES, reverse_complement

LONG_FRAME = 100
"""Length from which an open frame is long, codons."""
_STOPS = (48, 50, 56)  # TAA, TAG, TGA in base 4
_LETTERS = np.frombuffer(BASE_CODES, np.uint8)


def longest_open_frame(sequence: np.ndarray) -> int:
    """Codons of the longest stretch without a stop codon in any of the six frames.

    The stretch may begin and end at the ends of the sequence; a start codon is not required. A
    codon with a code that is not a base ends a stretch.
    """
    longest = 0
    for strand in (sequence, reverse_complement(sequence)):
        codes = strand.astype(np.int64)
        for frame in range(3):
            part = codes[frame:]
            codons = part[: len(part) // 3 * 3].reshape(-1, 3)
            number = codons @ np.array([16, 4, 1])
            ends = np.flatnonzero(np.isin(number, _STOPS) | (codons > 3).any(axis=1))
            edges = np.concatenate([[-1], ends, [len(codons)]])
            longest = max(longest, int(np.diff(edges).max()) - 1)
    return longest


def longest_open_frames(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """`longest_open_frame` of each sequence, int64 (N,)."""
    return np.array([longest_open_frame(sequence) for sequence in sequences], np.int64)


def gene_finder() -> Any:
    """The finder of pyrodigal for anonymous sequence.

    Raises:
        ConfigError: if pyrodigal is not installed.
    """
    try:
        pyrodigal = importlib.import_module("pyrodigal")
    except ImportError as error:
        raise ConfigError(
            "genes=true needs pyrodigal, which is not installed; "
            "pip install 'dnamdlm[dna]', or leave genes out"
        ) from error
    return pyrodigal.GeneFinder(meta=True)


def gene_counts(finder: Any, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Bases, coding bases and genes of each sequence, int64 (N, 3)."""
    rows = []
    for sequence in sequences:
        genes = finder.find_genes(_LETTERS[sequence].tobytes())
        coding = np.zeros(len(sequence), np.bool_)
        for gene in genes:
            coding[gene.begin - 1 : gene.end] = True
        rows.append((len(sequence), int(coding.sum()), len(genes)))
    return np.array(rows, np.int64).reshape(-1, 3)
