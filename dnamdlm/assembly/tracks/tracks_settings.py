"""The settings of `tracks`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dnamdlm.assembly.building.field_types import Devices, Positive, Strands, Weights, check_fields
from dnamdlm.assembly.model_data import DataChanges
from dnamdlm.data.output_streams import STANDARD_OUTPUT
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.locus_bits import STRIDE

_OF_SPLITS = ("bed", "expand", "train", "valid", "test")


@dataclass(frozen=True)
class TracksSettings:
    """What tracks are made of, and how; `configs/tracks.yaml` explains the fields."""

    model: str
    out: str
    locus: str | None = None
    bed: str | None = None
    data: DataChanges = field(default_factory=DataChanges)
    stride: Positive = STRIDE
    assembly: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None
    batch_size: Positive | None = None
    max_order: Annotated[int, Field(ge=0, le=12)] = 10
    strands: Strands | None = None
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
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
        parse_shard(self.shard)
        if self.locus is not None and self.bed is not None:
            raise ConfigError(
                f"locus={self.locus} and bed={self.bed} both say where; give one of them"
            )
        if self.locus is None and not self.is_folder:
            raise ConfigError(
                f"out={self.out} holds one locus, which is not given; give "
                "locus=chrom:start-end, or out=FOLDER for a whole genome"
            )

    @property
    def is_folder(self) -> bool:
        """Whether a folder for a genome browser is written, rather than one file of a locus."""
        return not Path(self.out).suffix and self.out != STANDARD_OUTPUT

    @property
    def strands_of_locus(self) -> Strands:
        """Which strands are read for one file."""
        return self.strands or "one"

    @property
    def strands_of_genome(self) -> Strands:
        """Which strands are read for a folder."""
        return self.strands or "both"

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        if self.is_folder:
            names = ("max_order", *(f"data.{name}" for name in _OF_SPLITS))
            reason = "a folder of tracks is not compared with a Markov model of the training split"
            return dict.fromkeys(names, reason)
        reason = f"out={self.out} is one file of a locus, and only a folder has it"
        return dict.fromkeys(
            ("bed", "assembly", "workers", "devices", "shard", "part_rows"), reason
        )
