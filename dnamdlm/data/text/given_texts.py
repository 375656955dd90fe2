"""Rows of texts in memory, cut as the rows of a corpus are (`dnamdlm.data.text.rows`).

No row contains two texts: the blocks of a packed layout start again with each text, and the last
block of a text is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.text.rows import RowRule, Rows
from dnamdlm.data.text.shards import CorpusSplit
from dnamdlm.errors import DataError
from dnamdlm.tokens.text_tokenizer import TextTokenizer


class GivenTexts(CorpusSplit):
    """Ids in memory, read like those of a split.

    Attributes:
        ids: of all texts, one after another.
    """

    ids: NDArray[np.int64]

    def __init__(self, ids: NDArray[np.int64]) -> None:
        """Keep the ids."""
        super().__init__(Path(), {}, ids.dtype)
        object.__setattr__(self, "ids", ids)

    @property
    def num_tokens(self) -> int:
        """Ids in all."""
        return len(self.ids)

    def read(self, start: int, end: int) -> NDArray[np.int64]:
        """The ids at start <= i < end, copied."""
        return self.ids[start:end].copy()


class GivenRows(Rows):
    """Rows of texts, each of which has one or, where the layout is packed, several.

    Args:
        texts: at least one; none may be empty.
        rule: how rows are cut.
        tokenizer: text to ids; its end mark stands after each text, as in a corpus.

    Attributes:
        owner: int64 (R,), the text of each row.

    Raises:
        DataError: for a text that is empty, that the tokenizer cannot represent, or that is longer
            than a row where each has one row.
    """

    def __init__(self, texts: Sequence[str], rule: RowRule, tokenizer: TextTokenizer) -> None:
        starts, ends, owner, parts, offset = [], [], [], [], 0
        end = np.array([] if tokenizer.end_id is None else [tokenizer.end_id], dtype=np.int64)
        for number, text in enumerate(texts):
            ids = _ids(text, number, tokenizer)
            if rule.layout == "padded":
                if len(ids) > rule.capacity:
                    raise DataError(
                        f"text {number + 1} has {len(ids)} tokens, and a row of this model holds "
                        f"one text of at most {rule.capacity}; cut the text"
                    )
                first = np.array([0])
                last = np.array([len(ids)])
            else:
                size = len(ids) + len(end)
                first = np.arange(0, size, rule.capacity)
                last = np.minimum(first + rule.capacity, size)
            starts.append(first + offset)
            ends.append(last + offset)
            owner.append(np.full(len(first), number))
            parts += [ids, end]
            offset += len(ids) + len(end)
        self.split, self.rule = GivenTexts(np.concatenate(parts)), rule
        self._starts = np.concatenate(starts).astype(np.int64)
        self._ends = np.concatenate(ends).astype(np.int64)
        self.owner: NDArray[np.int64] = np.concatenate(owner).astype(np.int64)


def _ids(text: str, number: int, tokenizer: TextTokenizer) -> NDArray[np.int64]:
    try:
        ids = tokenizer.encode(text)
    except DataError as error:
        raise DataError(f"text {number + 1}: {error}") from error
    if not len(ids):
        raise DataError(
            f"text {number + 1} is empty, or contains nothing that the tokenizer {tokenizer.name} "
            "keeps; leave it out"
        )
    return ids
