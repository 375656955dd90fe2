"""IUPAC nucleotide codes as sets of bases: what a letter of a template allows.

A set is a four-bit number: A 1, C 2, G 4, T 8. So R (A or G) is 5, and N is 15.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnamdlm.tokens.nucleotide import BASE_CODES, IDS_OF_CODES, MASK_SYMBOL
from dnamdlm.tokens.vocabulary import Vocabulary

ANY_BASE = 15
BASES_OF_CODE = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "K": "GT", "M": "AC", "S": "CG",
    "W": "AT", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
"""Bases of each code (Cornish-Bowden 1985)."""


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
