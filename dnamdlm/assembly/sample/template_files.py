"""Short FASTA files in memory: generated sequences and templates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import BASE_CODES
from dnamdlm.words.codes import CODE_MASK

_LETTERS = np.frombuffer(BASE_CODES, dtype=np.uint8)
_IS_ONE_BASE = np.isin(np.arange(16), (1, 2, 4, 8))


def read_sequences(path: str) -> dict[str, str]:
    """Name -> sequence in upper case, in file order; ambiguity codes are N.

    Raises:
        DataError: for a file that the strict reader refuses.
    """
    return {
        name: _LETTERS[codes & CODE_MASK].tobytes().decode("ascii")
        for name, codes in read_fasta(path).items()
    }


def read_templates(path: str, *, rna: bool = False) -> dict[str, NDArray[np.uint8]]:
    """Name -> set of allowed bases at each position, see `dnamdlm.tokens.iupac`.

    A, C, G and T are kept; N and '.' are filled freely; R, Y, ... with one of their bases.

    Args:
        path: FASTA file.
        rna: read U as T.

    Raises:
        DataError: if the file cannot be read, or a template leaves nothing to fill.
    """
    templates = read_fasta(path, iupac="sets", rna=rna)
    for name, sets in templates.items():
        if _IS_ONE_BASE[sets].all():
            raise DataError(f"{path}, record {name!r}: nothing to fill; write N where bases go")
    return templates
