"""Rows with a sequence and labels from CSV, TSV, parquet and FASTA files.

A FASTA header carries its label after the last `|`, as the Nucleotide Transformer tasks have it, or
as `label=VALUE` among its words. Tables need a header line.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dnamdlm.data.genome.fasta import FastaReader
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.tasks.delimited import SEPARATORS, ending_of, read_delimited
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import BASE_CODES
from dnamdlm.words.codes import CODE_MASK

logger = logging.getLogger(__name__)

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
    path = on_disk(path)
    if is_fasta(path):
        rows = _read_fasta(path, labelled=labelled, rna=rna)
    else:
        table = _read_parquet(path) if ending_of(path) == ".parquet" else _read_text(path)
        sequence = _choose(path, table, sequence_column, SEQUENCE_COLUMNS, "sequence")
        wanted: list[str] = []
        if labelled:
            wanted = (
                [_choose(path, table, name, (), "label") for name in label_columns]
                if label_columns
                else [_choose(path, table, None, LABEL_COLUMNS, "label")]
            )
        count = len(table[sequence])
        name_column = next((name for name in NAME_COLUMNS if name in table), None)
        names = table[name_column] if name_column else [f"row_{i + 1}" for i in range(count)]
        labels = {name: table[name] for name in wanted}
        rows = LabelRows(names, table[sequence], labels, sequence, table)
    if not rows.sequences:
        raise DataError(f"{path}: the table has no row; at least one sequence is needed")
    return rows


def _choose(
    path: Path,
    table: dict[str, list[str]],
    name: str | None,
    usual: Sequence[str],
    what: str,
) -> str:
    candidates = [name] if name is not None else list(usual)
    found = next((candidate for candidate in candidates if candidate in table), None)
    if found is None:
        raise DataError(
            f"{path}: there is no {what} column {' or '.join(map(repr, candidates))} among "
            f"{', '.join(map(repr, table))}; name it with data.{what}_column=NAME"
        )
    return found


def _read_text(path: Path) -> dict[str, list[str]]:
    if ending_of(path) not in SEPARATORS:
        raise DataError(
            f"{path}: files that end in {ending_of(path)!r} are not read; use .csv, .tsv, "
            f".parquet or {', '.join(FASTA_ENDINGS)}"
        )
    return read_delimited(path).columns


def _read_parquet(path: Path) -> dict[str, list[str]]:
    import pandas as pd

    try:
        # numbers keep their type where values are missing, which are empty fields as in a CSV file.
        table = pd.read_parquet(path, dtype_backend="pyarrow")
    except ImportError as error:
        raise DataError(
            f"{path}: reading parquet needs the package pyarrow; install it, or write a CSV file"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable parquet file; write it again") from error
    return {
        str(name): ["" if value is pd.NA else str(value) for value in table[name]]
        for name in table.columns
    }


def _read_fasta(path: Path, *, labelled: bool, rna: bool) -> LabelRows:
    """Records as the reader of genomes gives them, ambiguity codes as N.

    Without labels no name may be used twice, as in a genome. With them names may repeat, as rows of
    a table may: sets of sequences are published so.
    """
    reader = FastaReader(path, rna=rna, repeated_names=labelled)
    letters = np.frombuffer(BASE_CODES, dtype=np.uint8)
    parts: dict[int, list[str]] = {}
    for chunk in reader:
        text = letters[chunk.codes & CODE_MASK].tobytes().decode("ascii")
        parts.setdefault(len(reader.headers) - 1, []).append(text)
    # a record without bases is a row as well, which whoever reads the letters judges.
    for clause in replace(reader.counts, empty_records=[]).irregularities():
        logger.warning("%s: %s", path, clause)
    sequences = ["".join(parts.get(number, [])) for number in range(len(reader.headers))]
    # a label may stand anywhere in a header; without labels the name is all that counts.
    names = [header if labelled else header.split()[0] for _, header in reader.headers]
    if not labelled:
        return LabelRows(names, sequences, {})
    labels = [_header_label(path, line, header) for line, header in reader.headers]
    return LabelRows(names, sequences, {"label": labels})


def _header_label(path: Path, number: int, header: str) -> str:
    for word in header.split():
        if word.startswith("label="):
            return word.removeprefix("label=")
    name, bar, label = header.rpartition("|")
    if not bar or not name or not label.strip():
        raise DataError(
            f"{path}, line {number}: the header {header[:60]!r} has no label; write it after a "
            "'|' at the end or as label=VALUE"
        )
    return label.strip()
