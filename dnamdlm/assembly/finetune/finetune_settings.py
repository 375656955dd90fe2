"""The settings of `finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dnamdlm.assembly.building.field_types import (
    Devices,
    NotNegative,
    Positive,
    PositiveShare,
    Weights,
    check_fields,
)
from dnamdlm.assembly.runner.part_settings import why_without_parts
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.tasks.delimited import ending_of
from dnamdlm.data.tasks.labelled import TaskSource
from dnamdlm.data.tasks.target_transforms import Transform
from dnamdlm.errors import ConfigError
from dnamdlm.training.head_fitting import FinetuneSettings

Method = Literal["full", "lora", "probe"]
_THOROUGH_SEEDS = 5
Baseline = Literal["kmer", "cnn", "bag_of_words", "majority", "random_weights"]
# by what the model reads; the first is that of a first try.
_ALL_BASELINES: Mapping[str, tuple[Baseline, ...]] = {
    "dna": ("kmer", "cnn", "random_weights"),
    "text": ("bag_of_words", "majority", "random_weights"),
}


@dataclass(frozen=True)
class FinetuneEntry:
    """What is fitted, and how; `configs/finetune/finetune.yaml` has the meaning of each field.

    `data` is the family of tasks, `record` the settings as they are written down.
    """

    model: str
    run_dir: str
    data: TaskSource
    training: FinetuneSettings
    task: str | None = None
    method: Method = "full"
    probe: Literal["logistic", "ridge", "svm"] = "logistic"
    head: Literal["new", "probe"] = "new"
    lora_rank: Positive = 8
    lora_alpha: Annotated[float, Field(gt=0)] = 16.0
    thorough: bool = False
    transform: Transform | None = None
    baselines: tuple[Baseline, ...] | None = None
    kmer: Positive = 6
    strand: Literal["auto", "one", "conjoined", "invariant"] = "auto"
    pooling: Literal["mean", "mean_padded", "first"] = "mean"
    max_length: Positive | None = None
    long: Literal["tile", "cut", "refuse"] = "tile"
    seeds: Positive | None = None
    seed: NotNegative = 1
    valid_fraction: PositiveShare = 0.1
    bootstrap: NotNegative = 200
    near_share: PositiveShare = 0.5
    audit: Literal["own", "seqleak"] = "own"
    shots: Positive | None = None
    limit: Positive | None = None
    weights: Weights = "average"
    device: str = "auto"
    trust: tuple[str, ...] = ()
    ops: str = "auto"
    precision: str = "auto"
    threads: Positive | None = None
    given: frozenset[str] = frozenset()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.method != "probe" and self.head == "probe" and self.probe == "svm":
            raise ConfigError(
                "head=probe begins with the weights of a regression, and probe=svm has none; "
                "choose probe=logistic or probe=ridge"
            )

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons: dict[str, str] = {}
        if self.method == "probe":
            reasons["head"] = "with method=probe the head is the regression in any case"
        elif self.head == "new":
            reasons["probe"] = (
                f"it is a probe that is not fitted with method={self.method} and head=new"
            )
        if self.method != "lora":
            reason = f"method={self.method} has no adapters"
            reasons |= {"lora_rank": reason, "lora_alpha": reason}
        if self.baselines is not None and "kmer" not in self.baselines:
            reasons["kmer"] = "the baseline kmer is not fitted"
        if self.baselines is not None and self.seeds is not None:
            reasons["thorough"] = "seeds and baselines are set"
        return reasons

    def protocol(self, reads: Literal["dna", "text"]) -> FinetuneEntry:
        """The same settings with splits and baselines filled in.

        Args:
            reads: the modality of the model.
        """
        usual = _ALL_BASELINES[reads] if self.thorough else _ALL_BASELINES[reads][:1]
        return replace(
            self,
            seeds=self.seeds or (_THOROUGH_SEEDS if self.thorough else 1),
            baselines=usual if self.baselines is None else self.baselines,
        )


@dataclass(frozen=True)
class PredictedInput:
    """How the input of `predict` is read.

    Attributes:
        fasta: genome of a BED file.
        sequence_column: of a table; None: sequence, seq, text or dna.
        cache_dir: folder of the prepared genome.
        rna: read U as T.
    """

    fasta: str | None = None
    sequence_column: str | None = None
    cache_dir: str | None = None
    rna: bool = False


@dataclass(frozen=True)
class PredictSettings:
    """What is predicted; the meaning of each field stands in `configs/predict.yaml`."""

    model: str
    input: str
    out: str
    data: PredictedInput = field(default_factory=PredictedInput)
    seed: int | None = None
    device: str = "auto"
    trust: tuple[str, ...] = ()
    ops: str = "auto"
    precision: str = "auto"
    threads: Positive | None = None
    workers: Positive | None = None
    devices: Devices = None
    shard: str | None = None
    part_rows: Positive | None = None
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
        parse_shard(self.shard)

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = why_without_parts(self.out)
        ending = ending_of(Path(self.input))
        if ending == ".bed":
            return reasons | {"data.sequence_column": "a BED file is read with its genome"}
        # of a pipe the ending is not known yet.
        reason = f"no genome is read for a file that ends in {ending}"
        return reasons if not ending else reasons | {"data.fasta": reason, "data.cache_dir": reason}
