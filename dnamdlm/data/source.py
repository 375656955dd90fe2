"""The user's description of a genome to learn from, and the opened genome that serves batches."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnamdlm.data.annotation import RegionClasses, read_gff, region_classes
from dnamdlm.data.fasta import IupacPolicy
from dnamdlm.data.genome import GenomeStore, prepare_genome
from dnamdlm.data.intervals import read_bed
from dnamdlm.data.splits import (
    SPLIT_NAMES,
    Splits,
    split_by_bed,
    split_by_fractions,
    split_by_records,
)
from dnamdlm.data.windows import EvaluationWindows, TrainingStream, WindowSet
from dnamdlm.errors import ConfigError, DataError

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
        max_n_fraction: training windows with a larger share of N are left out.
        jitter: move training windows at random by up to half a length.
        reverse_complement: turn training windows over with probability 1/2.
        soft_mask_weight: training weight of soft-masked (lower-case) bases.
        iupac: "n" reads ambiguity codes as N, "random" as a base of their set, "error" refuses
            them.
        rna: read U as T.

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
    max_n_fraction: float = 0.5
    jitter: bool = True
    reverse_complement: bool = True
    soft_mask_weight: float = 1.0
    iupac: IupacPolicy = "n"
    rna: bool = False

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
        if self.bed is not None and self.names_records:
            raise ConfigError(
                "data.bed and lists of record names are both given; use one rule to split"
            )

    @property
    def names_records(self) -> bool:
        """True if any split is given as a list of record names."""
        return any(getattr(self, name) is not None for name in SPLIT_NAMES)

    def open(self) -> OpenGenome:
        """Prepare the genome if that was not done before, and split it.

        Raises:
            DataError: if a file or the split cannot be used.
        """
        path, expected = _resolve(self.fasta)
        if self.bring is not None and not path.exists():
            raise DataError(f"data.fasta={self.fasta} does not exist; bring it with: {self.bring}")
        store = prepare_genome(
            path,
            cache_dir=self.cache_dir,
            iupac=self.iupac,
            rna=self.rna,
            expected_sha256=expected,
        )
        return OpenGenome(self, store, self._splits(store))

    def _splits(self, store: GenomeStore) -> Splits:
        lengths = store.lengths
        if self.bed is not None:
            return split_by_bed(read_bed(self.bed, lengths), lengths)
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
    """A prepared genome with its splits: makes training streams and evaluation windows."""

    settings: GenomeData
    store: GenomeStore
    splits: Splits
    _windows: dict[str, WindowSet] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source_path(self) -> Path:
        """The FASTA file that the genome was prepared from."""
        return _resolve(self.settings.fasta)[0]

    def training_windows(self) -> WindowSet:
        """Windows of the train split.

        Raises:
            DataError: if no window is left.
        """
        if "train" not in self._windows:
            self._windows["train"] = WindowSet(
                self.store,
                self.splits.train,
                self.settings.length,
                max_n_fraction=self.settings.max_n_fraction,
            )
        return self._windows["train"]

    def training_stream(self, seed: int, global_batch_size: int) -> TrainingStream:
        """Endless training batches of `global_batch_size` rows, a function of (seed, step).

        Raises:
            DataError: if no window is left.
        """
        return TrainingStream(
            self.training_windows(),
            seed=seed,
            global_batch_size=global_batch_size,
            jitter=self.settings.jitter,
            reverse_complement=self.settings.reverse_complement,
            soft_mask_weight=self.settings.soft_mask_weight,
        )

    def evaluation_windows(
        self,
        split: str,
        length: int | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> EvaluationWindows:
        """Every base of a split once, in windows of `length` (None: the training length).

        Raises:
            DataError: if the split is unknown, empty or holds nothing but N.
        """
        intervals = self.splits[split]
        if not intervals:
            raise DataError(
                f"the {split} split is empty; name its records in data.{split} "
                f"or set data.{split}_fraction"
            )
        length = self.settings.length if length is None else length
        return EvaluationWindows(self.store, intervals, length, seed=seed, limit=limit)

    @functools.cached_property
    def region_classes(self) -> RegionClasses | None:
        """Coding or non-coding for each base; None without an annotation.

        Raises:
            DataError: if the annotation cannot be used with this genome.
        """
        if self.settings.annotation is None:
            return None
        path, expected = _resolve(self.settings.annotation, suffix=".gff3.gz")
        if expected is not None:
            _check_sha256(path, expected)
        features = read_gff(path, self.store.lengths)
        return region_classes(features, self.store.lengths, self.store.offsets)

    def fingerprint(self) -> str:
        """Hash of everything that decides which batches come out, but not of where files lie."""
        content = {
            "genome": self.store.sha256,
            "records": list(self.store.lengths.items()),
            "splits": {name: [str(item) for item in self.splits[name]] for name in SPLIT_NAMES},
            "settings": {name: getattr(self.settings, name) for name in _WINDOW_SETTINGS},
        }
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
            "window_length": windows.length,
            "num_training_windows": len(windows),
            "num_intervals_too_short": windows.num_too_short,
            "num_windows_rich_in_n": windows.num_rich_in_n,
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
