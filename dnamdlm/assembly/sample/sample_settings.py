"""The settings of `sample`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from dnamdlm.assembly.building.field_types import (
    Devices,
    NotNegative,
    Positive,
    PositiveNumber,
    PositiveShare,
    RewardTerms,
    Seed,
    Share,
    Weights,
    check_fields,
)
from dnamdlm.assembly.runner.part_settings import why_without_parts
from dnamdlm.assembly.value_settings import check_value, reasons_of_value
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.diffusion.tilt import Proposal
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.class_guidance import GuideOrder
from dnamdlm.lm.sampling.samplers import AncestralSampler, Sampler


@dataclass(frozen=True)
class GenomeOfInfill:
    """The genome whose intervals are filled in.

    Attributes:
        fasta: FASTA file or `embedded:NAME`.
        circular: names of circular records, whose context goes across their origin.
        cache_dir: folder of the prepared genome.
        rna: read U as T.
    """

    fasta: str | None = None
    circular: tuple[str, ...] | None = None
    cache_dir: str | None = None
    rna: bool = False


@dataclass(frozen=True)
class SampleSettings:
    """What is generated, and how; the meaning of each field stands in `configs/sample.yaml`."""

    model: str
    out: str
    num_sequences: Positive = 16
    length: Positive | None = None
    block_length: Positive | None = None
    prompt: str | None = None
    temperature: PositiveNumber = 1.0
    top_p: PositiveShare = 1.0
    top_k: Positive | None = None
    template: str | None = None
    motif: tuple[str, ...] | None = None
    forbid: str | tuple[str, ...] | None = None
    infill: str | None = None
    edit: str | None = None
    noise_level: PositiveShare = 0.3
    data: GenomeOfInfill = field(default_factory=GenomeOfInfill)
    flank: NotNegative = 0
    label: str | int | None = None
    condition: tuple[str, ...] | None = None
    guidance: Annotated[float, Field(ge=0)] = 1.0
    guide: str | None = None
    guide_label: str | int | None = None
    guide_order: GuideOrder = "exact"
    corrected: bool = False
    pointer: Share = 0.0
    reward: RewardTerms | None = None
    reward_class: str | None = None
    reward_temperature: PositiveNumber = 1.0
    population: Positive | None = None
    value: str = "draws"
    value_class: str | None = None
    guesses: Positive = 4
    proposal: Proposal = "bootstrap"
    sampler: Sampler = field(default_factory=AncestralSampler)
    batch_size: Positive = 64
    width: Positive = 60
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
    seed: Seed = 1
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)
        check_value(self.value)
        parse_shard(self.shard)
        self._check_one_source()
        is_of_pointer = self.pointer > 0 and self.infill is None
        if (self.infill is None) != (self.data.fasta is None) and not is_of_pointer:
            raise ConfigError("infill=FILE.bed and data.fasta=FILE belong together; give both")
        if self.label is not None and self.guide is not None:
            raise ConfigError(
                "label and guide are both given; a model is guided by its own class or by a "
                "classifier, so leave one out"
            )
        if self.condition is not None and (self.label is not None or self.guide is not None):
            raise ConfigError(
                "condition is given with label or guide; a model is guided by its own numbers, its "
                "own class or a classifier, so give one of them"
            )
        if (self.guide is None) != (self.guide_label is None):
            raise ConfigError("guide=RUN and guide_label=NAME belong together; give both")
        if self.guidance != 1.0 and not self.is_guided:
            raise ConfigError(
                f"guidance={self.guidance} needs a class or a number to guide towards; give "
                "label=NAME, condition=NAME:VALUE, or guide=RUN and guide_label=NAME"
            )
        if self.corrected:
            self._check_corrected()
        if self.reward is not None and (self.workers or 1) > 1:
            raise ConfigError(
                f"workers={self.workers} cannot share a reward, which is computed in one process; "
                "leave workers out"
            )
        if self.reward is not None and self.devices:
            raise ConfigError(
                "devices=auto cannot share a reward, which is computed in one process; leave "
                "devices out"
            )

    @property
    def is_guided(self) -> bool:
        """Whether there is a class, a number or a classifier to guide towards."""
        return not (self.label is None and self.condition is None and self.guide is None)

    def _check_corrected(self) -> None:
        """Corrected guidance mixes a model with a class or number and without it, by weights."""
        if self.label is None and self.condition is None:
            raise ConfigError(
                "corrected=true draws from p(x|y)^g p(x)^(1-g) of a model that was trained with "
                "classes or numbers; give label=NAME or condition=NAME:VALUE"
            )
        if self.guidance in (0.0, 1.0):
            raise ConfigError(
                f"corrected was given but has no effect: guidance={self.guidance:g} is the "
                "distribution of the model already; leave it out"
            )
        if self.population is None and self.reward is None:
            raise ConfigError(
                "corrected=true draws each sequence from a population of its own; give its size, "
                "such as population=32"
            )

    def _check_one_source(self) -> None:
        """Templates and intervals say alone what is to be filled."""
        for chosen, others in (
            ("template", ("length", "motif", "infill")),
            ("infill", ("length", "motif")),
            ("edit", ("template", "length", "motif", "infill", "forbid")),
        ):
            for other in others:
                if getattr(self, chosen) is not None and getattr(self, other) is not None:
                    task = "filled" if chosen != "edit" else "edited"
                    raise ConfigError(
                        f"{chosen} and {other} are both given; {chosen} says all that is to be "
                        f"{task}, so leave {other} out"
                    )

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = why_without_parts(self.out)
        if self.infill is None:
            reasons["flank"] = "it is the context of intervals of infill, and there are none"
            if not self.pointer:
                reasons["data.cache_dir"] = "no genome is read without infill"
            reasons["data.circular"] = "no genome is read without infill"
        if self.infill is None and self.template is None and self.edit is None:
            reasons["data.rna"] = "no file of sequences is read; it is for template and infill"
        if self.edit is None:
            reasons["noise_level"] = "no sequence is edited; give edit=FILE"
        if self.guide is None:
            reasons["guide_order"] = "no classifier guides; give guide=RUN"
        if not self.is_guided:
            reasons["guidance"] = (
                "there is no class or number to guide towards; give label=NAME or "
                "condition=NAME:VALUE"
            )
        if self.reward is None:
            reason = "there is no reward; give reward=HEAD"
            names = (
                "reward_class", "reward_temperature", "value", "value_class", "guesses", "proposal",
            )  # fmt: skip
            reasons |= dict.fromkeys(names, reason)
            if not self.corrected:
                reasons["population"] = (
                    "there is nothing to weigh its members by; give reward=HEAD or corrected=true"
                )
        else:
            reasons |= reasons_of_value(self.value)
        if self.reward is not None:
            reason = "sequences of a reward are written as they are made, without parts"
            reasons |= dict.fromkeys(("shard", "part_rows"), reason)
        return reasons
