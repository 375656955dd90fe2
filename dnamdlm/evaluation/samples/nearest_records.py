"""The nearest of many short sequences, such as the rows of a table, for each of some designs.

Candidates are the records that share most words of 8 bases with a design or its reverse complement;
these are aligned. So the identity is that of an actual alignment, and a record that is nearer and
shares fewer words may be missed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dnamdlm.tokens.nucleotide import reverse_complement
from dnamdlm.words.edits import edit_distance
from dnamdlm.words.kmers import pack_contexts

WORD = 8
_CANDIDATES = 4


def nearest_records(
    designs: Sequence[NDArray[np.uint8]], records: Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of the nearest record of each design, and the identity with it.

    The identity is 1 - edit distance / length of the longer one, the better of both strands.

    Args:
        designs: store codes of N sequences.
        records: store codes of M sequences, M at least 1.

    >>> import numpy as np
    >>> records = [np.array([0, 1, 2, 3] * 4, np.uint8), np.array([0, 0, 3, 2] * 4, np.uint8)]
    >>> [found.tolist() for found in nearest_records([records[1].copy()], records)]
    [[1], [1.0]]
    """
    table = _has_words(records)
    places = np.zeros(len(designs), np.int64)
    identities = np.full(len(designs), -np.inf)
    for strand in (list(designs), [reverse_complement(item) for item in designs]):
        shared = (_has_words(strand) @ table.T).toarray()
        count = min(_CANDIDATES, len(records))
        candidates = np.argsort(-shared, axis=1, kind="stable")[:, :count]
        for number, (text, near) in enumerate(zip(strand, candidates, strict=True)):
            for place in near.tolist():
                longer = max(len(text), len(records[place]), 1)
                identity = 1 - edit_distance(text, records[place]) / longer
                if identity > identities[number]:
                    places[number], identities[number] = place, identity
    return places, identities


def _has_words(sequences: Sequence[NDArray[np.uint8]]) -> sparse.csr_matrix:
    """1 where a sequence has a word, (N, 4^8)."""
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, sequence in enumerate(sequences):
        words, depth = pack_contexts(sequence, WORD - 1)
        found = np.unique(words[depth >= WORD] & (4**WORD - 1))
        rows.append(np.full(len(found), number))
        columns.append(found.astype(np.int64))
    place = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(
        (np.ones(len(place[0]), np.float32), place), shape=(len(sequences), 4**WORD)
    )
