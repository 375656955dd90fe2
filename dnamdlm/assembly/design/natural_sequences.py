"""Sequences with measured activities: natural ones to compare with, or those of a reward."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.labelled import NUMBERS_ALLOWED, measured_number
from dnamdlm.data.tasks.sequence_inputs import faults_of_dna
from dnamdlm.data.tasks.task_tables import LABEL_COLUMNS, read_label_rows
from dnamdlm.errors import DataError
from dnamdlm.evaluation.tasks.kmer_oracle import KmerOracle, fit_kmer_oracle
from dnamdlm.rewards.sequence_rewards import store_codes

ACTIVITY_COLUMNS = ("activity", *LABEL_COLUMNS)
_LEAST_ROWS = 20
_HIGH_SHARE = 0.1


@dataclass(frozen=True)
class Asked:
    """How the user names a table and its column of activities, for messages."""

    table: str = "natural="
    column: str = "natural_column="


@dataclass(frozen=True)
class Natural:
    """Rows of a table.

    Attributes:
        source: its name, for messages.
        names: of the rows.
        sequences: letters in upper case, ACGT alone.
        activities: float64 (N,), larger is better.
        left_out: rows that were not used, because of N or another code.
        asked: for messages.
    """

    source: str
    names: list[str]
    sequences: list[str]
    activities: NDArray[np.float64]
    left_out: int = 0
    asked: Asked = Asked()

    def __post_init__(self) -> None:
        if len(self.sequences) < _LEAST_ROWS:
            raise DataError(
                f"{self.asked.table}{self.source} has {len(self.sequences)} sequences of A, C, G "
                f"and T; at least {_LEAST_ROWS} are needed"
            )

    @functools.cached_property
    def codes(self) -> list[NDArray[np.uint8]]:
        """Store codes of the sequences."""
        return [store_codes(text) for text in self.sequences]

    @property
    def by_activity(self) -> NDArray[np.int64]:
        """Rows from the most active one on."""
        return np.argsort(-self.activities, kind="stable")

    @property
    def high(self) -> NDArray[np.int64]:
        """Rows of the most active tenth."""
        return self.by_activity[: max(1, round(_HIGH_SHARE * len(self.sequences)))]

    def kmer_oracle(self, seed: int) -> KmerOracle:
        """A regression fitted on half of the rows.

        Raises:
            DataError: if all activities are equal.
        """
        if self.activities.min() == self.activities.max():
            raise DataError(
                f"{self.asked.table}{self.source} has the activity {self.activities[0]:g} in every "
                "row, from which a regression on words learns nothing; name a column that differs "
                f"with {self.asked.column}NAME"
            )
        return fit_kmer_oracle(self.sequences, self.activities, seed=seed)


def read_natural(path: str, column: str | None, asked: Asked | None = None) -> Natural:
    """Read a table of sequences and activities.

    Args:
        path: as `read_label_rows`.
        column: of the activities; None takes one of `ACTIVITY_COLUMNS`.
        asked: for messages; None: as the settings of `design` are called.

    Raises:
        DataError: for a file that cannot be read, or an activity that is not a finite number.
    """
    asked = asked or Asked()
    rows = read_label_rows(Path(path), labelled=False)
    usual = ACTIVITY_COLUMNS if column is None else (column,)
    name = next((item for item in usual if item in rows.table), None)
    if name is None:
        known = ", ".join(rows.table) or "none, since it is no table"
        raise DataError(
            f"{asked.table}{path} has no column {' or '.join(usual)}; name that of the activities "
            f"with {asked.column}NAME, one of {known}"
        )
    texts = rows.table[name]
    activities = np.array([_number(text, path, name, row, asked) for row, text in enumerate(texts)])
    sequences = [text.upper() for text in rows.sequences]
    for row, fault in faults_of_dna(sequences).items():
        raise DataError(f"{path}: sequence {row + 1} ({rows.names[row]!r}) {fault}")
    kept = [row for row, text in enumerate(sequences) if not set(text) - set("ACGT")]
    return Natural(
        path,
        [rows.names[row] for row in kept],
        [sequences[row] for row in kept],
        activities[kept],
        len(sequences) - len(kept),
        asked,
    )


def _number(text: str, path: str, column: str, row: int, asked: Asked) -> float:
    value = measured_number(text)
    if value is None:
        raise DataError(
            f"{path}: row {row + 1} has {text[:40]!r} in the column {column}, which is not "
            f"{NUMBERS_ALLOWED}; remove the row, or name another column with {asked.column}NAME"
        )
    return value
