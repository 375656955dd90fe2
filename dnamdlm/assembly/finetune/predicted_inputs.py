"""Input files of predictions, some rows at a time.

All rows are checked on the way. What is known of the whole file alone is said after its last row:
that none can be read, and how many sequences have no base.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.finetune.finetune_settings import PredictedInput
from dnamdlm.assembly.finetune.head_record import head_of
from dnamdlm.assembly.finetune.predicted_rows import PredictedRows
from dnamdlm.assembly.finetune.text_tasks import encoder_of
from dnamdlm.assembly.modality import Text
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import bed_rows
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.tasks.delimited import DelimitedRows, ending_of
from dnamdlm.data.tasks.sentences import Sentences, TextEncoder, chosen
from dnamdlm.data.tasks.sequence_inputs import (
    SequenceSet,
    encode_dna,
    faults_of_dna,
    ids_of_dna,
    interval_ids,
    names_of_n_alone,
    warn_of_n_alone,
)
from dnamdlm.data.tasks.task_tables import NAME_COLUMNS, LabelRow, no_row, open_label_rows
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.checkpoint import verify_folder

Row = TypeVar("Row")
_IN_MEMORY_TOGETHER = 4096


def batches_of_file(
    folder: Path, source: str, data: PredictedInput, trust: Sequence[str], *, together: int
) -> Iterator[PredictedRows]:
    """The sequences or texts of a file to predict for, as ids of the model of a head.

    Args:
        folder: of the head.
        source: the file.
        data: how it is read.
        trust: packages besides dnamdlm whose classes the head may name.
        together: rows of a batch; the last may have fewer.

    Raises:
        ConfigError: for a setting that does not fit the file or the model.
        DataError: for a file that the strict readers refuse, also while the batches are taken.
    """
    verify_folder(folder)
    head = head_of(folder)
    modality = ModelConfig.stored(head["model_config"], trust).modality
    if isinstance(modality, Text):
        encoder = encoder_of(modality, head["windows"]["length"])
        return _texts(source, data, head.get("text_columns", ()), encoder, together)
    if ending_of(on_disk(source)) == ".bed":
        return _noticing_n_alone(_intervals(source, data, together), source)
    return _noticing_n_alone(_sequences(source, data, together), source)


def rows_of_file(
    folder: Path, source: str, data: PredictedInput, trust: Sequence[str] = ()
) -> PredictedRows:
    """All rows of `batches_of_file` in memory."""
    batches = batches_of_file(folder, source, data, trust, together=_IN_MEMORY_TOGETHER)
    return PredictedRows.joined(batches)


def _together(rows: Iterable[Row], number: int) -> Iterator[list[Row]]:
    rest = iter(rows)
    while batch := list(islice(rest, number)):
        yield batch


def _noticing_n_alone(batches: Iterable[PredictedRows], path: str) -> Iterator[PredictedRows]:
    """The batches; after the last, a warning if sequences have no base."""
    count, without, first = 0, 0, ""
    for rows in batches:
        count += len(rows.sequences)
        if names := names_of_n_alone(rows.sequences):
            first = first if without else names[0]
            without += len(names)
        yield rows
    if without:
        warn_of_n_alone(without, first, count, path)


def _intervals(path: str, data: PredictedInput, together: int) -> Iterator[PredictedRows]:
    """Intervals of a BED file; those on the reverse strand are reverse-complemented."""
    if data.fasta is None:
        raise ConfigError(f"input={path} is a BED file and needs its genome; give data.fasta=FILE")
    store = open_genome(data.fasta, cache_dir=data.cache_dir, rna=data.rna)
    for batch in _together(bed_rows(path, store.lengths), together):
        intervals = [interval for interval, _ in batch]
        names = [
            name if name not in (None, ".") else str(interval) for interval, name in batch
        ]  # fmt: skip
        columns = {
            "chrom": [interval.chrom for interval in intervals],
            "start": [str(interval.start) for interval in intervals],
            "end": [str(interval.end) for interval in intervals],
            "name": names,
            "strand": [interval.strand for interval in intervals],
        }
        arrays = [interval_ids(store, interval) for interval in intervals]
        yield PredictedRows(SequenceSet.of(names, arrays), columns)


def _sequences(path: str, data: PredictedInput, together: int) -> Iterator[PredictedRows]:
    """Sequences of a table or a FASTA file; a row that is no DNA has a fault in place of ids."""
    opened = open_label_rows(
        Path(path), sequence_column=data.sequence_column, labelled=False, rna=data.rna
    )
    first: LabelRow | None = None
    is_readable = False
    for batch in _together(opened.rows, together):
        first = first or batch[0]
        names, texts = [row.name for row in batch], [row.sequence for row in batch]
        faults = faults_of_dna(texts, rna=data.rna)
        kept = [row for row in range(len(batch)) if row not in faults]
        is_readable = is_readable or bool(kept)
        sequences = ids_of_dna(
            [names[row] for row in kept], [texts[row] for row in kept], rna=data.rna
        )
        columns = _columns(opened.columns, names, [row.fields for row in batch])
        yield PredictedRows(sequences, columns, faults)
    if first is not None and not is_readable:
        # the input is of another kind, and the first fault says of which.
        encode_dna([first.name], [first.sequence], path, rna=data.rna)


def _columns(
    columns: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[str]]
) -> dict[str, Sequence[str]]:
    """The columns of a table, after one of names where it has none."""
    found: dict[str, Sequence[str]] = {
        name: [fields[place] for fields in rows] for place, name in enumerate(columns)
    }
    return found if any(name in columns for name in NAME_COLUMNS) else {"name": names, **found}


def _texts(
    path: str,
    data: PredictedInput,
    columns: Sequence[str],
    encoder: TextEncoder,
    together: int,
) -> Iterator[PredictedRows]:
    """Texts of a table, in the columns that the task had, as ids of a model of text.

    In a `.csv` file quotes group fields; in a `.tsv` file they are letters. A row without text has
    a fault in place of ids.
    """
    columns = _text_columns(path, data, columns)
    opened = DelimitedRows(on_disk(path))
    # that the columns are there is known before the first row.
    chosen({name: [] for name in opened.names}, columns, Path(path))
    number, is_readable = 0, False
    error: DataError | None = None
    for batch in _together(opened, together):
        table = {name: [row[place] for _, row in batch] for place, name in enumerate(opened.names)}
        texts = list(zip(*chosen(table, columns, Path(path)), strict=True))
        name_column = next((name for name in NAME_COLUMNS if name in table), None)
        names = [f"row_{number + place}" for place in range(1, len(batch) + 1)]
        names = names if name_column is None else table[name_column]
        number += len(batch)
        faults: dict[int, str] = {}
        try:
            sequences = encoder.encode(names, texts, path)
        except DataError as found:
            error = error or found
            faults = encoder.faults(texts)
            kept = [row for row in range(len(batch)) if row not in faults]
            sequences = _encoded(encoder, names, texts, kept, path)
        is_readable = is_readable or bool(len(sequences))
        listed = [row for _, row in batch]
        yield PredictedRows(sequences, _columns(opened.names, names, listed), faults)
    if not number:
        raise no_row(path)
    if error is not None and not is_readable:
        raise error


def _encoded(
    encoder: TextEncoder,
    names: Sequence[str],
    texts: Sequence[Sentences],
    kept: Sequence[int],
    path: str,
) -> SequenceSet:
    """Ids of some rows, of none too."""
    if not kept:
        return SequenceSet.of([], [])
    return encoder.encode([names[row] for row in kept], [texts[row] for row in kept], path)


def _text_columns(path: str, data: PredictedInput, columns: Sequence[str]) -> Sequence[str]:
    """The columns of the texts; an error for settings that are for DNA, and other files."""
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
    if data.sequence_column is None:
        return columns
    if len(columns) != 1:
        raise ConfigError(
            f"data.sequence_column={data.sequence_column} names one column, and this head "
            f"reads {' and '.join(columns)}; leave it out and name the columns so"
        )
    return (data.sequence_column,)
