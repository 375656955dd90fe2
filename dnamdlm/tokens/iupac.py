"""IUPAC nucleotide codes as sets of bases: what a letter of a template allows.

A set is a four-bit number: A 1, C 2, G 4, T 8. So R (A or G) is 5, and N is 15.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import (
    BASE_CODES,
    IDS_OF_CODES,
    MASK_SYMBOL,
    NUCLEOTIDE_VOCABULARY,
)
from dnamdlm.tokens.vocabulary import Vocabulary

ANY_BASE = 15
BASES_OF_CODE = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "K": "GT", "M": "AC", "S": "CG",
    "W": "AT", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
"""Bases of each code (Cornish-Bowden 1985)."""
TWO_BASE_CODES = "RYSWKM"
"""The codes of two bases, which models of lm=iupac read as tokens."""
_COMPLEMENTS = "YRSWMK"


def set_table(*, rna: bool = False) -> NDArray[np.uint8]:
    """Set of bases of every byte in either case, '.' for any base, 0 for all other bytes; (256,).

    Args:
        rna: read U and u as T.
    """
    table = np.zeros(256, dtype=np.uint8)
    for letter, bases in BASES_OF_CODE.items():
        bits = sum(1 << BASE_CODES.index(base.encode("ascii")) for base in bases)
        table[[ord(letter), ord(letter.lower())]] = bits
    table[ord(MASK_SYMBOL)] = ANY_BASE
    if rna:
        table[[ord("U"), ord("u")]] = table[ord("T")]
    return table


def ids_of_sets(sets: NDArray[np.uint8], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """The token of each one-base set, the mask for all other sets; same shape."""
    ids = np.full(ANY_BASE + 1, vocabulary.mask_id, dtype=np.int64)
    ids[[1, 2, 4, 8]] = IDS_OF_CODES[:4]
    return ids[sets]


def allowed_tokens(sets: NDArray[np.uint8], num_ids: int) -> NDArray[np.bool_]:
    """Which of `num_ids` tokens each set allows, shape (*sets.shape, num_ids)."""
    table = np.zeros((ANY_BASE + 1, num_ids), dtype=bool)
    for code in range(4):
        table[:, IDS_OF_CODES[code]] = (np.arange(ANY_BASE + 1) >> code) & 1
    return table[sets]


def with_codes(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with the six codes of two bases as further ids, none of which is predicted.

    Args:
        vocabulary: whose real tokens are A, C, G and T.

    Raises:
        ConfigError: for a vocabulary of text.

    Example: a purine is on the other strand a pyrimidine.
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> longer = with_codes(NUCLEOTIDE_VOCABULARY)
        >>> longer.symbols[12:], longer.complement[12:]
        (('R', 'Y', 'S', 'W', 'K', 'M'), (13, 12, 14, 15, 17, 16))
    """
    names = "".join(vocabulary.symbols[token] for token in vocabulary.real_ids)
    if names != BASE_CODES[:4].decode("ascii"):
        raise ConfigError(
            "lm=iupac splits the bases A, C, G and T into two bits, and this vocabulary is not "
            "that of DNA; use lm=mdlm"
        )
    complement, first = vocabulary.complement, len(vocabulary)
    if complement is not None:
        own = (first + TWO_BASE_CODES.index(code) for code in _COMPLEMENTS)
        complement = (*complement, *own)
    symbols = (*vocabulary.symbols, *TWO_BASE_CODES)
    return replace(vocabulary, symbols=symbols, complement=complement)


def codes_of_coding(coding: str) -> str:
    """The codes of two bases that a model of IUPAC diffusion is trained on.

    >>> codes_of_coding("ry_km"), codes_of_coding("mixed")
    ('RYKM', 'RYSWKM')
    """
    return TWO_BASE_CODES if coding == "mixed" else coding.replace("_", "").upper()


def with_code_ids(ids: NDArray[np.int64], text: str, codes: str) -> NDArray[np.int64]:
    """Ids of a sequence in which some codes are tokens of their own, see `with_codes`.

    Args:
        ids: of the tokenizer, which gives N for every code, shape (L,).
        text: the sequence.
        codes: those that get an id.
    """
    if not codes:
        return ids
    letters = np.frombuffer(text.upper().encode("ascii"), dtype=np.uint8)
    table = np.full(256, -1, dtype=np.int64)
    for code in codes:
        table[ord(code)] = len(NUCLEOTIDE_VOCABULARY) + TWO_BASE_CODES.index(code)
    found = table[letters]
    return np.where(found >= 0, found, ids)
