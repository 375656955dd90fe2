"""How well the scores of a table rank its labelled rows, compared with scores without a network.

A row takes part if it has one other allele, a label, and all scores, so that every score sees the
same rows and the same resamples.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.score.score_settings import ScoreEntry
from dnamdlm.assembly.score.variant_baselines import (
    MARKOV,
    NO_CPG,
    TRANSVERSION,
    Baselines,
    chain_of_training,
)
from dnamdlm.data.textfile import read_lines
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.data.variants.variant_sources import VariantSource
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.auroc import auroc
from dnamdlm.evaluation.rankings import (
    RowFigure,
    average_precision,
    clustered_estimates,
    neighbours,
    rows_of_groups,
)
from dnamdlm.evaluation.resampling import Estimate

POSITIVE = frozenset({
    "1", "true", "p", "lof", "pathogenic", "likely pathogenic", "pathogenic/likely pathogenic"
})  # fmt: skip
NEGATIVE = frozenset({
    "0", "false", "b", "func", "benign", "likely benign", "benign/likely benign"
})  # fmt: skip
"""Labels that are known, in lower case, ClinVar's words with spaces; a row with another one is left
out."""
_BLOCK, _BATCH_ROWS = 1000, 4096
_MOST_GROUPS = 20
_SEED = 0
# an allele of a positive row is expected to be less probable, or to change more.
_SIGNS = {
    "llr": -1.0, "delta_elbo": -1.0, "cosine_distance": 1.0, "l2_distance": 1.0,
    TRANSVERSION: 1.0, NO_CPG: 1.0, MARKOV: -1.0,
}  # fmt: skip


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a table that take part.

    Attributes:
        is_positive: (N,).
        scores: name -> larger where a positive row is expected, (N,).
        clusters: what depends on each other, (N,), and what it is called.
        groups: group of each row, (N,), or None.
        left_out: how many rows do not take part.
    """

    is_positive: NDArray[np.bool_]
    scores: Mapping[str, NDArray[np.float64]]
    clusters: tuple[str, NDArray[Any]]
    groups: NDArray[np.str_] | None
    left_out: int


def baselines_for(
    settings: ScoreEntry, file: VariantSource, places: Places, loaded: LoadedModel
) -> Baselines | None:
    """What scores are compared with where there are labels, which are checked.

    Args:
        settings: of the command.
        file: the variants.
        places: where they lie in the genome.
        loaded: the model.

    Raises:
        ConfigError: for a column that is not there.
        DataError: for labels of one kind alone.
    """
    if settings.label_column is None:
        return None
    check_labels(file, settings.label_column, settings.group_column)
    return Baselines(places, chain_of_training(loaded, settings.max_order))


def check_labels(file: VariantSource, label: str, group: str | None) -> None:
    """Check that the columns are there, and that there are labels of both kinds.

    Raises:
        ConfigError: for a column that is not there.
        DataError: for labels of one kind alone.
    """
    for setting, name in (("label_column", label), ("group_column", group)):
        if name is not None and name not in file.extras:
            found = ", ".join(file.extras) or "no further columns"
            raise ConfigError(
                f"{setting}={name} is not a column of {file.path} besides the variants; it has "
                f"{found}"
            )
    place = file.extras.index(label)
    kinds = {label_of(row.extras[place]) for row in file.rows()}
    if not {True, False} <= kinds:
        raise DataError(
            f"{file.path}: the column {label!r} has no labels of both kinds; write 1 and 0, or "
            "pathogenic and benign"
        )


def label_of(text: str) -> bool | None:
    """Whether a label is that of a positive row; None for another text.

    >>> label_of("Likely_pathogenic"), label_of("0"), label_of(".")
    (True, False, None)
    """
    word = text.strip().lower().replace("_", " ")
    return True if word in POSITIVE else False if word in NEGATIVE else None


