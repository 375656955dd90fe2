"""The settings of `score`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dnamdlm.assembly.building.field_types import (
    Devices,
    Positive,
    Seed,
    Share,
    Strands,
    Weights,
    check_fields,
)
from dnamdlm.assembly.class_labels import check_one_asked
from dnamdlm.assembly.runner.part_settings import why_without_parts
from dnamdlm.data.genome.regions import parse_region
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.variants.all_substitutions import ALL
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.errors import ConfigError

Kind = Literal["llr", "elbo", "embedding"]
Control = Literal["none", "experts"]


@dataclass(frozen=True)
class ScoreSettings:
    """How variants are scored.

    Attributes:
        scores: kinds of scores, each at most once.
        length: bases of a window; None is that of the training.
        draws: noise draws per allele for `elbo`.
        strands: `both` averages the network over both strands, `one` reads the forward strand,
            `other` the reverse complement.
        match_names: take 20 and chr20 for the same record.
        max_mismatch: share of rows that may contradict the genome.
        batch_size: pairs of windows at once; None is what suits the device.
        seed: of the noise.
        region: the part of a chromosome that the genome holds, as `chr17:43008077-43128366`;
            None: its records are whole.
        control: `experts` lowers the noise of `elbo` by what the counts of the model give under the
            same masks; the score estimates the same number.
        label: class that the model is given; None is no class.
        condition: numbers that the model is given, see `number_conditions`; None is none.
    """

    scores: tuple[Kind, ...] = ("llr", "elbo")
    length: Positive | None = None
    draws: Positive = 8
    strands: Strands = "both"
    match_names: bool = False
    max_mismatch: Share = 0.01
    batch_size: Positive | None = None
    seed: Seed = 0
    region: str | None = None
    control: Control = "none"
    label: str | int | None = None
    condition: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_one_asked(self.label, self.condition)
        if self.region is not None:
            parse_region(self.region)
        if not self.scores or len(set(self.scores)) < len(self.scores):
            raise ConfigError("scores must name at least one of llr, elbo, embedding, each once")

    def places(self, store: GenomeStore) -> Places:
        """Where rows lie in a genome.

        Raises:
            DataError: if no record of it can be the region.
        """
        region = None if self.region is None else parse_region(self.region)
        return Places(store, self.match_names, region)


@dataclass(frozen=True)
class ScoredGenome:
    """The genome that the variants were called on.

    Attributes:
        fasta: FASTA file or `embedded:NAME`.
        cache_dir: folder of prepared genomes.
        circular: names of circular records.
        rna: read U as T.
    """

    fasta: str
    cache_dir: str | None = None
    circular: tuple[str, ...] | None = None
    rna: bool = False


@dataclass(frozen=True)
class ScoreEntry:
    """What is scored, and how; the meaning of each field stands in `configs/score.yaml`."""

    model: str
    variants: str
    out: str
    data: ScoredGenome
    bed: str | None = None
    scores: tuple[Kind, ...] = ("llr", "elbo")
    length: Positive | None = None
    draws: Positive = 8
    control: Control = "none"
    label: str | int | None = None
    condition: tuple[str, ...] | None = None
    strands: Strands = "both"
    match_names: bool = False
    max_mismatch: Share = 0.01
    region: str | None = None
    within: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    max_order: Annotated[int, Field(ge=0, le=12)] = 10
    batch_size: Positive | None = None
    weights: Weights = "average"
    device: str = "auto"
    trust: tuple[str, ...] = ()
    ops: str = "auto"
    precision: str = "auto"
    threads: Positive | None = None
    workers: Positive | None = None
    devices: Devices = None
    shard: str | None = None
    part_rows: Positive | None = None
    seed: Seed = 0
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.scoring
        parse_shard(self.shard)
        is_table = ".vcf" not in Path(self.out).suffixes and not why_without_parts(self.out)
        if self.label_column is not None and not is_table:
            raise ConfigError(
                f"label_column={self.label_column} takes figures from a table; give out=FILE.tsv "
                "or .parquet"
            )
        if self.variants == ALL and self.bed is None:
            raise ConfigError(
                "variants=all is every substitution within intervals; give them as bed=FILE"
            )
        if self.variants == ALL and self.region is not None:
            raise ConfigError(
                f"region={self.region} is for variants in coordinates of a chromosome, and "
                "variants=all has those of the genome file; leave it out"
            )
        if self.variants == ALL and self.within is not None:
            raise ConfigError(
                f"within={self.within} picks rows of a file, and variants=all is within the "
                "intervals of bed=FILE; leave it out"
            )

    @property
    def scoring(self) -> ScoreSettings:
        """Those that concern the scores alone."""
        return ScoreSettings(
            self.scores, self.length, self.draws, self.strands, self.match_names,
            self.max_mismatch, self.batch_size, self.seed, self.region, self.control,
            self.label, self.condition,
        )  # fmt: skip

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = why_without_parts(self.out)
        if self.label_column is None:
            reason = "no labels are compared; give label_column=NAME"
            reasons |= {"group_column": reason, "max_order": reason}
        if self.variants != ALL:
            reasons["bed"] = "only variants=all takes intervals"
        if "elbo" not in self.scores:
            reason = "no noise is drawn without the score elbo"
            reasons |= {"draws": reason, "control": reason, "seed": reason}
        return reasons
