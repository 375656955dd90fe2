"""DNA as one token per base, with the ids of Caduceus, and the policy for every other letter.

Upper and lower case are the same base (lower case is kept elsewhere, as the soft mask). N and the
ambiguity codes R Y K M S W B D H V become N: a position that is visible to the network but neither
masked, predicted nor scored. U is read as T only if RNA is allowed. Any other letter is refused. A
mask is written '.'.

The genome store contains codes, not ids (A 0, C 1, G 2, T 3, N 4), so that it suits any vocabulary.
Ids follow the Caduceus tokenizer (kuleshov-group/caduceus): [CLS] 0 ... A 7, C 8, G 9, T 10, N 11.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import DataError
from dnamdlm.tokens.vocabulary import Vocabulary

BASE_CODES = b"ACGTN"
AMBIGUITY_CODES = b"RYKMSWBDHV"
MASK_SYMBOL = "."

NUCLEOTIDE_VOCABULARY = Vocabulary(
    symbols=(
        "[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]",
        "A", "C", "G", "T", "N",
    ),
    mask_id=3,
    pad_id=4,
    real_ids=(7, 8, 9, 10),
    complement=(0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11),
)  # fmt: skip

IDS_OF_CODES: NDArray[np.int64] = np.array([7, 8, 9, 10, 11], dtype=np.int64)
"""Token id of each store code, shape (5,)."""

COMPLEMENT_OF_CODES: NDArray[np.uint8] = np.array([3, 2, 1, 0, 4], dtype=np.uint8)
"""Code of the complementary base of each store code, shape (5,)."""

_REFUSED = 255


def code_table(*, rna: bool = False) -> NDArray[np.uint8]:
    """Store code of every byte under the policy above, 255 for a refused byte; shape (256,).

    Args:
        rna: read U and u as T.
    """
    table = np.full(256, _REFUSED, dtype=np.uint8)
    for code, letter in enumerate(BASE_CODES):
        table[[letter, letter | 0x20]] = code
    for letter in AMBIGUITY_CODES:
        table[[letter, letter | 0x20]] = BASE_CODES.index(b"N")
    if rna:
        table[[ord("U"), ord("u")]] = BASE_CODES.index(b"T")
    return table


def _encoding_table() -> NDArray[np.int64]:
    codes = code_table()
    ids = np.full(256, -1, dtype=np.int64)
    known = codes != _REFUSED
    ids[known] = IDS_OF_CODES[codes[known]]
    ids[ord(MASK_SYMBOL)] = NUCLEOTIDE_VOCABULARY.mask_id
    return ids


_IDS_OF_BYTES = _encoding_table()
_SYMBOLS = np.array(
    [symbol if len(symbol) == 1 else "?" for symbol in NUCLEOTIDE_VOCABULARY.symbols]
)
_SYMBOLS[NUCLEOTIDE_VOCABULARY.mask_id] = MASK_SYMBOL


class NucleotideTokenizer:
    """One id per base. Lower case is read as upper case; ambiguity codes are read as N.

    Example:
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> dna.encode("acgTN.R")
        array([ 7,  8,  9, 10, 11,  3, 11])
        >>> dna.decode([7, 8, 9, 10, 11, 3])
        'ACGTN.'
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """The Caduceus-compatible vocabulary of 12 ids."""
        return NUCLEOTIDE_VOCABULARY

    def encode(self, text: str | bytes) -> NDArray[np.int64]:
        """Ids of a DNA sequence, shape (L,); '.' becomes the mask.

        Raises:
            DataError: if a letter is not a nucleotide code, with its position (from 1).
        """
        raw = text.encode("utf-8") if isinstance(text, str) else text
        ids = _IDS_OF_BYTES[np.frombuffer(raw, dtype=np.uint8)]
        if ids.size and ids.min() < 0:
            position = int(np.argmax(ids < 0))
            raise DataError(
                f"the sequence has {chr(raw[position])!r} at position {position + 1}, which is not "
                "a nucleotide code; use A, C, G, T, N, an IUPAC ambiguity code, or '.' for a mask"
            )
        return ids

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Sequence of letters; a mask is '.', a special token '?'."""
        return "".join(_SYMBOLS[np.asarray(ids, dtype=np.int64)].tolist())


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Store codes of the opposite strand; the last axis is the length."""
    return COMPLEMENT_OF_CODES[codes[..., ::-1]]
