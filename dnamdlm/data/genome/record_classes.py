"""Classes of records: from a table, or one class for a whole genome.

A table has two columns separated by a tab, record and label, one record a line; empty lines and
lines that start with # are skipped. Classes are numbered in the sorted order of their names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import unknown_record
from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError

_UNLABELLED = -1


class PlaceLabels(Protocol):
    """What is known of each record of a store: its class, or numbers."""

    def at(self, starts: NDArray[np.int64]) -> NDArray[Any]:
        """Class (B,), or numbers (B, K), of the record that each store offset lies in."""
        ...


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordLabels:
    """The class of every record of a genome store.

    Attributes:
        names: class names; a label is an index into them.
        offsets: first store offset of each record, increasing; shape (records,).
        values: class of each record, -1 without one; shape (records,).
    """

    names: tuple[str, ...]
    offsets: NDArray[np.int64] = field(repr=False, compare=False)
    values: NDArray[np.int64] = field(repr=False, compare=False)

    @classmethod
    def of_one_class(cls, names: tuple[str, ...], value: int) -> RecordLabels:
        """The same class for every record."""
        return cls(names, np.zeros(1, dtype=np.int64), np.full(1, value, dtype=np.int64))

    @classmethod
    def of_records(
        cls, label_of: Mapping[str, str], offsets: Mapping[str, int], used: Iterable[str]
    ) -> RecordLabels:
        """Classes from record -> label.

        Args:
            label_of: the table.
            offsets: first offset of each record of the genome, in file order.
            used: records that windows are cut from, which all need a label.

        Raises:
            DataError: if a record that is used has no label.
        """
        missing = sorted(set(used) - label_of.keys())
        if missing:
            raise DataError(
                f"data.labels has no label for {len(missing)} records that are trained or "
                f"tested on, such as {missing[0]!r}; add them, or leave them out of the splits"
            )
        names = tuple(sorted(set(label_of.values())))
        number_of = {name: number for number, name in enumerate(names)}
        values = [
            number_of[label_of[record]] if record in label_of else _UNLABELLED for record in offsets
        ]
        return cls(names, np.array(list(offsets.values())), np.array(values))

    def at(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class of the record that each store offset lies in."""
        return self.values[np.searchsorted(self.offsets, starts, side="right") - 1]


def read_labels(path: str | Path, lengths: Mapping[str, int]) -> dict[str, str]:
    """Record -> label from a table.

    Rows of records that the genome does not have are left out, and how many is logged.

    Args:
        path: the table.
        lengths: bases of each record of the genome.

    Raises:
        DataError: for an unreadable file, another number of columns, a repeated record, or no row
            of a record of the genome.
    """
    path = Path(path)
    label_of: dict[str, str] = {}
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in line.split("\t")]
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"{path}: line {number} is {line[:60]!r}; a record, a tab and a label are needed"
            )
        record, label = columns
        if record in label_of:
            raise DataError(f"{path}: line {number} repeats {record!r}; give each record once")
        label_of[record] = label
    elsewhere = [record for record in label_of if record not in lengths]
    if elsewhere and len(elsewhere) == len(label_of):
        raise DataError(
            f"{path}: {unknown_record(elsewhere[0], lengths)}, nor is any other record of the file"
        )
    if elsewhere:
        _log.info(
            "data.labels: rows of records that the genome does not have, such as %s, are left out "
            "(%d in all)", elsewhere[0], len(elsewhere),
        )  # fmt: skip
    label_of = {record: label for record, label in label_of.items() if record in lengths}
    if not label_of:
        raise DataError(f"{path}: has no rows; write a record, a tab and a label on each line")
    return label_of
