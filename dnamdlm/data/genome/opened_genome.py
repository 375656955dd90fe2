"""A prepared genome with its splits, as the source of batches for training and evaluation."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnamdlm.data.data_source import OpenData, Unit
from dnamdlm.data.genome.annotation import (
    AnnotatesOther,
    Feature,
    RegionClasses,
    read_gff,
    region_classes,
)
from dnamdlm.data.genome.genome_files import check_sha256, resolve
from dnamdlm.data.genome.genome_rows import GenomeRows
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.record_classes import RecordLabels
from dnamdlm.data.genome.splits import SPLIT_NAMES, Splits, merge, shared_bases
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.genome.windows import SplitWindows, WindowSet
from dnamdlm.data.stream import Sweep, TrainingStream
from dnamdlm.errors import DataError

if TYPE_CHECKING:
    from dnamdlm.data.genome.genome_settings import GenomeData

_log = logging.getLogger(__name__)

_WINDOW_SETTINGS = (
    "length",
    "max_n_fraction",
    "jitter",
    "reverse_complement",
    "soft_mask_weight",
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
        return resolve(self.settings.fasta)[0]

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
            DataError: if the split is unknown, empty or all N.
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
        """Features of the annotation; empty without one.

        Rows on records that the genome does not have are left out, and how many is logged. So is
        an annotation that comes with the package, and with a recipe, where it is of another genome.

        Raises:
            DataError: if the annotation cannot be used with this genome.
        """
        if self.settings.annotation is None:
            return ()
        path, expected = resolve(self.settings.annotation, suffix=".gff3.gz")
        if expected is not None:
            check_sha256(path, expected)
        try:
            found = read_gff(path, self.store.lengths, self.store.circular)
        except AnnotatesOther as error:
            if expected is None:
                raise
            _log.info("data.annotation=%s is not used: %s", self.settings.annotation, error)
            return ()
        if found.num_elsewhere:
            _log.info(
                "data.annotation: rows on records that the genome does not have, such as %s, are "
                "left out (%d in all)", found.elsewhere, found.num_elsewhere,
            )  # fmt: skip
        return found.features

    @functools.cached_property
    def region_classes(self) -> RegionClasses | None:
        """Coding or non-coding for each base; None without an annotation.

        Raises:
            DataError: if the annotation cannot be used with this genome.
        """
        if not self.features:
            return None
        return region_classes(self.features, self.store.lengths, self.store.offsets)

    def check_files(self) -> None:
        """Read the annotation, which neither training nor making windows does.

        Raises:
            DataError: if it cannot be used with this genome.
        """
        _ = self.region_classes

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
        if self.store.circular:
            content["circular"] = sorted(self.store.circular)
        if self.expanded is not None:
            content["expanded"] = [str(item) for item in self.expanded["train"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Facts for a report: source, hashes, counts and splits."""
        manifest = self.store.manifest
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
            "expanded": None if self.expanded is None else reach_of(self.splits, self.expanded),
            **self.window_facts(),
            "label_names": list(self.label_names),
        }

    def window_facts(self) -> dict[str, int]:
        """Numbers of training windows, used and left out."""
        windows = self.training_windows()
        return {
            "window_length": windows.length,
            "num_training_windows": len(windows),
            "num_intervals_too_short": windows.num_too_short,
            "num_windows_rich_in_n": windows.num_rich_in_n,
        }


def reach_of(splits: Splits, expanded: Mapping[str, tuple[Interval, ...]]) -> dict[str, int]:
    """How many bases of the expanded training rows lie outside train, in valid and in test."""
    rows = merge(expanded["train"])
    inside = shared_bases(rows, splits.train)
    return {
        "outside": sum(map(len, rows)) - inside,
        "valid": shared_bases(rows, splits.valid),
        "test": shared_bases(rows, splits.test),
    }
