"""The settings of `evaluate`."""

from __future__ import annotations

import re
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
from dnamdlm.assembly.class_labels import check_one_asked
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
    label: str | int | None = None
    condition: tuple[str, ...] | None = None
    block_length: Positive | None = None
    limit: Positive | None = None
    batch_size: Positive | None = None
    max_order: Annotated[int, Field(ge=0, le=24)] = 20
    repeat_length: Annotated[int, Field(ge=8, le=31)] | None = 20
    mixture: Literal["markov", "copies"] | None = None
    pi: Literal["auto"] | Share = "auto"
    pointer: bool = False
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
        check_one_asked(self.label, self.condition)
        parse_shard(self.shard)

    @property
    def asked(self) -> dict[str, str | int | list[str]]:
        """The class or numbers that every window is given, by setting; empty for its own."""
        condition = None if self.condition is None else list(self.condition)
        asked = {"label": self.label, "condition": condition}
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def stem(self) -> str:
        """First part of the name of the file of figures: the split, and what is asked for.

        >>> EvaluateSettings("runs/asked", condition="activity:q0.99").stem
        'test.given_activity_q0.99'
        """
        said = "_".join(map(str, (self.condition or ()) if self.label is None else (self.label,)))
        return f"{self.split}.given_{re.sub(r'[^A-Za-z0-9.-]+', '_', said)}" if said else self.split

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = {} if self.out is None else why_without_parts(self.out)
        if not self.mixture:
            reasons["pi"] = "nothing is mixed without mixture=markov or copies"
        return reasons
