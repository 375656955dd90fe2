"""The nine tasks of Genomic Benchmarks, in both forms in which they are published.

Folders of one text file per sequence, `NAME/{train,test}/CLASS/ID.txt` (the Zenodo archives), and
interval lists, `NAME/{train,test}/CLASS.csv.gz` with the columns id, region, start, end and strand,
which need the reference genome. Coordinates are 0-based and half-open; an empty strand is the
forward one. A class is its place among the sorted names, the same in every split.

Source: Gresova et al. 2023, "Genomic benchmarks", BMC Genomic Data 24:25; splits and names as in
github.com/ML-Bioinfo-CEITEC/genomic_benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval, unknown_record
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.tasks.delimited import read_delimited
from dnamdlm.data.tasks.labelled import LabelledSet, LabelledTask, check_task
from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna, interval_ids
from dnamdlm.errors import DataError

_COLUMNS = ("id", "region", "start", "end", "strand")
_LIST_ENDINGS = (".csv.gz", ".csv")


@dataclass(frozen=True)
class SuiteTask:
    """A published task: its classes, rows, and the length to which papers pad or cut sequences."""

    classes: tuple[str, ...]
    num_train: int
    num_test: int
    length: int


_SIGNS = ("negative", "positive")
SUITE: dict[str, SuiteTask] = {
    "demo_coding_vs_intergenomic_seqs": SuiteTask(
        ("coding_seqs", "intergenomic_seqs"), 75_000, 25_000, 200
    ),
    "demo_human_or_worm": SuiteTask(("human", "worm"), 75_000, 25_000, 200),
    "drosophila_enhancers_stark": SuiteTask(_SIGNS, 5_184, 1_730, 3_237),
    "dummy_mouse_enhancers_ensembl": SuiteTask(_SIGNS, 968, 242, 1_024),
    "human_enhancers_cohn": SuiteTask(_SIGNS, 20_843, 6_948, 500),
    "human_enhancers_ensembl": SuiteTask(_SIGNS, 123_872, 30_970, 512),
    "human_ensembl_regulatory": SuiteTask(("enhancer", "ocr", "promoter"), 231_348, 57_713, 512),
    "human_nontata_promoters": SuiteTask(_SIGNS, 27_097, 9_034, 251),
    "human_ocr_ensembl": SuiteTask(_SIGNS, 139_804, 34_952, 512),
}
"""Tasks by name; all but drosophila_enhancers_stark are in the tables of papers."""


@dataclass(frozen=True)
class Genomes:
    """The genomes of interval lists.

    Attributes:
        fasta: one file for all classes, or one per class.
        regions: read only intervals of these records; None reads all.
        cache_dir: folder of prepared genomes.
    """

    fasta: str | Mapping[str, str] | None = None
    regions: tuple[str, ...] | None = None
    cache_dir: str | None = None

    def store(self, class_name: str) -> GenomeStore:
        """The genome of a class.

        Raises:
            DataError: if no FASTA file is given for it.
        """
        fasta = self.fasta.get(class_name) if isinstance(self.fasta, Mapping) else self.fasta
        if fasta is None:
            raise DataError(
                f"the class {class_name!r} is a list of intervals and needs its genome; give "
                "data.fasta=FILE, or data.fasta={CLASS: FILE, ...}"
            )
        return open_genome(fasta, cache_dir=self.cache_dir)


def read_suite_task(folder: Path, task: str, genomes: Genomes) -> LabelledTask:
    """Read one task from `folder/task`, in either form.

    Raises:
        DataError: if the task is unknown, not there, incomplete or without its genome.
    """
    if task not in SUITE:
        raise DataError(f"task={task} is unknown; choose one of {', '.join(SUITE)}")
    known = SUITE[task]
    parts = {
        split: _read_split(folder / task / split, known.classes, genomes)
        for split in ("train", "test")
    }
    return check_task(
        LabelledTask(
            task, "classes", known.classes, parts["train"], parts["test"], length=known.length
        )
    )


def _read_split(folder: Path, classes: Sequence[str], genomes: Genomes) -> LabelledSet:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; download it with python -m data_prep.genomic_benchmarks, "
            "or name its parent folder with data.folder=DIR"
        )
    sets: list[SequenceSet] = []
    intervals: list[Interval] = []
    targets: list[np.ndarray] = []
    for index, name in enumerate(classes):
        lists = [path for end in _LIST_ENDINGS if (path := folder / f"{name}{end}").is_file()]
        if (folder / name).is_dir():
            sets.append(read_text_folder(folder / name))
        elif lists:
            found, where = read_intervals(lists[0], genomes.store(name), genomes.regions)
            sets.append(found)
            intervals += where
        else:
            raise DataError(
                f"{folder}: the class {name!r} is missing; a folder {name} of .txt files or "
                f"{name}.csv.gz is needed"
            )
        targets.append(np.full(len(sets[-1]), index, dtype=np.int64))
    joined = SequenceSet.of(
        [name for part in sets for name in part.names],
        [part[i] for part in sets for i in range(len(part))],
    )
    where = tuple(intervals) if len(intervals) == len(joined) else None
    return LabelledSet(joined, np.concatenate(targets), where)


def read_text_folder(folder: Path) -> SequenceSet:
    """The `.txt` files of one class, sorted by name, one sequence each.

    Raises:
        DataError: if there are none, or a file does not contain DNA.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".txt")
    if not paths:
        raise DataError(f"{folder} contains no .txt file; one file per sequence is needed")
    texts = [path.read_text(encoding="latin-1").strip() for path in paths]
    return encode_dna([path.stem for path in paths], texts, str(folder))


