"""Open reading frames: the longest in six frames, and genes that pyrodigal finds in bacteria.

A genetic code has the number that NCBI gave it. Source of stop codons: The Genetic Codes, NCBI
Taxonomy, as Biopython has them; a codon that is a stop or an amino acid by its context is a stop.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from Bio.Data import CodonTable

from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import BASE_CODES, reverse_complement

LONG_FRAME = 100
"""Length from which an open frame is long, codons."""
STANDARD_CODE = 1
_LETTERS = np.frombuffer(BASE_CODES, np.uint8)


def stop_codons(genetic_code: int = STANDARD_CODE) -> np.ndarray:
    """Stop codons of a genetic code as numbers in base 4, A 0 to T 3.

    >>> stop_codons(2).tolist()  # AGA, AGG, TAA and TAG of mitochondria of vertebrates
    [8, 10, 48, 50]

    Raises:
        ConfigError: for a number that NCBI has given to no code.
    """
    tables = CodonTable.unambiguous_dna_by_id
    if genetic_code not in tables:
        raise ConfigError(
            f"genetic_code={genetic_code} is unknown; use the number that NCBI has given it, one "
            f"of {', '.join(map(str, sorted(tables)))}"
        )
    codons = tables[genetic_code].stop_codons
    return np.sort([np.dot([16, 4, 1], ["ACGT".index(x) for x in codon]) for codon in codons])


def longest_open_frame(sequence: np.ndarray, genetic_code: int = STANDARD_CODE) -> int:
    """Codons of the longest stretch without a stop codon in any of the six frames.

    The stretch may begin and end at the ends of the sequence; a start codon is not required. A
    codon with a code that is not a base ends a stretch.
    """
    longest, stops = 0, stop_codons(genetic_code)
    for strand in (sequence, reverse_complement(sequence)):
        codes = strand.astype(np.int64)
        for frame in range(3):
            part = codes[frame:]
            codons = part[: len(part) // 3 * 3].reshape(-1, 3)
            number = codons @ np.array([16, 4, 1])
            ends = np.flatnonzero(np.isin(number, stops) | (codons > 3).any(axis=1))
            edges = np.concatenate([[-1], ends, [len(codons)]])
            longest = max(longest, int(np.diff(edges).max()) - 1)
    return longest


def longest_open_frames(
    sequences: Sequence[np.ndarray], genetic_code: int = STANDARD_CODE
) -> np.ndarray:
    """`longest_open_frame` of each sequence, int64 (N,)."""
    return np.array([longest_open_frame(item, genetic_code) for item in sequences], np.int64)


def gene_finder(genetic_code: int | None = None) -> Any:
    """The finder of pyrodigal for anonymous sequence.

    Args:
        genetic_code: of the genes; None takes for each sequence the code that fits best.

    Raises:
        ConfigError: if pyrodigal is not installed, or has learned no genes of that code.
    """
    try:
        pyrodigal = importlib.import_module("pyrodigal")
    except ImportError as error:
        raise ConfigError(
            "genes=true needs pyrodigal, which is not installed; "
            "pip install 'dnamdlm[dna]', or leave genes out"
        ) from error
    if genetic_code is None:
        return pyrodigal.GeneFinder(meta=True)
    bins = pyrodigal.METAGENOMIC_BINS
    chosen = [item for item in bins if item.training_info.translation_table == genetic_code]
    if not chosen:
        known = sorted({item.training_info.translation_table for item in bins})
        raise ConfigError(
            f"genes=true finds genes of bacteria, whose genetic_code is one of {known}, and "
            f"genetic_code={genetic_code} was given; leave one of them out"
        )
    return pyrodigal.GeneFinder(meta=True, metagenomic_bins=pyrodigal.MetagenomicBins(chosen))


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
