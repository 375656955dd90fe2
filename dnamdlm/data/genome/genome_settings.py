"""The user's description of a genome to learn from: which file, how it is split and cut."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.data.genome.fasta import IupacPolicy
from dnamdlm.data.genome.genome_files import open_genome, resolve
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.opened_genome import OpenGenome, reach_of
from dnamdlm.data.genome.record_classes import RecordLabels, read_labels
from dnamdlm.data.genome.splits import (
    EXPANDED_BASES,
    SPLIT_NAMES,
    Splits,
    expand_rows,
    split_by_bed,
    split_by_fractions,
    split_by_records,
)
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.named_files import missing_file
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GenomeData:
    """Settings of the `data` group: which genome, how it is split and cut into windows.

    Attributes:
        fasta: path of a FASTA file (plain, gzip, bgzip) or .2bit file, or `embedded:yeast`.
        annotation: path of a GFF3 file, `embedded:yeast`, or None.
        download_command: downloads the FASTA file, for the message where it is missing; or None.
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
        circular: names of circular records, or None: training windows, variants and loci go across
            their origin, and features of the annotation may.

    Raises:
        ConfigError: if a setting is out of range or contradicts another.
    """

    fasta: str
    annotation: str | None = None
    download_command: str | None = None
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
    circular: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in (*SPLIT_NAMES, "circular"):
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
        path, _ = resolve(self.fasta)
        bed = None if self.bed is None else Path(self.bed)
        for key, file in (("fasta", path), ("bed", bed)):
            if self.download_command and file is not None and not file.exists():
                raise missing_file(f"data.{key}", file, self.download_command)
        store = open_genome(
            self.fasta,
            cache_dir=self.cache_dir,
            iupac=self.iupac,
            rna=self.rna,
            circular=self.circular,
        )
        splits = self._splits(store)
        labels = self._labels(store, splits)
        return OpenGenome(self, store, splits, labels, self._expanded(store, splits))

    def _expanded(
        self, store: GenomeStore, splits: Splits
    ) -> Mapping[str, tuple[Interval, ...]] | None:
        if self.bed is None or not self.expand:
            return None
        table = read_bed(self.bed, store.lengths, elsewhere="skip")
        expanded = expand_rows(table, store.lengths)
        reach = reach_of(splits, expanded)
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
            table = read_bed(self.bed, lengths, elsewhere="skip")
            if table.rejected:
                _log.info(
                    "data.bed: rows on records that the genome does not have, such as line %d, are "
                    "left out (%d in all)", table.rejected[0].line, len(table.rejected),
                )  # fmt: skip
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
            circular=store.circular,
        )
