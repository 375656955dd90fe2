"""The user's description of a genome to learn from, and the opened genome that serves batches."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnamdlm.data.data_source import OpenData, Unit
from dnamdlm.data.genome.annotation import Feature, RegionClasses, read_gff, region_classes
from dnamdlm.data.genome.fasta import IupacPolicy
from dnamdlm.data.genome.genome_rows import GenomeRows
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.record_classes import RecordLabels, read_labels
from dnamdlm.data.genome.splits import (
    EXPANDED_BASES,
    SPLIT_NAMES,
    Splits,
    expand_rows,
    merge,
    shared_bases,
    split_by_bed,
    split_by_fractions,
    split_by_records,
)
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.genome.windows import SplitWindows, WindowSet
from dnamdlm.data.stream import Sweep, TrainingStream
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

_log = logging.getLogger(__name__)
_EMBEDDED_PREFIX = "embedded:"
_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_WINDOW_SETTINGS = (
    "length",
    "max_n_fraction",
    "jitter",
    "reverse_complement",
    "soft_mask_weight",
)


@dataclass(frozen=True)
class GenomeData:
    """Settings of the `data` group: which genome, how it is split and cut into windows.

    Attributes:
        fasta: path of a FASTA file (plain, gzip, bgzip) or .2bit file, or `embedded:yeast`.
        annotation: path of a GFF3 file, `embedded:yeast`, or None.
        bring: command that brings the FASTA file, named where the file is missing; or None.
        cache_dir: folder of prepared genomes; None takes the default.
        length: bases per training window.
        train: record names; None takes all the rest.
        valid: record names, or None.
        test: record names, or None.
        valid_fraction: share of bases held out when no names and no BED file are given.
        test_fraction: likewise.
        margin: bases left out after a cut inside a record.
        bed: BED file with train, valid or test in the fourth column, or None.
        expand: cut windows from rows of the BED file that are made 2^20 bases long, as the original
            hg38 loader does; the rows may then reach into other splits.
        max_n_fraction: training windows with a larger share of N are left out.
        jitter: move training windows at random by up to half a length.
        reverse_complement: turn training windows over with probability 1/2.
        soft_mask_weight: training weight of soft-masked (lower-case) bases.
        iupac: "n" reads ambiguity codes as N, "random" as a base of their set, "error" refuses
            them.
        rna: read U as T.
        labels: table record -> class for class-conditional training, or None.

    Raises:
        ConfigError: if a setting is out of range or contradicts another.
    """

    fasta: str
    annotation: str | None = None
    bring: str | None = None
    cache_dir: str | None = None
    length: int = 128
    train: Sequence[str] | None = None
    valid: Sequence[str] | None = None
    test: Sequence[str] | None = None
    valid_fraction: float = 0.1
    test_fraction: float = 0.1
    margin: int = 0
    bed: str | None = None
    expand: bool = False
    max_n_fraction: float = 0.5
    jitter: bool = True
    reverse_complement: bool = True
    soft_mask_weight: float = 1.0
    iupac: IupacPolicy = "n"
    rna: bool = False
    labels: str | None = None

    def __post_init__(self) -> None:
        for name in SPLIT_NAMES:
            names = getattr(self, name)
            if names is not None:
                names = (names,) if isinstance(names, str) else tuple(map(str, names))
                object.__setattr__(self, name, names)
        if not self.fasta:
            raise ConfigError("data.fasta is empty; give a FASTA file or embedded:yeast")
        if self.length < 1:
            raise ConfigError(f"data.length must be at least 1, got {self.length}")
        if self.margin < 0:
            raise ConfigError(f"data.margin must be at least 0, got {self.margin}")
        for name in ("valid_fraction", "test_fraction"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"data.{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.valid_fraction + self.test_fraction >= 1.0:
            raise ConfigError(
                f"data.valid_fraction={self.valid_fraction} and "
                f"data.test_fraction={self.test_fraction} leave nothing to train on; "
                "their sum must be below 1"
            )
        if not 0.0 <= self.max_n_fraction < 1.0:
            raise ConfigError(f"data.max_n_fraction must lie in [0, 1), got {self.max_n_fraction}")
        if not 0.0 <= self.soft_mask_weight <= 1.0:
            raise ConfigError(
                f"data.soft_mask_weight must lie in [0, 1], got {self.soft_mask_weight}"
            )
        if self.iupac not in ("n", "random", "error"):
            raise ConfigError(f"data.iupac must be n, random or error, got {self.iupac!r}")
        self._check_rule()

    def _check_rule(self) -> None:
        if self.bed is not None and self.names_records:
            raise ConfigError(
                "data.bed and lists of record names are both given; use one rule to split"
            )
        if self.expand and self.bed is None:
            raise ConfigError("data.expand=true lengthens the rows of data.bed; give a BED file")
        if self.expand and EXPANDED_BASES % self.length:
            raise ConfigError(
                f"data.expand=true needs a data.length that divides {EXPANDED_BASES}, "
                f"got {self.length}"
            )

    @property
    def names_records(self) -> bool:
        """True if any split is given as a list of record names."""
        return any(getattr(self, name) is not None for name in SPLIT_NAMES)

    @property
    def vocabulary(self) -> Vocabulary:
        """Nucleotides."""
        return NUCLEOTIDE_VOCABULARY

    def open(self) -> OpenGenome:
        """Prepare the genome if that was not done before, and split it.

        Raises:
            DataError: if a file or the split cannot be used.
        """
        path, expected = _resolve(self.fasta)
        bed = None if self.bed is None else Path(self.bed)
        for key, file in (("fasta", path), ("bed", bed)):
            if self.bring is not None and file is not None and not file.exists():
                raise DataError(f"data.{key}={file} does not exist; bring it with: {self.bring}")
        store = prepare_genome(
            path,
            cache_dir=self.cache_dir,
            iupac=self.iupac,
            rna=self.rna,
            expected_sha256=expected,
        )
        splits = self._splits(store)
        labels = self._labels(store, splits)
        return OpenGenome(self, store, splits, labels, self._expanded(store, splits))

    def _expanded(
        self, store: GenomeStore, splits: Splits
    ) -> Mapping[str, tuple[Interval, ...]] | None:
        if self.bed is None or not self.expand:
            return None
        expanded = expand_rows(read_bed(self.bed, store.lengths), store.lengths)
        reach = _reach(splits, expanded)
        if reach["outside"]:
            _log.warning(
                "data.expand: training windows reach %d bases outside the train split, %d of them "
                "in valid and %d in test, so that held-out figures are not clean",
                reach["outside"], reach["valid"], reach["test"],
            )  # fmt: skip
        return expanded

    def _labels(self, store: GenomeStore, splits: Splits) -> RecordLabels | None:
        if self.labels is None:
            return None
        used = {interval.chrom for name in SPLIT_NAMES for interval in splits[name]}
        table = read_labels(self.labels, store.lengths)
        return RecordLabels.of_records(table, store.offsets, used)

    def _splits(self, store: GenomeStore) -> Splits:
        lengths = store.lengths
        if self.bed is not None:
            table = read_bed(self.bed, lengths)
            try:
                return split_by_bed(table, lengths)
            except DataError as error:
                raise DataError(f"{self.bed}: {error}") from None
        if self.names_records:
            return split_by_records(lengths, train=self.train, valid=self.valid, test=self.test)
        return split_by_fractions(
            lengths,
            valid_fraction=self.valid_fraction,
            test_fraction=self.test_fraction,
            margin=self.margin,
        )


@dataclass(frozen=True)
class OpenGenome:
    """A prepared genome with its splits: makes training streams and evaluation windows.

    Attributes:
        settings: what the user asked for.
        store: the bases.
        splits: disjoint intervals of train, valid and test.
        labels: class of each record, or None.
        expanded: rows that windows are cut from in place of the splits (`expand`), or None.
    """

    settings: GenomeData
    store: GenomeStore
    splits: Splits
    labels: RecordLabels | None = None
    expanded: Mapping[str, tuple[Interval, ...]] | None = None
    _windows: dict[str, WindowSet] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source_path(self) -> Path:
        """The FASTA file that the genome was prepared from."""
        return _resolve(self.settings.fasta)[0]

    @property
    def unit(self) -> Unit:
        """A base."""
        return "base"

    @property
    def length(self) -> int:
        """Bases per training window."""
        return self.settings.length

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes of records, sorted; empty without labels."""
        return () if self.labels is None else self.labels.names

    @property
    def parts(self) -> Mapping[str, OpenData]:
        """A genome has no parts."""
        return {}

    def has_split(self, split: str) -> bool:
        """Whether a split holds any base."""
        return bool(self.splits[split])

    def window_intervals(self, split: str) -> tuple[Interval, ...]:
        """Where the windows of a split are cut: its own intervals, or its expanded rows."""
        return self.splits[split] if self.expanded is None else self.expanded[split]

    def training_windows(self) -> WindowSet:
        """Windows of the train split.

        Raises:
            DataError: if no window is left.
        """
        if "train" not in self._windows:
            self._windows["train"] = WindowSet(
                self.store,
                self.window_intervals("train"),
                self.settings.length,
                max_n_fraction=self.settings.max_n_fraction,
            )
        return self._windows["train"]

    def training_rows(self, seed: int) -> GenomeRows:
        """Rows of the train split by their positions.

        Raises:
            DataError: if no window is left.
        """
        return GenomeRows(
            self.training_windows(),
            seed=seed,
            jitter=self.settings.jitter,
            reverse_complement=self.settings.reverse_complement,
            soft_mask_weight=self.settings.soft_mask_weight,
            labels=self.labels,
        )

    def training_stream(self, seed: int, global_batch_size: int) -> TrainingStream:
        """Endless training batches of `global_batch_size` rows, a function of (seed, step).

        Raises:
            DataError: if no window is left.
        """
        return TrainingStream(self.training_rows(seed), global_batch_size)

    def evaluation_windows(
        self,
        split: str,
        length: int | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> Sweep[SplitWindows]:
        """Every base of a split once, in windows of `length` (None: the training length).

        Raises:
            DataError: if the split is unknown, empty or holds nothing but N.
        """
        intervals = self.splits[split]
        if intervals and self.expanded is not None:
            intervals = merge(self.expanded[split])
        if not intervals:
            raise DataError(
                f"the {split} split is empty; name its records in data.{split} "
                f"or set data.{split}_fraction"
            )
        length = self.settings.length if length is None else length
        windows = SplitWindows(self.store, intervals, length, labels=self.labels)
        return Sweep.over(windows, seed=seed, limit=limit)

    @functools.cached_property
    def features(self) -> tuple[Feature, ...]:
        """Rows of the annotation; empty without one.

        Raises:
            DataError: if the annotation cannot be used with this genome.
        """
        if self.settings.annotation is None:
            return ()
        path, expected = _resolve(self.settings.annotation, suffix=".gff3.gz")
        if expected is not None:
            _check_sha256(path, expected)
        return read_gff(path, self.store.lengths)

    @functools.cached_property
    def region_classes(self) -> RegionClasses | None:
        """Coding or non-coding for each base; None without an annotation.

        Raises:
            DataError: if the annotation cannot be used with this genome.
        """
        if self.settings.annotation is None:
            return None
        return region_classes(self.features, self.store.lengths, self.store.offsets)

    def fingerprint(self) -> str:
        """Hash of everything that decides which batches come out, but not of where files lie."""
        content: dict[str, Any] = {
            "genome": self.store.sha256,
            "records": list(self.store.lengths.items()),
            "splits": {name: [str(item) for item in self.splits[name]] for name in SPLIT_NAMES},
            "settings": {name: getattr(self.settings, name) for name in _WINDOW_SETTINGS},
        }
        if self.labels is not None:
            content["labels"] = [self.labels.names, self.labels.values.tolist()]
        if self.expanded is not None:
            content["expanded"] = [str(item) for item in self.expanded["train"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Facts for a report: source, hashes, counts and splits."""
        manifest = self.store.manifest
        windows = self.training_windows()
        return {
            "fasta": self.settings.fasta,
            "source": dict(manifest["source"]),
            "sha256": self.store.sha256,
            "fingerprint": self.fingerprint(),
            "num_records": len(self.store.names),
            "num_bases": self.store.num_bases,
            "num_n": manifest["num_n"],
            "num_iupac": dict(manifest["num_iupac"]),
            "num_soft_masked": manifest["num_soft_masked"],
            "split_rule": self.splits.rule,
            "splits": {
                name: {
                    "num_bases": self.splits.num_bases(name),
                    "intervals": [str(item) for item in self.splits[name]],
                }
                for name in SPLIT_NAMES
            },
            "expanded": None if self.expanded is None else _reach(self.splits, self.expanded),
            "window_length": windows.length,
            "num_training_windows": len(windows),
            "num_intervals_too_short": windows.num_too_short,
            "num_windows_rich_in_n": windows.num_rich_in_n,
            "label_names": list(self.label_names),
        }


def _reach(splits: Splits, expanded: Mapping[str, tuple[Interval, ...]]) -> dict[str, int]:
    """How many bases of the expanded training rows lie outside train, in valid and in test."""
    rows = merge(expanded["train"])
    inside = shared_bases(rows, splits.train)
    return {
        "outside": sum(map(len, rows)) - inside,
        "valid": shared_bases(rows, splits.valid),
        "test": shared_bases(rows, splits.test),
    }


def embedded_names() -> tuple[str, ...]:
    """Names that may follow `embedded:`."""
    return tuple(sorted(_embedded_table()))


def open_store(fasta: str, *, cache_dir: str | None = None) -> GenomeStore:
    """The prepared genome of a `data.fasta` setting, without splits.

    Raises:
        DataError: if the file cannot be used.
    """
    path, expected = _resolve(fasta)
    return prepare_genome(path, cache_dir=cache_dir, expected_sha256=expected)


def _embedded_table() -> dict[str, dict[str, str]]:
    text = (_EMBEDDED_FOLDER / "checksums.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, str]] = json.loads(text)
    return table


def _resolve(setting: str, *, suffix: str = ".fa.gz") -> tuple[Path, str | None]:
    """Path of a setting, and the SHA-256 that an embedded file must have."""
    if not setting.startswith(_EMBEDDED_PREFIX):
        return Path(setting).expanduser(), None
    name = setting.removeprefix(_EMBEDDED_PREFIX)
    table = _embedded_table()
    if name not in table:
        raise ConfigError(
            f"{setting!r} is no embedded genome; choose one of "
            f"{', '.join(_EMBEDDED_PREFIX + known for known in sorted(table))}"
        )
    file, expected = next(
        (file, digest) for file, digest in table[name].items() if file.endswith(suffix)
    )
    return _EMBEDDED_FOLDER / file, expected


def _check_sha256(path: Path, expected: str) -> None:
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise DataError(
            f"{path}: missing or damaged, its SHA-256 should be {expected[:12]}...; "
            "install the package again"
        )
