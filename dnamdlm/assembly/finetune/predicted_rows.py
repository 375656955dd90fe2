"""What is predicted: the rows of an input file, and the table in which their predictions stand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.finetune.finetune_settings import PredictedInput
from dnamdlm.assembly.finetune.head_record import head_of
from dnamdlm.assembly.finetune.text_tasks import encoder_of
from dnamdlm.assembly.modality import Text
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import read_bed
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.tasks.delimited import ending_of, read_delimited
from dnamdlm.data.tasks.sentences import TextEncoder, chosen
from dnamdlm.data.tasks.sequence_inputs import (
    SequenceSet,
    encode_dna,
    faults_of_dna,
    interval_ids,
    warn_of_n_alone,
)
from dnamdlm.data.tasks.task_tables import NAME_COLUMNS, read_label_rows
from dnamdlm.data.textfile import plain_cell
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.checkpoint import verify_folder


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


def input_of(
    folder: Path, source: str, data: PredictedInput, trust: Sequence[str] = ()
) -> PredictedRows:
    """The sequences or texts of a file to predict for, as ids of the model of a head."""
    verify_folder(folder)
    head = head_of(folder)
    modality = ModelConfig.stored(head["model_config"], trust).modality
    if not isinstance(modality, Text):
        return read_input(source, data)
    encoder = encoder_of(modality, head["windows"]["length"])
    return read_texts(source, data, head.get("text_columns", ()), encoder)


def read_input(path: str, data: PredictedInput) -> PredictedRows:
    """Sequences of a FASTA file, a table, or the intervals of a BED file.

    Intervals on the reverse strand are reverse-complemented.

    Raises:
        ConfigError: for a BED file without its genome.
        DataError: for a file that the strict readers refuse.
    """
    if ending_of(on_disk(path)) != ".bed":
        return _read_table(path, data)
    if data.fasta is None:
        raise ConfigError(f"input={path} is a BED file and needs its genome; give data.fasta=FILE")
    store = open_genome(data.fasta, cache_dir=data.cache_dir, rna=data.rna)
    table = read_bed(path, store.lengths)
    names, arrays = [], []
    for interval, name in zip(table.intervals, table.names, strict=True):
        arrays.append(interval_ids(store, interval))
        names.append(name if name not in (None, ".") else str(interval))
    columns = {
        "chrom": [interval.chrom for interval in table.intervals],
        "start": [str(interval.start) for interval in table.intervals],
        "end": [str(interval.end) for interval in table.intervals],
        "name": names,
        "strand": [interval.strand for interval in table.intervals],
    }
    sequences = SequenceSet.of(names, arrays)
    warn_of_n_alone(sequences, path)
    return PredictedRows(sequences, columns)


def _read_table(path: str, data: PredictedInput) -> PredictedRows:
    """Sequences of a table or a FASTA file; a row that is no DNA has a fault in place of ids."""
    rows = read_label_rows(
        Path(path), sequence_column=data.sequence_column, labelled=False, rna=data.rna
    )
    faults = faults_of_dna(rows.sequences, rna=data.rna)
    kept = [row for row in range(len(rows.names)) if row not in faults]
    # without one good row the input is of another kind, and the first fault says of which.
    chosen_rows = kept or range(len(rows.names))
    sequences = encode_dna(
        [rows.names[row] for row in chosen_rows],
        [rows.sequences[row] for row in chosen_rows],
        path,
        rna=data.rna,
    )
    return PredictedRows(sequences, _with_names(rows.table, rows.names), faults)


def _with_names(table: Mapping[str, list[str]], names: list[str]) -> Mapping[str, list[str]]:
    """The columns of a table, after one of names where it has none."""
    return table if any(name in table for name in NAME_COLUMNS) else {"name": names, **table}


def read_texts(
    path: str, data: PredictedInput, columns: Sequence[str], encoder: TextEncoder
) -> PredictedRows:
    """Texts of a table, in the columns that the task had, as ids of a model of text.

    In a `.csv` file quotes group fields; in a `.tsv` file they are letters. A row without text has
    a fault in place of ids.

    Raises:
        ConfigError: for a setting that is for DNA.
        DataError: for a file that is missing, or without these columns.
    """
    for key, is_given in (("fasta", data.fasta is not None), ("rna", data.rna)):
        if is_given:
            raise ConfigError(
                f"data.{key} is for models of DNA, and this is one of text; leave it out"
            )
    if ending_of(on_disk(path)) not in (".csv", ".tsv"):
        raise ConfigError(
            f"input={path} must end in .csv or .tsv for a model of text, with the columns "
            f"{', '.join(columns)}"
        )
    if data.sequence_column is not None:
        if len(columns) != 1:
            raise ConfigError(
                f"data.sequence_column={data.sequence_column} names one column, and this head "
                f"reads {' and '.join(columns)}; leave it out and name the columns so"
            )
        columns = (data.sequence_column,)
    table = read_delimited(on_disk(path)).columns
    texts = list(zip(*chosen(table, columns, Path(path)), strict=True))
    count = len(texts)
    name_column = next((name for name in NAME_COLUMNS if name in table), None)
    names = table[name_column] if name_column else [f"row_{row + 1}" for row in range(count)]
    faults: dict[int, str] = {}
    try:
        sequences = encoder.encode(names, texts, path)
    except DataError:
        faults = encoder.faults(texts)
        kept = [row for row in range(count) if row not in faults]
        if not kept:
            raise
        sequences = encoder.encode([names[row] for row in kept], [texts[row] for row in kept], path)
    return PredictedRows(sequences, _with_names(table, names), faults)


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
