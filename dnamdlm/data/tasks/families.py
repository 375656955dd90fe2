"""The `data` group of `dnamdlm.finetune`: families of prediction tasks and own tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.genomic_benchmarks import Genomes, read_suite_task
from dnamdlm.data.tasks.labelled import (
    KINDS,
    NUMBERS_ALLOWED,
    Kind,
    LabelledSet,
    LabelledTask,
    check_task,
    class_targets,
    measured_number,
    sorted_classes,
)
from dnamdlm.data.tasks.sentences import TextEncoder
from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna
from dnamdlm.data.tasks.task_tables import FASTA_ENDINGS, LabelRows, read_label_rows
from dnamdlm.errors import ConfigError, DataError

_HISTONE = ("H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3", "H3K9ac",
            "H4", "H4ac", "enhancers", "enhancers_types")  # fmt: skip
_WITH_F1 = ("promoter_all", "promoter_no_tata", "promoter_tata", "splice_sites_acceptors",
            "splice_sites_donors")  # fmt: skip
NUCLEOTIDE_TRANSFORMER: dict[str, str] = {
    **dict.fromkeys(_HISTONE, "mcc"),
    **dict.fromkeys(_WITH_F1, "f1"),
    "splice_sites_all": "accuracy",
}
"""The 18 tasks of the Nucleotide Transformer and the metric of each."""

_REVISED_ALONE = ("H2AFZ", "H3K27ac", "H3K27me3", "H3K4me3", "H3K9ac", "H3K9me3", "H4K20me1")
_REVISED_TOO = ("H3K36me3", "H3K4me1", "H3K4me2", "enhancers", "enhancers_types",
                *_WITH_F1, "splice_sites_all")  # fmt: skip
NUCLEOTIDE_TRANSFORMER_REVISED: dict[str, str] = dict.fromkeys(
    (*_REVISED_ALONE, *_REVISED_TOO), "mcc"
)
"""The 18 human tasks of the revised set, all measured by MCC."""

_TABLE_ENDINGS = (".csv", ".tsv", ".parquet", *FASTA_ENDINGS)
_MANY_CLASSES = 100
# of so many different fractions in a column, or labels that hardly recur, none is a class.
_MANY_FRACTIONS = 10
Encode = Callable[[Sequence[str], Sequence[str], str], SequenceSet]
"""Names, texts and the name of the file to ids."""


@dataclass(frozen=True)
class GenomicBenchmarks:
    """Genomic Benchmarks, as folders of text files or as interval lists with `fasta`.

    Attributes:
        folder: holds one folder per task.
        fasta: genome of interval lists, or one per class.
        regions: use only intervals on these records.
        cache_dir: folder of prepared genomes.
    """

    folder: str
    fasta: str | dict[str, str] | None = None
    regions: Sequence[str] | None = None
    cache_dir: str | None = None

    def open(self, task: str | None) -> LabelledTask:
        """Read one task."""
        names = (self.regions,) if isinstance(self.regions, str) else self.regions
        regions = None if names is None else tuple(names)
        genomes = Genomes(self.fasta, regions, self.cache_dir)
        return read_suite_task(Path(self.folder), _named(task), genomes)


@dataclass(frozen=True)
class NucleotideTransformer:
    """The 18 downstream tasks of the Nucleotide Transformer, `folder/TASK/{train,test}.fna`.

    The same rows as CSV or parquet (columns sequence, label) are read too.

    Attributes:
        folder: holds one folder per task.
        revised: the tasks are those of the revised set, which has other names and other rows under
            names that both sets have.
    """

    folder: str
    revised: bool = False

    def open(self, task: str | None) -> LabelledTask:
        """Read one task."""
        name = _named(task)
        sets = {False: NUCLEOTIDE_TRANSFORMER, True: NUCLEOTIDE_TRANSFORMER_REVISED}
        metrics = sets[self.revised]
        if name not in metrics:
            other = name in sets[not self.revised]
            hint = f"set data.revised={str(not self.revised).lower()} or " if other else ""
            raise DataError(f"task={name} is unknown; {hint}choose one of {', '.join(metrics)}")
        folder = Path(self.folder) / name
        return _class_task(name, metrics[name], folder, with_valid=False)


@dataclass(frozen=True)
class Gue:
    """Tasks in the layout of GUE: `folder/TASK/{train,dev,test}.csv`, or one folder deeper.

    Models are selected on the part `dev`; the metric is MCC.
    """

    folder: str

    def open(self, task: str | None) -> LabelledTask:
        """Read one task."""
        name = _named(task)
        folders = [Path(self.folder) / name, *sorted(Path(self.folder).glob(f"*/{name}"))]
        found = next((folder for folder in folders if folder.is_dir()), None)
        if found is None:
            raise DataError(
                f"{folders[0]} is not a folder; data.folder={self.folder} must hold one folder per "
                "task with train.csv, dev.csv and test.csv"
            )
        return _class_task(name, "mcc", found, with_valid=True)


@dataclass(frozen=True)
class Table:
    """The user's own files: CSV, TSV, parquet, or FASTA with labels in the headers.

    Attributes:
        train: file with the rows to learn from.
        test: file with the rows to test on; None draws `test_fraction` of `train`.
        valid: file with the validation rows; None draws a share of `train` for each seed.
        kind: `classes` (one label per row), `labels` (any number of labels per row, separated by
            ';', or several columns of 0 and 1) or `regression` (one or more columns of numbers);
            None is what the labels of the training rows look like, see `kind_of`.
        sequence_column: None takes `sequence`, `seq`, `text`, `sentence` or `dna`.
        label_column: one name or several; None takes `label`, `labels`, `class`, `target` or `y`.
        test_fraction: share of rows for the test where there is no `test` file.
        split_seed: of that draw.
        metric: what models are selected by and what is reported first; None is accuracy, auroc or
            r2 by kind.
    """

    train: str
    test: str | None = None
    valid: str | None = None
    kind: str | None = None
    sequence_column: str | None = None
    label_column: str | Sequence[str] | None = None
    test_fraction: float = 0.1
    split_seed: int = 0
    metric: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"data.kind={self.kind} is unknown; choose {', '.join(KINDS)}")
        if not 0 < self.test_fraction < 1:
            raise ConfigError(f"data.test_fraction={self.test_fraction} must lie between 0 and 1")

    def open(self, task: str | None) -> LabelledTask:
        """Read the files as DNA; `task` only names the results."""
        return self._open(task, encode_dna)

    def open_text(self, task: str | None, encoder: TextEncoder) -> LabelledTask:
        """Read the files as text, one text per row; `task` only names the results."""

        def encode(names: Sequence[str], texts: Sequence[str], source: str) -> SequenceSet:
            return encoder.encode(names, [(text,) for text in texts], source)

        return self._open(task, encode, keeps_texts=True)

    def _open(self, task: str | None, encode: Encode, *, keeps_texts: bool = False) -> LabelledTask:
        columns = [self.label_column] if isinstance(self.label_column, str) else self.label_column
        files = {
            name: Path(path)
            for name, path in (("train", self.train), ("test", self.test), ("valid", self.valid))
            if path is not None
        }
        rows = {
            name: read_label_rows(path, sequence_column=self.sequence_column, label_columns=columns)
            for name, path in files.items()
        }
        labels = rows["train"].labels
        given: Kind | None = next((kind for kind in KINDS if kind == self.kind), None)
        kind: Kind = kind_of(labels) if given is None else given
        names = _label_names(kind, rows["train"], str(files["train"]))
        parts = {
            name: LabelledSet(
                encode(rows[name].names, rows[name].sequences, str(path)),
                _targets(kind, names, rows[name], str(path)),
                texts=tuple((text,) for text in rows[name].sequences) if keeps_texts else None,
            )
            for name, path in files.items()
        }
        if "test" not in parts:
            parts |= _drawn_test(parts["train"], self.test_fraction, self.split_seed, self.train)
        metric = self.metric or {"classes": "accuracy", "labels": "auroc", "regression": "r2"}[kind]
        return check_task(
            LabelledTask(
                task or Path(self.train).name.split(".", 1)[0],
                kind,
                names,
                parts["train"],
                parts["test"],
                parts.get("valid"),
                metric,
                text_columns=(rows["train"].column,) if keeps_texts else (),
                label_columns=tuple(labels),
            )
        )


def kind_of(labels: Mapping[str, Sequence[str]]) -> Kind:
    """What label columns look like.

    Several columns are `labels` where they hold 0 and 1 alone, else `regression`. One column is
    `regression` if all its labels are numbers and one of them is not whole, or there are more than
    100 different ones in less than twice as many rows. It is as well if more than ten different
    labels are numbers that are not whole and these are most of all, so that the others are refused
    by their rows. Anything else is `classes`.

    >>> kind_of({"y": ["0.5", "1"]}), kind_of({"y": ["0", "1"]}), kind_of({"y": ["1.0", "0.0"]})
    ('regression', 'classes', 'classes')
    """
    if len(labels) > 1:
        every = {text for column in labels.values() for text in column}
        return "labels" if every <= {"0", "1"} else "regression"
    texts = next(iter(labels.values()))
    found = set(texts)
    numbers = [number for text in found if (number := _finite(text)) is not None]
    broken = sum(not number.is_integer() for number in numbers)
    if len(numbers) < len(found):
        is_nearly = broken > _MANY_FRACTIONS and 2 * broken > len(found)
        return "regression" if is_nearly else "classes"
    are_many = len(found) > _MANY_CLASSES and 2 * len(found) > len(texts)
    return "regression" if are_many or broken else "classes"


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _named(task: str | None) -> str:
    if task is None:
        raise ConfigError("task is not set; give it as task=NAME")
    return task


def _class_task(name: str, metric: str, folder: Path, *, with_valid: bool) -> LabelledTask:
    files = {"train": "train", "test": "test"} | ({"valid": "dev"} if with_valid else {})
    rows: dict[str, LabelRows] = {}
    for part, stem in files.items():
        found = [
            path
            for end in _TABLE_ENDINGS
            for path in (folder / f"{stem}{end}", folder / f"{stem}{end}.gz")
            if path.is_file()
        ]
        if not found:
            raise DataError(
                f"{folder}: there is no {stem} file; {stem}.csv, .tsv, .parquet, .fna or .fasta "
                "is needed"
            )
        rows[part] = read_label_rows(found[0])
    classes = _label_names("classes", rows["train"], f"{folder}/train")
    sets = {
        part: LabelledSet(
            encode_dna(found.names, found.sequences, f"{folder}/{files[part]}"),
            _targets("classes", classes, found, f"{folder}/{files[part]}"),
        )
        for part, found in rows.items()
    }
    return check_task(
        LabelledTask(
            name, "classes", classes, sets["train"], sets["test"], sets.get("valid"), metric
        )
    )


def _label_names(kind: Kind, rows: LabelRows, source: str) -> tuple[str, ...]:
    columns = list(rows.labels)
    if kind == "regression" or (kind == "labels" and len(columns) > 1):
        return tuple(columns)
    if len(columns) > 1:
        raise DataError(
            f"{source}: {len(columns)} label columns need data.kind=labels or regression"
        )
    texts = rows.labels[columns[0]]
    if kind == "labels":
        texts = [word for text in texts for word in _words(text)]
        return tuple(sorted(set(texts)))
    names = sorted_classes(texts, source)
    if len(names) > _MANY_FRACTIONS and 2 * len(names) > len(texts):
        raise DataError(
            f"{source}: {len(texts)} rows have {len(names)} different labels, such as "
            f"{texts[0]!r}; for numbers set data.kind=regression, and write each as a plain number "
            "such as 0.5, without unit or thousands separator"
        )
    return names


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(";") if word.strip()]


def _targets(kind: Kind, names: tuple[str, ...], rows: LabelRows, source: str) -> NDArray:
    columns = list(rows.labels)
    if kind == "classes":
        return class_targets(names, rows.labels[columns[0]], source)
    if kind == "labels" and len(columns) == 1:
        targets = np.zeros((len(rows.names), len(names)), dtype=np.float32)
        for row, text in enumerate(rows.labels[columns[0]]):
            targets[row, class_targets(names, _words(text), f"{source}, data row {row + 1}")] = 1
        return targets
    numbers = np.array(
        [[_number(text, source, row) for row, text in enumerate(rows.labels[name])]
         for name in columns]
    ).T  # fmt: skip
    if kind == "labels":
        if not np.isin(numbers, (0, 1)).all():
            raise DataError(f"{source}: label columns of data.kind=labels hold 0 and 1 only")
        return numbers.astype(np.float32)
    return numbers


def _number(text: str, source: str, row: int) -> float:
    number = measured_number(text)
    if number is None:
        raise DataError(
            f"{source}: row {row + 1} has the label {text!r}, where {NUMBERS_ALLOWED} is needed, "
            "such as 0.5; correct it, or leave the row out"
        )
    return number


def _drawn_test(
    rows: LabelledSet, fraction: float, seed: int, source: str
) -> Mapping[str, LabelledSet]:
    held = max(1, round(fraction * len(rows)))
    if held >= len(rows):
        raise DataError(f"{source}: {len(rows)} rows are too few to draw a test part; give more")
    order = np.random.default_rng(seed).permutation(len(rows))
    return {
        "train": rows.take(np.sort(order[held:])),
        "test": rows.take(np.sort(order[:held])),
    }
