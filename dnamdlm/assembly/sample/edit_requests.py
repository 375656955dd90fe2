"""Sequences that are edited: noised to a level and denoised, with what was known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.sample.requests import Request
from dnamdlm.data.genome.fasta import FastaReader
from dnamdlm.errors import DataError
from dnamdlm.lm.sampling.generation import Template
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY, code_table
from dnamdlm.words.codes import CODE_MASK

# words of a header that say how a sequence was made; those of an edited one are written anew.
_OWN_WORDS = ("length", "model", "sampler", "steps", "seed", "noise_level", "changed")
_NOTHING = "nothing to edit; give a sequence with A, C, G or T"


def read_edits(path: str, noise_level: float, *, rna: bool = False) -> list[Request]:
    """One request per record of a FASTA file.

    Names are kept, and so are the other words of a header, such as `interval=chrI:0-200`, except
    those that say how a sequence was made. Ambiguity codes are read as N, which is not edited.

    Args:
        path: FASTA file.
        noise_level: for the headers.
        rna: read U as T.

    Raises:
        DataError: if the file cannot be read, or a record has nothing to edit.
    """
    reader = FastaReader(path, rna=rna)
    parts: dict[str, list[NDArray[np.uint8]]] = {}
    for chunk in reader:
        parts.setdefault(chunk.name, []).append(chunk.codes)
    headers = {header.split()[0]: header.split()[1:] for _, header in reader.headers}
    for name in headers:
        if name not in parts:
            raise DataError(f"{path}, record {name!r}: {_NOTHING}")
    return [
        _request(
            np.concatenate(chunks),
            noise_level,
            f"{path}, record {name!r}",
            name=name,
            words=[word for word in headers[name] if word.partition("=")[0] not in _OWN_WORDS],
        )
        for name, chunks in parts.items()
    ]


def edits_of_strings(sequences: Sequence[str], noise_level: float) -> list[Request]:
    """One request per string.

    Raises:
        DataError: for a letter that is not a nucleotide code, or nothing to edit.
    """
    if not sequences:
        raise DataError("edit names no sequence; give a string, a list of strings or a Path")
    table = code_table(rna=False)
    requests = []
    for number, text in enumerate(sequences, start=1):
        if not isinstance(text, str):
            raise DataError(
                f"sequence {number} of edit is of type {type(text).__name__}; give strings, or a "
                "Path of a FASTA file"
            )
        letters = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        odd = [letter for letter in text if letter not in _LETTERS]
        if odd:
            raise DataError(
                f"sequence {number} holds {odd[0]!r}, which is not a nucleotide code; use A, C, G, "
                "T, N and IUPAC codes"
            )
        requests.append(_request(table[letters], noise_level, f"sequence {number}"))
    return requests


_LETTERS = frozenset("ACGTRYSWKMBDHVNacgtryswkmbdhvn")


def _request(
    codes: NDArray[np.uint8],
    noise_level: float,
    where: str,
    *,
    name: str | None = None,
    words: Sequence[str] = (),
) -> Request:
    ids = IDS_OF_CODES[codes & CODE_MASK].astype(np.uint8)
    if not np.isin(ids, NUCLEOTIDE_VOCABULARY.real_ids).any():
        raise DataError(f"{where}: {_NOTHING}")
    note = "".join(f" {word}" for word in [*words, f"noise_level={noise_level}"])
    return Request(Template(ids, None), 0, len(ids), note, name, noise_level=noise_level)


def num_changed(request: Request, pieces: Sequence[NDArray[Any]]) -> int:
    """Bases of an edited sequence that are others than before."""
    before = request.template.ids[request.start : request.end]
    return int((np.concatenate(pieces) != before).sum())
