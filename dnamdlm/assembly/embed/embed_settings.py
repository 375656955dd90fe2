"""The settings of `embed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnamdlm.assembly.building.field_types import Devices, Positive, Strands, Weights, check_fields
from dnamdlm.assembly.runner.part_settings import why_without_parts
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.lm.states.record_states import EmbeddingSettings, RecordPooling


@dataclass(frozen=True)
class EmbeddedRecords:
    """What is embedded.

    Attributes:
        fasta: records to embed, or the genome of `bed`.
        bed: intervals to embed in place of whole records.
        circular: names of circular records, whose windows go across their origin.
        cache_dir: folder of prepared genomes.
        rna: read U as T.
    """

    fasta: str
    bed: str | None = None
    circular: tuple[str, ...] | None = None
    cache_dir: str | None = None
    rna: bool = False


@dataclass(frozen=True)
class EmbedSettings:
    """What is embedded, and how; the meaning of each field stands in `configs/embed.yaml`."""

    model: str
    out: str
    data: EmbeddedRecords
    pooling: RecordPooling = "mean"
    bin_size: Positive = 128
    length: Positive | None = None
    overlap: float = 0.25
    dtype: Literal["float32", "float16"] = "float32"
    strands: Strands = "one"
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
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.windows(1)
        parse_shard(self.shard)

    def windows(self, trained_length: int) -> EmbeddingSettings:
        """How records are read and pooled by a model of windows of `trained_length` bases."""
        return EmbeddingSettings(
            self.pooling, self.length or trained_length, self.bin_size, float(self.overlap)
        )

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = why_without_parts(self.out)
        if self.pooling != "bin":
            reasons["bin_size"] = "pooling is not bin"
        if self.data.bed is not None:
            reasons["data.circular"] = "an interval of data.bed is read without what surrounds it"
        return reasons
