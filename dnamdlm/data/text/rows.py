"""Rows of token ids from prepared text: packed blocks, or one padded document each.

Shapes: B rows, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.data.order import SampleOrder
from dnamdlm.data.stream import TrainingRows
from dnamdlm.data.text.shards import CorpusSplit
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import DataError

Layout = Literal["packed", "padded"]


@dataclass(frozen=True)
class RowRule:
    """How rows are cut out of a split.

    Attributes:
        length: positions per row.
        layout: "packed" cuts the whole split into blocks, whatever the documents; "padded" has one
            document per row, cut to the length or padded.
        begin_id: mark at the beginning of each row, or None.
        end_id: mark at the end of each row, or None.
        pad_id: fills the positions after a row that is too short.
        ends_stored: documents end with a mark in the shards.
        score_marks: the marks are masked and scored like text; otherwise they are always visible.
    """

    length: int
    layout: Layout
    begin_id: int | None
    end_id: int | None
    pad_id: int
    ends_stored: bool
    score_marks: bool

    @property
    def capacity(self) -> int:
        """Positions of a row without its marks."""
        return self.length - (self.begin_id is not None) - (self.end_id is not None)


class Rows:
    """All rows of a split under one numbering.

    Args:
        split: the documents.
        rule: how rows are cut.
        name: of the split, for messages.
        slide_back: move the last block back so that it is full; otherwise it is padded and no
            token comes twice.

    Raises:
        DataError: if the split is empty, or shorter than one block.
    """

    def __init__(self, split: CorpusSplit, rule: RowRule, name: str, *, slide_back: bool) -> None:
        self.split, self.rule = split, rule
        if not split.num_tokens:
            raise DataError(f"the {name} split is empty; prepare the corpus with a {name} split")
        if rule.layout == "packed" and slide_back and split.num_tokens < rule.capacity:
            raise DataError(
                f"the {name} split has {split.num_tokens:,} tokens, which is less than one block "
                f"of {rule.capacity:,}; use a shorter data.length or a larger corpus"
            )
        if rule.layout == "packed":
            first = np.arange(0, split.num_tokens, rule.capacity, dtype=np.int64)
            last = split.num_tokens - rule.capacity
            self._starts = np.minimum(first, last) if slide_back else first
            self._ends = np.minimum(self._starts + rule.capacity, split.num_tokens)
        else:
            ends = split.document_ends
            self._starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
            self._ends = np.minimum(ends - rule.ends_stored, self._starts + rule.capacity)

    @property
    def length(self) -> int:
        """Positions per row."""
        return self.rule.length

    def __len__(self) -> int:
        return len(self._starts)

    def batch(
        self,
        items: NDArray[np.int64],
        keys: NDArray[np.int64],
        rows: NDArray[np.int64],
        size: int,
    ) -> Batch:
        """Rows as a batch; `rows` are their places in a global batch of `size`."""
        rule = self.rule
        tokens = np.full((len(items), rule.length), rule.pad_id, dtype=np.int64)
        present = np.zeros(tokens.shape, dtype=bool)
        valid = np.zeros(tokens.shape, dtype=bool)
        begin, end = self._starts[items], self._ends[items]
        offset = int(rule.begin_id is not None)
        for row, (start, stop) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            last = offset + stop - start
            tokens[row, offset:last] = self.split.read(start, stop)
            valid[row, offset:last] = True
            if rule.begin_id is not None:
                tokens[row, 0] = rule.begin_id
                valid[row, 0] = rule.score_marks
            if rule.end_id is not None:
                tokens[row, last] = rule.end_id
                # the end of a document is information; the end of a block is not.
                valid[row, last] = rule.score_marks or rule.layout == "padded"
                last += 1
            present[row, :last] = True
        return Batch(
            tokens=torch.from_numpy(tokens),
            present=torch.from_numpy(present),
            valid=torch.from_numpy(valid),
            weight=None,
            key=torch.from_numpy(keys),
            row=torch.from_numpy(rows),
            global_size=size,
            start=torch.from_numpy(begin),
        )


@dataclass(frozen=True)
class TextRows(TrainingRows):
    """Rows in the order of a `SampleOrder`.

    Attributes:
        rows: what to draw from.
        seed: of order and noise keys.
    """

    rows: Rows
    seed: int

    def at(self, positions: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> Batch:
        """The rows at consecutive positions, see `TrainingRows`."""
        items = SampleOrder(len(self.rows), self.seed).indices(positions)
        keys = row_keys(self.seed, torch.from_numpy(positions)).numpy()
        return self.rows.batch(items, keys, rows, size)
