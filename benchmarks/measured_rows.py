"""Tables of sequences with measured activities, for benchmarks of designs and of predictions."""

from __future__ import annotations

import argparse
import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.class_rows import copies
from benchmarks.results_table import mean_interval
from dnamdlm.data.files import write_text
from dnamdlm.errors import DataError
from dnamdlm.evaluation.tasks.kmer_oracle import fit_on_words
from dnamdlm.evaluation.tasks.prediction_metrics import figure_intervals, figures

_LEAST_ROWS = 100
_SEVENTHS = 7
_WORDS = (2, 3, 4, 5, 6)


@dataclass(frozen=True)
class MeasuredRows:
    """Sequences of one length with activities.

    Attributes:
        texts: letters (N,).
        values: activities, float64 (N,).
    """

    texts: list[str]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.texts)

    def taken(self, rows: NDArray[np.integer]) -> MeasuredRows:
        """Some of the rows."""
        return MeasuredRows([self.texts[row] for row in rows], self.values[rows])


@dataclass(frozen=True)
class RowSettings:
    """How a table is read.

    Attributes:
        column: of the activities.
        start: first base that is taken of each sequence.
        length: bases that are taken.
        whole: bases of a sequence that is taken from; others are left out.
        log: use log(1 + max(activity, 0)).
        place: column of a place in a genome, whose regions alternate between the halves; None
            draws the halves at random.
        region: bases of a region.
    """

    column: str
    start: int
    length: int
    whole: int
    log: bool = False
    place: str | None = None
    region: int = 50_000


@dataclass(frozen=True)
class ReadRows:
    """The rows of a table.

    Attributes:
        rows: each sequence once.
        regions: number of the region of each place, int64 (N,); None without a column of places.
        left_out: what was not taken -> rows.
    """

    rows: MeasuredRows
    regions: NDArray[np.int64] | None
    left_out: dict[str, int]


@dataclass(frozen=True)
class Parts:
    """The rows of a table to learn from, to choose by and to test on.

    Attributes:
        train: five regions of seven, or as many rows.
        valid: without near copies of train.
        test: without near copies of the others.
        left_out: what was not taken -> rows.
    """

    train: MeasuredRows
    valid: MeasuredRows
    test: MeasuredRows
    left_out: dict[str, int]


def add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that reads a table of activities in parts."""
    parser.add_argument("--table", required=True, type=Path)
    parser.add_argument("--column", required=True, help="of the activities")
    parser.add_argument("--length", required=True, type=int, help="bases that are read")
    parser.add_argument("--whole", type=int, help="bases of a sequence; default: length")
    parser.add_argument("--start", type=int, default=0, help="first base that is read")
    parser.add_argument("--log", action="store_true", help="log(1 + max(activity, 0))")
    parser.add_argument("--place", help="column of places, whose regions divide the rows")
    parser.add_argument("--region", type=int, default=50_000, help="bases of a region")


def row_settings(arguments: argparse.Namespace) -> RowSettings:
    """How the table of these arguments is read."""
    return RowSettings(
        arguments.column, arguments.start, arguments.length, arguments.whole or arguments.length,
        arguments.log, arguments.place, arguments.region,
    )  # fmt: skip


def read_measured(path: Path, settings: RowSettings) -> ReadRows:
    """Read a table with a column of sequences.

    Raises:
        DataError: if a column is missing.
    """
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="," if ".csv" in path.name else "\t"))
    for name in filter(None, ("sequence", settings.column, settings.place)):
        if not table or name not in table[0]:
            raise DataError(f"{path} has no column {name}; name one that it has")
    first, last = settings.start, settings.start + settings.length
    seen: dict[str, tuple[float, str]] = {}
    other = unplaced = 0
    for row in table:
        text = row["sequence"].upper()
        if len(text) != settings.whole or set(text[first:last]) - set("ACGT"):
            other += 1
            continue
        place = row[settings.place] if settings.place else ""
        if settings.place and not place.isdecimal():
            unplaced += 1
            continue
        seen.setdefault(text[first:last], (float(row[settings.column]), place))
    values = np.array([value for value, _ in seen.values()])
    if settings.log:
        values = np.log1p(np.maximum(values, 0))
    regions = None
    if settings.place:
        regions = np.array([int(place) // settings.region for _, place in seen.values()], np.int64)
    left_out = {
        "of another length, or with other letters": other,
        "without a place": unplaced,
        "repeated": len(table) - other - unplaced - len(seen),
    }
    return ReadRows(MeasuredRows(list(seen), values), regions, left_out)


def write_rows(path: Path, rows: MeasuredRows, column: str = "activity") -> None:
    """Write a table with the columns sequence and `column`."""
    pairs = zip(rows.texts, rows.values.tolist(), strict=True)
    lines = [f"sequence\t{column}", *(f"{text}\t{value!r}" for text, value in pairs)]
    write_text(path, "\n".join(lines) + "\n")


def write_parts(folder: Path, parts: Parts) -> None:
    """Write `train.tsv`, `valid.tsv` and `test.tsv` with the columns sequence and activity."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", parts.train), ("valid", parts.valid), ("test", parts.test)):
        write_rows(folder / f"{name}.tsv", rows)


@dataclass(frozen=True)
class Floor:
    """What something simple predicts of the test rows.

    Attributes:
        name: shown in a table.
        figures: pearson, spearman and r2.
        intervals: of the same figures, 95 % over rows, as text.
    """

    name: str
    figures: dict[str, float]
    intervals: dict[str, str]


def floors(parts: Parts) -> list[Floor]:
    """Ridge regression on shares of bases, and on words of the length that valid chooses."""
    train, valid = ((rows.texts, rows.values) for rows in (parts.train, parts.valid))
    targets = parts.test.values[:, None]
    found: list[Floor] = []
    for sizes in ((1,), _WORDS):
        oracle = fit_on_words(train, valid, sizes)
        outputs = oracle.batch(parts.test.texts)[:, None]
        intervals = figure_intervals("regression", targets, outputs, repeats=200, seed=1)
        name = "composition" if oracle.k == 1 else f"words of {oracle.k}, length chosen"
        own = figures("regression", targets, outputs)
        found.append(
            Floor(name, own, {key: mean_interval([reach]) for key, reach in intervals.items()})
        )
    return found


def read_parts(path: Path, settings: RowSettings) -> Parts:
    """Read a table in three parts, by regions of the genome where it has places.

    Raises:
        DataError: if a column is missing, or a part has too few rows.
    """
    found = read_measured(path, settings)
    chosen = found.regions
    if chosen is None:
        chosen = np.random.default_rng(0).permutation(len(found.rows))
    seventh = chosen % _SEVENTHS
    train, valid, test = (
        found.rows.taken(np.flatnonzero(part)) for part in (seventh > 1, seventh == 1, seventh == 0)
    )
    valid_kept = valid.taken(np.flatnonzero(~copies(train.texts, valid.texts)))
    test_kept = test.taken(np.flatnonzero(~copies(train.texts + valid.texts, test.texts)))
    near = len(valid) - len(valid_kept) + len(test) - len(test_kept)
    if min(map(len, (train, valid_kept, test_kept))) < _LEAST_ROWS:
        raise DataError(
            f"{path} gives {len(train)}, {len(valid_kept)} and {len(test_kept)} rows of "
            f"{settings.whole} bases; each part needs {_LEAST_ROWS}"
        )
    left_out = found.left_out | {"near copies between parts": near}
    return Parts(train, valid_kept, test_kept, left_out)
