"""Sentences, alone or in pairs, as token ids with the marks of a tokenizer around them.

A sentence is `[CLS] a [SEP]` and a pair `[CLS] a [SEP] b [SEP]`, with whatever marks the tokenizer
has. What is too long loses tokens at the end of the longer of both sentences, never a mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text_tokenizer import TextTokenizer

Sentences = tuple[str, ...]
"""One sentence, or two."""
_EMPTY = "is empty; give it text or remove it"


@dataclass(frozen=True)
class TextEncoder:
    """Text to rows of ids.

    Attributes:
        tokenizer: of the model.
        length: tokens of a row at most, marks included.
    """

    tokenizer: TextTokenizer
    length: int

    def encode(self, names: Sequence[str], texts: Sequence[Sentences], source: str) -> SequenceSet:
        """Ids of N rows of sentences.

        Args:
            names: one per row.
            texts: one or two sentences each.
            source: file name, for messages.

        Raises:
            ConfigError: if pairs have no mark between them, or the rows have no space for text.
            DataError: if a row has no token, or the tokenizer cannot represent it.
        """
        begin, end = self.tokenizer.begin_id, self.tokenizer.end_id
        width = max((len(row) for row in texts), default=1)
        if width > 1 and end is None:
            raise ConfigError(
                f"the tokenizer {self.tokenizer.name} has no mark to put between two sentences; "
                "use a model with another tokenizer"
            )
        capacity = self.length - (begin is not None) - width * (end is not None)
        if capacity < width:
            raise ConfigError(
                f"max_length={self.length} leaves no space for text between the marks; give more"
            )
        parts = [self._ids([row[i] for row in texts], source) for i in range(width)]
        rows = []
        for name, row in zip(names, zip(*parts, strict=True), strict=True):
            if not any(map(len, row)):
                raise DataError(f"{source}: {name} {_EMPTY}")
            kept = _shortened([len(ids) for ids in row], capacity)
            pieces = [np.array([] if begin is None else [begin], dtype=np.int64)]
            for ids, count in zip(row, kept, strict=True):
                pieces += [ids[:count], np.array([] if end is None else [end], dtype=np.int64)]
            rows.append(np.concatenate(pieces).astype(np.int32))
        return SequenceSet.of(names, rows)

    def faults(self, texts: Sequence[Sentences]) -> dict[int, str]:
        """Number of each row that cannot be encoded -> why, in order."""
        found = {}
        for row, sentences in enumerate(texts):
            try:
                parts = self.tokenizer.encode_all(sentences)
            except DataError as error:
                found[row] = str(error)
            else:
                if not any(map(len, parts)):
                    found[row] = _EMPTY
        return found

    def _ids(self, texts: Sequence[str], source: str) -> list[NDArray[np.int64]]:
        try:
            return self.tokenizer.encode_all(texts)
        except DataError as error:
            raise DataError(f"{source}: {error}") from error


def _shortened(lengths: list[int], capacity: int) -> list[int]:
    """Lengths that fit, with tokens taken from the longer one first."""
    if len(lengths) == 1:
        return [min(lengths[0], capacity)]
    first, second = lengths
    excess = max(0, first + second - capacity)
    # first the longer one down to the other, then both in turn.
    alone = min(excess, abs(first - second))
    first, second = (first - alone, second) if first > second else (first, second - alone)
    rest = excess - alone
    return [first - rest // 2, second - (rest - rest // 2)]


def chosen(columns: dict[str, list[str]], names: Sequence[str], path: Path) -> list[list[str]]:
    """Some columns of a table.

    Raises:
        DataError: if one is not there.
    """
    for name in names:
        if name not in columns:
            raise DataError(
                f"{path}: there is no column {name!r} among {', '.join(map(repr, columns))}; the "
                "published file has it, so download it again or rename yours"
            )
    return [columns[name] for name in names]
