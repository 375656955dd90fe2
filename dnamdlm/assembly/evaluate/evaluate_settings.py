"""The settings of `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from dnamdlm.assembly.building.field_types import (
    Devices,
    Positive,
    Seed,
    Share,
    Split,
    Strands,
    Weights,
    check_fields,
)
from dnamdlm.assembly.model_data import DataChanges
from dnamdlm.assembly.runner.part_settings import why_without_parts
from dnamdlm.data.parts.cutting import parse_shard


@dataclass(frozen=True)
class EvaluateSettings:
    """What is scored, and how; the meaning of each field stands in `configs/evaluate.yaml`."""

    model: str
    split: Split = "test"
    out: str | None = None
    genome: str | None = None
    data: DataChanges = field(default_factory=DataChanges)
    draws: Positive = 4
    estimator: str = "auto"
    block_length: Positive | None = None
    limit: Positive | None = None
    batch_size: Positive | None = None
    max_order: Annotated[int, Field(ge=0, le=24)] = 20
    repeat_length: Annotated[int, Field(ge=8, le=31)] | None = 20
    mixture: Literal["markov", "copies"] | None = None
    pi: Literal["auto"] | Share = "auto"
    overlap_report: bool = False
    strands: Strands = "one"
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
        parse_shard(self.shard)

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = {} if self.out is None else why_without_parts(self.out)
        if not self.mixture:
            reasons["pi"] = "nothing is mixed without mixture=markov or copies"
        return reasons
