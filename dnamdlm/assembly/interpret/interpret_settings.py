"""The settings of `interpret`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dnamdlm.assembly.building.field_types import (
    NotNegative,
    Positive,
    Seed,
    Strands,
    Weights,
    as_tuple,
    check_fields,
)
from dnamdlm.data.genome.loci import parse_locus
from dnamdlm.errors import ConfigError

Part = Literal["mutagenesis", "dependency"]
Score = Literal["llr", "elbo"]


@dataclass(frozen=True)
class InterpretedGenome:
    """Where the sequence is from.

    Attributes:
        fasta: FASTA file or `embedded:NAME`; None is the genome of the training.
        cache_dir: folder of prepared genomes.
        circular: names of circular records.
        rna: read U as T.
    """

    fasta: str | None = None
    cache_dir: str | None = None
    circular: tuple[str, ...] | None = None
    rna: bool = False


@dataclass(frozen=True)
class HowToInterpret:
    """What is computed, whatever it is written to.

    Attributes:
        parts: `mutagenesis`, `dependency` or both.
        scores: of mutations, `llr`, `elbo` or both; a fine-tuned head predicts instead.
        length: bases of a window; None is that of the training.
        stride: every stride-th position is hidden at a time in a dependency map.
        pairs: number of strongest pairs that are listed and drawn.
        min_distance: least distance of the two positions of such a pair, bases.
        draws: noise draws per allele for `elbo`.
        strands: `both` averages the network over both strands, `one` and `other` read one.
        batch_size: windows at once; None is what suits the device.
        seed: of the noise of `elbo`.
    """

    parts: tuple[Part, ...] = ("mutagenesis", "dependency")
    scores: tuple[Score, ...] = ("llr",)
    length: Positive | None = None
    stride: Positive = 16
    pairs: NotNegative = 50
    min_distance: Positive = 10
    draws: Positive = 8
    strands: Strands = "both"
    batch_size: Positive | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name, values in (("parts", self.parts), ("scores", self.scores)):
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name}={list(values)} must name at least one, each once")


@dataclass(frozen=True, kw_only=True)
class InterpretSettings(HowToInterpret):
    """What is interpreted, and how; the fields are explained in `configs/interpret.yaml`."""

    model: str
    out: str
    locus: tuple[str, ...] = ()
    data: InterpretedGenome = field(default_factory=InterpretedGenome)
    weights: Weights = "average"
    device: str = "auto"
    trust: tuple[str, ...] = ()
    ops: str = "auto"
    precision: str = "auto"
    threads: Positive | None = None
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in as_tuple(self.locus):
            parse_locus(text)
        if not self.locus and self.data.fasta is None:
            raise ConfigError(
                "locus is not set; give locus=chrom:start-end, or data.fasta=FILE to interpret "
                "each record of a file"
            )

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        found: dict[str, str] = {}
        if "elbo" not in self.scores or "mutagenesis" not in self.parts:
            reason = "no noise is drawn without the score elbo"
            found |= {"draws": reason, "seed": reason}
        if "dependency" not in self.parts:
            reason = "there is no dependency map"
            found |= dict.fromkeys(("stride", "pairs", "min_distance"), reason)
        if "mutagenesis" not in self.parts:
            found["scores"] = "there is no mutagenesis"
        return found
