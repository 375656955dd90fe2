"""Predictions in parts: batches of rows of the input, and the lines that a part holds.

The sequences of a batch go through the network together, from the shortest to the longest, for one
head after the other. The mean over heads is made where all results of a batch are. Each head is
loaded once for some batches, so that their results are few, however large a part is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.finetune.finetune_settings import PredictedInput, PredictSettings
from dnamdlm.assembly.finetune.head_record import scale_of
from dnamdlm.assembly.finetune.predicted_inputs import batches_of_file
from dnamdlm.assembly.finetune.predicted_rows import (
    PredictedRows,
    head_line,
    lines_of,
    predicted_columns,
)
from dnamdlm.assembly.finetune.spooled_rows import SpooledRows, spooled
from dnamdlm.assembly.runner.part_settings import hash_of_file, surroundings_of
from dnamdlm.data.files import replacing
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.evaluation.tasks.prediction_metrics import probabilities
from dnamdlm.lm.states.heads import calls_of, in_order

TOKENS_AT_ONCE = 4096
ROWS_OF_BATCH = 512
_CALLS_PER_ITEM = 4
# of a head, before it is the turn of the next.
_BATCHES_OF_HEAD = 64


def spooled_input(
    folder: Path, source: str, data: PredictedInput, trust: Sequence[str] = ()
) -> AbstractContextManager[SpooledRows]:
    """The rows of a file to predict for, all of them checked, in batches on the disk.

    Args:
        folder: of a head.
        source: the file.
        data: how it is read.
        trust: packages besides dnamdlm whose classes the head may name.

    Raises:
        ConfigError: for a setting that does not fit the file or the model.
        DataError: for a file that the strict readers refuse.
    """
    return spooled(batches_of_file(folder, source, data, trust, together=ROWS_OF_BATCH))


def spooled_batches(rows: PredictedRows) -> AbstractContextManager[SpooledRows]:
    """Rows in memory, in the batches in which they are predicted."""
    return spooled(rows.batches(ROWS_OF_BATCH))


@dataclass(frozen=True)
class SliceOfInput:
    """Sequences of some calls of the network.

    Attributes:
        head: number of the head that predicts for them.
        sequences: token ids of each, in the order of `calls_of`.
    """

    head: int
    sequences: list[NDArray[np.integer]]


@dataclass(frozen=True)
class BatchesOfInput:
    """The rows of an input, `ROWS_OF_BATCH` at a time, for each of several heads.

    Attributes:
        rows: what is predicted for, in these batches.
        heads: descriptions of the heads.
    """

    rows: SpooledRows
    heads: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.rows)

    def items(self, chosen: Sequence[range]) -> Iterator[SliceOfInput]:
        """Some calls of a head at a time; each head is loaded once for some batches."""
        for numbers in chain.from_iterable(map(self._turns, chosen)):
            for head in range(len(self.heads)):
                for number in numbers:
                    calls, sequences = self._calls(number), self.rows.sequences(number)
                    for first in range(0, len(calls), _CALLS_PER_ITEM):
                        rows = np.concatenate(calls[first : first + _CALLS_PER_ITEM])
                        yield SliceOfInput(head, [sequences[i] for i in rows])

    def _turns(self, numbers: range) -> Iterator[range]:
        """The batches that one head after the other predicts for; a single head needs no turns."""
        size = 1 if len(self.heads) == 1 else _BATCHES_OF_HEAD
        return (numbers[first : first + size] for first in range(0, len(numbers), size))

    def num_items(self, numbers: range) -> int:
        """How many slices all heads have of some batches."""
        return len(self.heads) * sum(map(self._items_of_head, numbers))

    def shares(
        self, numbers: range, results: Iterable[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float64]]:
        """Probabilities or numbers of each batch, the mean over heads, shape (N, C).

        Args:
            numbers: of the batches.
            results: the outputs for their items, in order.
        """
        rest = iter(results)
        for turn in self._turns(numbers):
            found = [
                [list(islice(rest, self._items_of_head(number))) for number in turn]
                for _ in self.heads
            ]
            for place, number in enumerate(turn):
                yield self._mean(self._calls(number), [of_head[place] for of_head in found])

    def _mean(
        self, calls: Sequence[NDArray[np.intp]], results: Sequence[Sequence[NDArray]]
    ) -> NDArray[np.float64]:
        if not calls:
            return np.zeros((0, len(self.heads[0]["label_names"])))
        shares = [
            probabilities(head["kind"], scale_of(head).restore(in_order(calls, outputs)))
            for head, outputs in zip(self.heads, results, strict=True)
        ]
        return sum(shares[1:], start=shares[0]) / len(shares)

    def stretches(
        self, numbers: range, results: Iterable[NDArray[np.float32]]
    ) -> Iterator[Stretch]:
        """The lines of each batch."""
        for number, shares in zip(numbers, self.shares(numbers, results), strict=True):
            rows = self.rows.rows(number)
            predicted = predicted_columns(rows.sequences, self.heads[-1], shares)
            lines = lines_of(rows, rows.spread(predicted, has_reasons=self._has_reasons))
            yield Stretch("".join(lines).encode("utf-8"), rows.count)

    @property
    def head_line(self) -> str:
        """The names of all columns."""
        nothing = np.zeros((0, len(self.heads[-1]["label_names"])))
        empty = self.rows.rows(0).part(0, 0)
        predicted = predicted_columns(empty.sequences, self.heads[-1], nothing)
        return head_line(empty, empty.spread(predicted, has_reasons=self._has_reasons))

    @property
    def _has_reasons(self) -> bool:
        return self.rows.num_faults > 0

    def _calls(self, number: int) -> list[NDArray[np.intp]]:
        return calls_of(self.rows.lengths(number), TOKENS_AT_ONCE)

    def _items_of_head(self, number: int) -> int:
        return math.ceil(len(self._calls(number)) / _CALLS_PER_ITEM)


def identity_of(
    settings: PredictSettings, digests: Sequence[str], rows: SpooledRows, device: Any
) -> dict[str, Any]:
    """What the table depends on, by the name of the setting.

    Args:
        settings: of the command.
        digests: SHA-256 of the weights of each head.
        rows: what is predicted for, which depends on the genome too.
        device: where the heads run.
    """
    return {
        "model": HASHED + " ".join(digests),
        "input": hash_of_file(settings.input),
        "data.fasta": f"{HASHED}{rows.digest()}",
        "data.sequence_column": settings.data.sequence_column,
        "data.rna": settings.data.rna,
        "ops": settings.ops,
        **surroundings_of(device),
    }


def join_predictions(head: Mapping[str, Any], contents: Iterable[IO[bytes]], target: Path) -> None:
    """Write the table from all its parts.

    Raises:
        DataError: if it cannot be written.
    """
    with replacing(target) as partial, partial.open("wb") as file:
        file.write(head["text"].encode("utf-8"))
        for content in contents:
            copyfileobj(content, file)


def predict_facts(head: Mapping[str, Any]) -> str:
    """What a table holds, for people."""
    said = f"predicted {head['num_sequences']} sequences for {head['task']}"
    if head["num_heads"] > 1:
        said += f" with the mean of {head['num_heads']} heads"
    if head["num_faults"]:
        said += f"; {head['num_faults']} rows cannot be read, see the column reason"
    return said
