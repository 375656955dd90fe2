"""Rows with a sequence and labels from CSV, TSV, parquet and FASTA files.

A FASTA header carries its label after the last `|`, as the Nucleotide Transformer tasks have it, or
as `label=VALUE` among its words. Tables need a header line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dnamdlm.data.parquet_batches import parquet_batches, parquet_schema
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.tasks.delimited import SEPARATORS, DelimitedRows, ending_of
from dnamdlm.data.tasks.fasta_rows import FastaRecord, fasta_records
from dnamdlm.errors import DataError

SEQUENCE_COLUMNS = ("sequence", "seq", "text", "sentence", "dna")
LABEL_COLUMNS = ("label", "labels", "class", "target", "y")
NAME_COLUMNS = ("name", "id")
FASTA_ENDINGS = (".fa", ".fasta", ".fna", ".fas", ".ffn", ".frn", ".faa")


@dataclass(frozen=True)
class LabelRows:
    """Rows of a file: names, letters, and one list of label texts per label column (or none).

    `column` is the name of the column of the sequences, `table` has all columns of the file in
    their order (none for FASTA).
    """

    names: list[str]
    sequences: list[str]
    labels: dict[str, list[str]]
    column: str = "sequence"
    table: Mapping[str, list[str]] = field(default_factory=dict)


class LabelRow(NamedTuple):
    """A row of a file: name, letters, all fields of a table, and the label of a FASTA header."""

    name: str
    sequence: str
    fields: Sequence[str] = ()
    label: str = ""


@dataclass(frozen=True)
class OpenLabelRows:
    """A file of sequences, whose rows are read once, one after the other.

    Attributes:
        columns: names of all columns of the file in their order (none for FASTA).
        column: name of that of the sequences.
        labels: names of those of the labels, `label` for FASTA.
        rows: raises `DataError` where the file has a fault, and at the end if there was no row.
    """

    columns: tuple[str, ...]
    column: str
    labels: tuple[str, ...]
    rows: Iterator[LabelRow]


def is_fasta(path: Path) -> bool:
    """Whether the name of a file, in any case and `.gz` aside, ends as FASTA files do."""
    return ending_of(path) in FASTA_ENDINGS


def read_label_rows(
    path: Path,
    *,
    sequence_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    labelled: bool = True,
    rna: bool = False,
) -> LabelRows:
    """Read a file of sequences, with labels if these are wanted.

    Args:
        path: CSV, TSV, parquet or FASTA, the text forms also compressed with gzip.
        sequence_column: name of the column; None takes one of `SEQUENCE_COLUMNS`.
        label_columns: names of the columns; None takes `label`, `labels`, `class`, `target` or `y`.
        labelled: False reads no labels.
        rna: read U in FASTA as T.

    Raises:
        DataError: for a file that is missing, empty, of another kind, or without these columns.
    """
    opened = open_label_rows(
        path,
        sequence_column=sequence_column,
        label_columns=label_columns,
        labelled=labelled,
        rna=rna,
    )
    names: list[str] = []
    sequences: list[str] = []
    header_labels: list[str] = []
    columns: list[list[str]] = [[] for _ in opened.columns]
    for row in opened.rows:
        names.append(row.name)
        sequences.append(row.sequence)
        header_labels.append(row.label)
        for column, value in zip(columns, row.fields, strict=True):
            column.append(value)
    table = dict(zip(opened.columns, columns, strict=True))
    labels = {name: table.get(name, header_labels) for name in opened.labels}
    return LabelRows(names, sequences, labels, opened.column, table)


def open_label_rows(
    path: Path,
    *,
    sequence_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    labelled: bool = True,
    rna: bool = False,
) -> OpenLabelRows:
    """Open a file of sequences to read one row after the other.

    Args:
        path: as `read_label_rows`, and so are the others.
        sequence_column: name of the column.
        label_columns: names of the columns.
        labelled: whether labels are wanted.
        rna: read U in FASTA as T.

    Raises:
        DataError: for a file that is missing, empty, of another kind, or without these columns.
    """
    path = on_disk(path)
    if is_fasta(path):
        rows = _fasta_rows(path, labelled=labelled, rna=rna)
        return OpenLabelRows((), "sequence", ("label",) if labelled else (), _some(rows, path))
    columns, fields = (
        _parquet_rows(path) if ending_of(path) == ".parquet" else _text_rows(path)
    )  # fmt: skip
    sequence = _choose(path, columns, sequence_column, SEQUENCE_COLUMNS, "sequence")
    wanted: list[str] = []
    if labelled:
        wanted = (
            [_choose(path, columns, name, (), "label") for name in label_columns]
            if label_columns
            else [_choose(path, columns, None, LABEL_COLUMNS, "label")]
        )
    rows = _table_rows(columns, fields, sequence)
    return OpenLabelRows(columns, sequence, tuple(wanted), _some(rows, path))


def _some(rows: Iterable[LabelRow], path: Path) -> Iterator[LabelRow]:
    """The rows, of which at least one is needed."""
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty:
        raise no_row(path)


def no_row(path: str | Path) -> DataError:
    """The error for a table without a row."""
    return DataError(f"{path}: the table has no row; at least one sequence is needed")


def _table_rows(
    columns: Sequence[str], rows: Iterable[Sequence[str]], sequence: str
) -> Iterator[LabelRow]:
    place = columns.index(sequence)
    named = next((columns.index(name) for name in NAME_COLUMNS if name in columns), None)
    for number, fields in enumerate(rows, start=1):
        name = f"row_{number}" if named is None else fields[named]
        yield LabelRow(name, fields[place], fields)


def _choose(
    path: Path,
    columns: Collection[str],
    name: str | None,
    usual: Sequence[str],
    what: str,
) -> str:
    candidates = [name] if name is not None else list(usual)
    found = next((candidate for candidate in candidates if candidate in columns), None)
    if found is None:
        raise DataError(
            f"{path}: there is no {what} column {' or '.join(map(repr, candidates))} among "
            f"{', '.join(map(repr, columns))}; name it with data.{what}_column=NAME"
        )
    return found


def _text_rows(path: Path) -> tuple[tuple[str, ...], Iterator[Sequence[str]]]:
    if ending_of(path) not in SEPARATORS:
        raise DataError(
            f"{path}: files that end in {ending_of(path)!r} are not read; use .csv, .tsv, "
            f".parquet or {', '.join(FASTA_ENDINGS)}"
        )
    rows = DelimitedRows(path)
    return rows.names, (fields for _, fields in rows)


def _parquet_rows(path: Path) -> tuple[tuple[str, ...], Iterator[Sequence[str]]]:
    import pandas as pd

    def rows() -> Iterator[Sequence[str]]:
        for batch in parquet_batches(path):
            # numbers keep their type where values are missing, empty fields as in a CSV file.
            table = batch.to_pandas(types_mapper=pd.ArrowDtype)
            columns = [
                ["" if value is pd.NA else str(value) for value in table[name]]
                for name in table.columns
            ]
            yield from zip(*columns, strict=True)

    schema = parquet_schema(path)
    if repeated := [name for name in schema.names if schema.names.count(name) > 1]:
        raise DataError(f"{path}: two columns have the name {repeated[0]!r}; give each its own")
    # the index of a stored DataFrame is no column.
    empty = schema.empty_table().to_pandas(types_mapper=pd.ArrowDtype)
    return tuple(map(str, empty.columns)), rows()


def _fasta_rows(path: Path, *, labelled: bool, rna: bool) -> Iterator[LabelRow]:
    """Records as the reader of genomes gives them, ambiguity codes as N.

    Without labels no name may be used twice, as in a genome. With them names may repeat, as rows of
    a table may: sets of sequences are published so.
    """
    for record in fasta_records(path, rna=rna, repeated_names=labelled):
        if labelled:
            # a label may stand anywhere in a header; without labels the name is all that counts.
            yield LabelRow(record.header, record.letters, (), _header_label(path, record))
        else:
            yield LabelRow(record.header.split()[0], record.letters)


def _header_label(path: Path, record: FastaRecord) -> str:
    header = record.header
    for word in header.split():
        if word.startswith("label="):
            return word.removeprefix("label=")
    name, bar, label = header.rpartition("|")
    if not bar or not name or not label.strip():
        raise DataError(
            f"{path}, line {record.line}: the header {header[:60]!r} has no label; write it "
            "after a '|' at the end or as label=VALUE"
        )
    return label.strip()
