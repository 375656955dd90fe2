"""Short FASTA files as strings: generated sequences and templates."""

from __future__ import annotations

import numpy as np

from dnamdlm.data.fasta import read_fasta
from dnamdlm.tokens.nucleotide import BASE_CODES

_LETTERS = np.frombuffer(BASE_CODES, dtype=np.uint8)


def read_sequences(path: str) -> dict[str, str]:
    """Name -> sequence in upper case, in file order; ambiguity codes are N.

    Raises:
        DataError: for a file that the strict reader refuses.
    """
    return {
        name: _LETTERS[codes & 7].tobytes().decode("ascii")
        for name, codes in read_fasta(path).items()
    }
