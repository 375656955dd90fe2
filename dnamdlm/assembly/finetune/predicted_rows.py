"""Rows of what is predicted for, and the columns and lines in which their predictions stand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.data.textfile import plain_cell


@dataclass(frozen=True)
class PredictedRows:
    """What is predicted for.

    Attributes:
        sequences: ids of the model, of the rows that can be read.
        columns: those of the input in their order, with all rows.
        faults: number of each row that cannot be read -> why.
    """

    sequences: SequenceSet
    columns: Mapping[str, Sequence[str]]
    faults: Mapping[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of rows, those with a fault too."""
        return len(self.sequences) + len(self.faults)

    def part(self, first: int, last: int) -> PredictedRows:
        """Some consecutive rows, numbered anew from 0; there may be fewer."""
        last = min(last, self.count)
        low, high = (bisect_left(self._faulty, row) for row in (first, last))
        return PredictedRows(
            self.sequences.stretch(first - low, last - high),
            {name: values[first:last] for name, values in self.columns.items()},
            {row - first: self.faults[row] for row in self._faulty[low:high]},
        )

    def batches(self, together: int) -> Iterator[PredictedRows]:
        """All rows, so many at a time."""
        return (self.part(first, first + together) for first in range(0, self.count, together))

    @classmethod
    def joined(cls, batches: Iterable[PredictedRows]) -> PredictedRows:
        """The rows of several batches, at least one, of the same columns."""
        given = list(batches)
        names = [name for rows in given for name in rows.sequences.names]
        arrays = [rows.sequences[i] for rows in given for i in range(len(rows.sequences))]
        firsts = np.cumsum([0, *(rows.count for rows in given)]).tolist()
        faults = {
            first + row: fault
            for first, rows in zip(firsts, given, strict=False)
            for row, fault in rows.faults.items()
        }
        columns = {
            name: [value for rows in given for value in rows.columns[name]]
            for name in given[0].columns
        }
        return cls(SequenceSet.of(names, arrays), columns, faults)

    @cached_property
    def _faulty(self) -> list[int]:
        return sorted(self.faults)

    def spread(
        self, predicted: Mapping[str, list[Any]], *, has_reasons: bool
    ) -> dict[str, list[Any]]:
        """Predicted columns with all rows, of which those with a fault are empty.

        Args:
            predicted: columns for the rows that can be read.
            has_reasons: whether there is a column `reason`.
        """
        if not has_reasons:
            return dict(predicted)
        columns = {}
        for name, values in predicted.items():
            rest = iter(values)
            columns[name] = ["" if row in self.faults else next(rest) for row in range(self.count)]
        return columns | {"reason": [self.faults.get(row, "") for row in range(self.count)]}


def predicted_columns(
    sequences: SequenceSet, head: Mapping[str, Any], shares: NDArray[np.float64]
) -> dict[str, list[Any]]:
    """Length, predicted class or labels, and a probability or value of each.

    Args:
        sequences: N of them.
        head: the description of a head.
        shares: probabilities or numbers (N, C).
    """
    kind, labels = head["kind"], head["label_names"]
    columns: dict[str, list[Any]] = {"length": sequences.lengths.tolist()}
    if kind == "classes":
        columns["prediction"] = [labels[int(row.argmax())] for row in shares]
    elif kind == "labels":
        columns["prediction"] = [";".join(np.array(labels)[row > 0.5].tolist()) for row in shares]
    stem = "value" if kind == "regression" else "probability"
    return columns | {f"{stem}_{label}": shares[:, i].tolist() for i, label in enumerate(labels)}


def distinct_columns(
    kept: Iterable[str], predicted: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    """The predicted columns; one that the input has too is renamed to NAME_predicted."""
    taken = set(kept)
    renamed: dict[str, list[Any]] = {}
    for name, values in predicted.items():
        free = name
        while free in taken:
            free += "_predicted"
        taken.add(free)
        renamed[free] = values
    return renamed


def head_line(rows: PredictedRows, predicted: Mapping[str, list[Any]]) -> str:
    """The names of the columns of the input and of the predictions."""
    names = (*rows.columns, *distinct_columns(rows.columns, predicted))
    return "\t".join(map(plain_cell, names)) + "\n"


def lines_of(rows: PredictedRows, predicted: Mapping[str, list[Any]]) -> Iterator[str]:
    """The columns of the input and those of the predictions, as lines separated by tabs."""
    cells = [[plain_cell(value) for value in column] for column in rows.columns.values()]
    cells += [
        [f"{value:.6g}" if isinstance(value, float) else str(value) for value in column]
        for column in predicted.values()
    ]
    return ("\t".join(line) + "\n" for line in zip(*cells, strict=True))
