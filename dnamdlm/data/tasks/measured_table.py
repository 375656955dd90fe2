"""A table of sequences with measured numbers to train on: the group `data=table`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.fasta_writer import write_fasta
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.splits import SPLIT_NAMES, Splits
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.tasks.labelled import NUMBERS_ALLOWED, measured_number
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.data.tasks.opened_table import OpenTable, RecordNumbers
from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.data.tasks.target_transforms import Transform
from dnamdlm.data.tasks.task_tables import LabelRows, is_fasta, read_label_rows
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.suggestions import did_you_mean
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

_MISSING = frozenset({"", "na", "nan", "<na>", "n/a", "#n/a", "null", "none", "-", "."})


@dataclass(frozen=True)
class PreparedTable:
    """Rows of a table as records of a store.

    Attributes:
        store: the sequences, in the order of the rows.
        splits: whole records.
        values: the numbers, nan where one is not known; shape (rows, K).
        in_train: whether a row is in the train split, shape (rows,).
    """

    store: GenomeStore
    splits: Splits
    values: NDArray[np.float64]
    in_train: NDArray[np.bool_]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First store offset of each row, increasing."""
        return np.array(list(self.store.offsets.values()))


@dataclass(frozen=True)
class MeasuredTable:
    """Settings of a table: which file, which columns, how it is split.

    Equal sequences are in one split, which is a function of the sequence and `split_seed` where no
    column names it.

    Attributes:
        table: CSV, TSV or parquet, the text forms also compressed with gzip.
        numbers: columns of measured numbers; an empty field, NA or nan is a number not known.
        length: bases of a row of a batch; shorter sequences are padded.
        sequence_column: None takes sequence, seq, text or dna.
        split_column: column with train, valid or test; None draws by the fractions.
        transform: of all numbers before they are standardised: log1p, rank or None.
        valid_fraction: share of the distinct sequences that is held out for validation.
        test_fraction: likewise.
        split_seed: of that draw.
        reverse_complement: turn training rows over with probability 1/2; what is measured mostly
            depends on the strand.
        soft_mask_weight: training weight of lower-case bases.
        rna: read U as T.
        cache_dir: folder of prepared sequences; None takes the default.

    Raises:
        ConfigError: if a setting is out of range.
    """

    table: str
    numbers: str | Sequence[str]
    length: int
    sequence_column: str | None = None
    split_column: str | None = None
    transform: Transform | None = None
    valid_fraction: float = 0.1
    test_fraction: float = 0.1
    split_seed: int = 0
    reverse_complement: bool = False
    soft_mask_weight: float = 1.0
    rna: bool = False
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        names = (self.numbers,) if isinstance(self.numbers, str) else tuple(map(str, self.numbers))
        object.__setattr__(self, "numbers", names)
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"data.numbers=[{','.join(names)}] must name one column at least, each once"
            )
        if not self.table:
            raise ConfigError("data.table is empty; give a .csv, .tsv or .parquet file")
        if is_fasta(Path(self.table)):
            raise ConfigError(
                f"data.table={self.table} is a FASTA file, which has no columns; give a .csv, .tsv "
                "or .parquet file"
            )
        if self.transform not in (None, "log1p", "rank"):
            raise ConfigError(f"data.transform={self.transform} must be null, log1p or rank")
        self.genome_settings()

    @property
    def vocabulary(self) -> Vocabulary:
        """Nucleotides."""
        return NUCLEOTIDE_VOCABULARY

    def genome_settings(self) -> GenomeData:
        """The settings of a genome whose records are the rows; checked as those are."""
        return GenomeData(
            self.table,
            cache_dir=self.cache_dir,
            length=self.length,
            valid_fraction=self.valid_fraction,
            test_fraction=self.test_fraction,
            jitter=False,
            reverse_complement=self.reverse_complement,
            soft_mask_weight=self.soft_mask_weight,
            rna=self.rna,
        )

    def open(self) -> OpenTable:
        """Read the table, prepare its sequences, split them and find the scale of each number.

        Raises:
            DataError: if the file, a column or a row cannot be used.
        """
        prepared = self.prepared()
        values, in_train = prepared.values, prepared.in_train
        scales = tuple(
            NumberScale.of(name, column[in_train], self.transform)
            for name, column in zip(self.numbers, values.T, strict=True)
        )
        standardised = [
            scale.standardised_all(column) for scale, column in zip(scales, values.T, strict=True)
        ]
        numbers = RecordNumbers(
            scales, prepared.offsets, np.stack(standardised, axis=1).astype(np.float32)
        )
        return OpenTable(self.genome_settings(), prepared.store, prepared.splits, numbers=numbers)

    def prepared(self, settings: Mapping[str, str] | None = None) -> PreparedTable:
        """Read the table, prepare its sequences and split them.

        Args:
            settings: column -> what the user calls its setting; None: data.numbers.

        Raises:
            DataError: if the file, a column or a row cannot be used.
        """
        path = Path(self.table).expanduser()
        rows = read_label_rows(path, sequence_column=self.sequence_column, labelled=False)
        rows = self._with_letters(rows)
        known = settings or {}
        columns = [
            self._column(rows, name, known.get(name, "data.numbers")) for name in self.numbers
        ]
        values = np.stack(columns, axis=1)
        splits_of = self._splits_of(rows)
        lengths = [len(text) for text in rows.sequences]
        names = [f"row_{number}" for number in range(1, len(lengths) + 1)]
        with tempfile.TemporaryDirectory(prefix="dnamdlm-") as folder:
            fasta = Path(folder) / f"{path.name}.fa"
            write_fasta(fasta, zip(names, rows.sequences, strict=True))
            store = prepare_genome(fasta, cache_dir=self.cache_dir, rna=self.rna)
        parts = {
            split: tuple(
                Interval(name, 0, length)
                for name, length, own in zip(names, lengths, splits_of, strict=True)
                if own == split
            )
            for split in SPLIT_NAMES
        }
        if not parts["train"]:
            raise DataError(f"data.table={self.table} has no row in the train split; give some")
        rule = "sequences" if self.split_column is None else f"column {self.split_column}"
        in_train = np.array([own == "train" for own in splits_of])
        return PreparedTable(store, Splits(**parts, rule=rule), values, in_train)

    def _with_letters(self, rows: LabelRows) -> LabelRows:
        """The rows, if each sequence can be read and is no longer than a window."""
        encode_dna(rows.names, rows.sequences, f"data.table={self.table}", rna=self.rna)
        longest = max(map(len, rows.sequences))
        if longest > self.length:
            raise DataError(
                f"data.table={self.table} has a sequence of {longest} bases, and "
                f"data.length={self.length}; what is measured belongs to the whole sequence, so "
                f"use data.length={longest}"
            )
        return rows

    def _text_column(self, rows: LabelRows, name: str, setting: str) -> Sequence[str]:
        if name not in rows.table:
            raise DataError(
                f"{setting}: there is no column {name!r} in {self.table}"
                f"{did_you_mean(name, list(rows.table))}; it has {', '.join(rows.table)}"
            )
        return rows.table[name]

    def _column(self, rows: LabelRows, name: str, setting: str) -> NDArray[np.float64]:
        """The numbers of a column, nan where one is not known."""
        found = np.full(len(rows.sequences), np.nan)
        for row, text in enumerate(self._text_column(rows, name, setting)):
            if text.lower() in _MISSING:
                continue
            number = measured_number(text)
            if number is None:
                raise DataError(
                    f"{setting}: row {row + 1} of {self.table} has {text[:40]!r} as {name!r}; give "
                    f"{NUMBERS_ALLOWED}, or leave the field empty where it is not known"
                )
            found[row] = number
        return found

    def _splits_of(self, rows: LabelRows) -> list[str]:
        """The split of each row."""
        if self.split_column is None:
            return [*_drawn(rows.sequences, self)]
        given = self._text_column(rows, self.split_column, "data.split_column")
        usual = {"train": "train", "training": "train", "valid": "valid", "validation": "valid",
                 "dev": "valid", "test": "test"}  # fmt: skip
        for row, text in enumerate(given):
            if text.lower() not in usual:
                raise DataError(
                    f"data.split_column: row {row + 1} of {self.table} has {text[:40]!r} as "
                    f"{self.split_column!r}; allowed are train, valid and test"
                )
        return [usual[text.lower()] for text in given]


def _drawn(sequences: Sequence[str], settings: MeasuredTable) -> Iterator[str]:
    """Train, valid or test for each sequence, by its letters and the seed alone."""
    seed = str(settings.split_seed).encode()
    for text in sequences:
        digest = hashlib.blake2b(text.upper().encode(), key=seed, digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        if place < settings.valid_fraction:
            yield "valid"
        elif place < settings.valid_fraction + settings.test_fraction:
            yield "test"
        else:
            yield "train"
