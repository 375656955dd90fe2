"""The settings of `tracks`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from dnamdlm.assembly.building.field_types import Positive, Strands, Weights, check_fields
from dnamdlm.assembly.model_data import DataChanges


@dataclass(frozen=True)
class TracksSettings:
    """Which locus is drawn, and how; the meaning of each field stands in `configs/tracks.yaml`."""

    model: str
    locus: str
    out: str
    data: DataChanges = field(default_factory=DataChanges)
    batch_size: Positive | None = None
    max_order: Annotated[int, Field(ge=0, le=12)] = 10
    strands: Strands = "one"
    weights: Weights = "average"
    device: str = "auto"
    trust: tuple[str, ...] = ()
    ops: str = "auto"
    precision: str = "auto"
    threads: Positive | None = None
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
