"""The settings of `judge`."""

from __future__ import annotations

from dataclasses import dataclass, field

from dnamdlm.assembly.building.field_types import (
    NotNegative,
    Positive,
    Seed,
    Split,
    Weights,
    check_fields,
)
from dnamdlm.assembly.model_data import DataChanges
from dnamdlm.errors import ConfigError

HELD_OUT = "split"
"""Stands for the held-out split of the model's data as reference."""


@dataclass(frozen=True)
class JudgeSettings:
    """What is compared, and with what; the meaning of each field stands in `configs/judge.yaml`."""

    samples: str
    model: str | None = None
    reference: str = HELD_OUT
    split: Split = "test"
    out: str | None = None
    genome: str | None = None
    data: DataChanges = field(default_factory=DataChanges)
    motifs: str | None = None
    genes: bool = False
    genetic_code: Positive | None = None
    infill_windows: NotNegative = 8
    scorer: str | None = None
    mauve: bool = False
    weights: Weights = "average"
    device: str = "auto"
    trust: tuple[str, ...] = ()
    ops: str = "auto"
    precision: str = "auto"
    threads: Positive | None = None
    seed: Seed = 0
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
        if self.model is None and self.reference == HELD_OUT:
            raise ConfigError(
                "neither a model nor a reference is given; give model=MODEL to compare with its "
                "held-out split, or reference=FILE.fa"
            )
        if self.mauve and self.scorer is None:
            raise ConfigError(
                "mauve=true compares hidden states of a scorer, and there is none; give "
                "scorer=MODEL"
            )

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = {"data.circular": "samples are compared with windows that cross no origin"}
        if self.reference != HELD_OUT:
            reason = "samples are compared with a file, not with a split"
            reasons |= {"split": reason, "genome": reason}
        if self.model is None:
            reason = "it needs a model"
            reasons |= dict.fromkeys(
                ("infill_windows", "weights", "threads", "scorer", "mauve"), reason
            )
        return reasons