def label_report(path: Path, head: Mapping[str, Any]) -> str:
    """The figures of a finished table, as lines of text.

    Args:
        path: the table.
        head: `label` and `group`, names of its columns, and `scores`, those of its scores.
    """
    rows = _read(path, head)
    size, positive = len(rows.is_positive), int(rows.is_positive.sum())
    said = f"labels: {size:,} rows, {positive:,} positive; {rows.left_out:,} left out"
    if not 0 < positive < size:
        return f"{said}; none of both kinds is left to compare"
    lines = [f"{said}; intervals of 95 % resample {rows.clusters[0]}"]
    lines += _table(_estimates(rows, np.arange(size)))
    if rows.groups is not None:
        found = rows_of_groups(rows.groups)
        found.sort(key=len, reverse=True)
        for members in found[:_MOST_GROUPS]:
            flags = rows.is_positive[members]
            name = f"{head['group']}={rows.groups[members[0]]}"
            lines.append(f"{name}: {len(members):,} rows, {int(flags.sum()):,} positive")
            if flags.any() and not flags.all():
                lines += _table(_estimates(rows, members))
        if len(found) > _MOST_GROUPS:
            lines.append(f"and {len(found) - _MOST_GROUPS:,} smaller groups")
    return "\n".join(lines)


def _estimates(rows: LabelledRows, members: NDArray[np.int64]) -> dict[str, dict[str, Estimate]]:
    """Score -> figure -> value with its interval."""
    flags, clusters = rows.is_positive[members], rows.clusters[1][members]
    found = {}
    for name, every in rows.scores.items():
        values = every[members]
        figures: dict[str, RowFigure] = {
            "AUROC": lambda at, _, values=values: auroc(flags[at], values[at]),
            "AUPRC": lambda at, _, values=values: average_precision(flags[at], values[at]),
        }
        found[name] = clustered_estimates(figures, clusters, np.random.default_rng(_SEED))
    return found


def _table(found: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    width = max(map(len, found))
    return [
        f"  {name:<{width}}  "
        + "  ".join(f"{figure} {_shown(value)}" for figure, value in figures.items())
        for name, figures in found.items()
    ]


def _shown(value: Estimate) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


class _Words:
    """Texts of which there are few, as numbers."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._rows = array("q")

    def add(self, text: str) -> None:
        self._rows.append(self._numbers.setdefault(text, len(self._numbers)))

    def texts(self) -> NDArray[np.str_]:
        return np.array(list(self._numbers), np.str_)[np.array(self._rows, np.int64)]


def _read(path: Path, head: Mapping[str, Any]) -> LabelledRows:
    """The rows that take part, of which some numbers each are kept."""
    names = list(head["scores"])
    wanted = ["chrom", "pos", "alt", head["label"], *([head["group"]] if head["group"] else [])]
    flags, pos, values = array("b"), array("q"), array("d")
    chrom, groups = _Words(), _Words()
    left_out = 0
    for row in _rows(path, [*wanted, *names]):
        label = label_of(row[3])
        numbers = [_number(cell) for cell in row[len(wanted) :]]
        if label is None or any(map(math.isnan, numbers)):
            left_out += 1
            continue
        flags.append(label)
        values.extend(numbers)
        chrom.add(row[0])
        pos.append(int(row[1]))
        if head["group"]:
            groups.add(row[4])
    table = np.array(values, np.float64).reshape(-1, len(names))
    scores = {
        f"{'minus ' if _SIGNS[name] < 0 else ''}{name}": _SIGNS[name] * table[:, number]
        for number, name in enumerate(names)
    }
    return LabelledRows(
        np.array(flags, bool),
        scores,
        neighbours(chrom.texts(), np.array(pos, np.int64), _BLOCK),
        groups.texts() if head["group"] else None,
        left_out,
    )


def _rows(path: Path, names: Sequence[str]) -> Iterator[list[str]]:
    """Cells of these columns; a list with one entry is that entry."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(names)):
                for record in batch.to_pylist():
                    yield [_cell(record[name]) for name in names]
        return
    lines = (line for _, line in read_lines(path) if not line.startswith("##"))
    header = next(lines).split("\t")
    places = [header.index(name) for name in names]
    for line in lines:
        cells = line.split("\t")
        yield [cells[place] for place in places]


def _cell(value: Any) -> str:
    if isinstance(value, list):
        # with the digits of a table of text, so that both give the same figures.
        return ",".join(f"{x:.6g}" if isinstance(x, float) else str(x or ".") for x in value)
    return "" if value is None else str(value)


def _number(cell: str) -> float:
    """The number, nan for what is missing and for the numbers of several alleles."""
    try:
        return float(cell)
    except ValueError:
        return math.nan