def read_interval_list(path: Path) -> tuple[list[str], list[Interval]]:
    """Ids and intervals of a list; an empty strand becomes '.'.

    Raises:
        DataError: for a missing column or a row that is not an interval.
    """
    table = read_delimited(path)
    columns = table.columns
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise DataError(
            f"{path}: the column {missing[0]!r} is missing; an interval list has the columns "
            f"{', '.join(_COLUMNS)}"
        )
    names, intervals = columns["id"], []
    places = zip(*(columns[name] for name in ("region", "start", "end", "strand")), strict=True)
    for line, (region, start, end, strand) in zip(table.lines, places, strict=True):
        try:
            interval = Interval(region, int(start), int(end), strand or ".")
        except (DataError, ValueError) as error:
            raise DataError(f"{path}, line {line}: not an interval ({error})") from error
        intervals.append(interval)
    return names, intervals


def read_intervals(
    path: Path, store: GenomeStore, regions: Sequence[str] | None = None
) -> tuple[SequenceSet, list[Interval]]:
    """Bases of an interval list; rows on the reverse strand are reverse-complemented.

    A region is found under its own name, with or without `chr`, or without a version after a dot.

    Args:
        path: the list.
        store: the genome.
        regions: keep only rows on these records.

    Raises:
        DataError: for a bad row, an unknown region or a row past the end of its record.
    """
    names, intervals = read_interval_list(path)
    if regions is not None:
        kept = [i for i, interval in enumerate(intervals) if interval.chrom in regions]
        names, intervals = [names[i] for i in kept], [intervals[i] for i in kept]
    records = _record_names(store)
    arrays = []
    for interval in intervals:
        record = records.get(interval.chrom)
        if record is None:
            raise DataError(f"{path}: {unknown_record(interval.chrom, store.lengths)}")
        placed = replace(interval, chrom=record)
        arrays.append(interval_ids(store, placed))
    return SequenceSet.of(names, arrays), intervals


def _record_names(store: GenomeStore) -> dict[str, str]:
    """Every name by which a record may be given -> its own name; exact names take precedence."""
    found: dict[str, str] = {}
    for name in store.names:
        found.setdefault(name.split(".", 1)[0], name)
        found.setdefault(f"chr{name}", name)
        found.setdefault(name.removeprefix("chr"), name)
    return found | {name: name for name in store.names}
