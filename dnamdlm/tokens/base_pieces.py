"""Bases as pieces of several lengths, by a `tokenizer.json` such as that of DNABERT-2.

How a sequence is cut depends on all of it, so that a masked base has no piece. A letter that no
piece has, such as N, is the unknown piece.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.tokens.subwords import OneSentence

_BEGIN, _END, _BASES = "[CLS]", "[SEP]", frozenset("ACGTN")


class BasePieces:
    """A tokenizer of the `tokenizers` library for bases.

    Attributes:
        begin_id: id of the mark before a row.
        end_id: id of the mark behind it.
        size: ids are below it.
    """

    def __init__(self, content: bytes) -> None:
        """Read the tokenizer.

        Args:
            content: of a `tokenizer.json`.

        Raises:
            ConfigError: if the package `tokenizers` is missing.
            DataError: if it cannot be read.
            CheckpointError: if it lacks [CLS] or [SEP], or is not of bases.
        """
        self._tokenizer: Any = _read(content)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        known: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        pieces = [piece for piece in known if not piece.startswith("[")]
        is_of_bases = all(set(piece) <= _BASES for piece in pieces) and set("ACGT") <= set(pieces)
        if not is_of_bases or not {_BEGIN, _END} <= set(known):
            raise CheckpointError(
                f"tokenizer.json: needs {_BEGIN}, {_END} and pieces of A, C, G and T alone, for a "
                "network of bases; give the folder of the original model"
            )
        self.begin_id, self.end_id = known[_BEGIN], known[_END]
        self.size = max(known.values()) + 1

    def cut(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Ids of the pieces of each text, and the piece that each base is in, from 0.

        Args:
            texts: of A, C, G, T and N.
        """
        found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for text, cut in zip(
            texts, self._tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
        ):
            starts = np.array([start for start, _ in cut.offsets], dtype=np.int64)
            owner = np.searchsorted(starts, np.arange(len(text)), side="right") - 1
            found.append((np.array(cut.ids, dtype=np.int64), owner))
        return found


class SinglePieces:
    """Each base as a piece of its own: what a network reads that has no tokenizer yet."""

    begin_id, end_id, size = 5, 6, 7

    def cut(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """As in `BasePieces`.

        >>> SinglePieces().cut(["ACN"])
        [(array([0, 1, 4]), array([0, 1, 2]))]
        """
        rows = [np.array(["ACGTN".index(letter) for letter in text], dtype=np.int64)
                for text in texts]  # fmt: skip
        return [(row, np.arange(len(row))) for row in rows]


@functools.lru_cache(maxsize=4)
def base_pieces(content: bytes) -> BasePieces | SinglePieces:
    """The tokenizer with this content, read once; single bases where it is zeros alone."""
    return BasePieces(content) if any(content) else SinglePieces()


def _read(content: bytes) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "a network of pieces of bases needs the package tokenizers, which is not installed; "
            "install it with pip install 'dnamdlm[text]'"
        ) from error
    with OneSentence("a network of pieces"):
        return tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    return None
