"""The settings of `design`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from dnamdlm.assembly.building.field_types import (
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
from dnamdlm.assembly.value_settings import check_value, reasons_of_value
from dnamdlm.diffusion.tilt import Proposal
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.samplers import AncestralSampler, Sampler

KMER_AUDIT = "kmer"
"""Value of `audit` for a ridge regression on words, fitted on the natural sequences."""
_POOL_OF_CHOICE = 20
_DRAWS_OF_POOL = 50
# log-probabilities of one sequence that is longer do not fit one batch.
_MOST_BASES = 5_000_000


@dataclass(frozen=True)
class DesignSettings:
    """What is designed, and how; the meaning of each field stands in `configs/design.yaml`."""

    model: str
    reward: RewardTerms
    out: str
    reward_class: str | None = None
    num_sequences: Positive = 16
    length: Positive | None = None
    select: Literal["draw", "best"] = "draw"
    temperature: PositiveNumber | None = None
    population: Positive | None = None
    value: str = "draws"
    value_class: str | None = None
    guesses: Positive = 4
    proposal: Proposal = "bootstrap"
    pool: Positive | None = None
    most_draws: Positive | None = None
    template: str | None = None
    motif: tuple[str, ...] | None = None
    require: tuple[str, ...] | None = None
    avoid: tuple[str, ...] | None = None
    constraints: Literal["reject", "steer"] = "reject"
    gc: tuple[Share, Share] | None = None
    longest_run: Positive | None = None
    unlike: str | None = None
    unlike_share: PositiveShare = 0.5
    unlike_word: Annotated[int, Field(ge=1, le=31)] = 24
    label: str | int | None = None
    condition: tuple[str, ...] | None = None
    guidance: Annotated[float, Field(ge=0)] = 1.0
    audit: str | None = None
    audit_class: str | None = None
    natural: str | None = None
    natural_column: str | None = None
    motifs: str | None = None
    baselines: bool = True
    likelihood_draws: NotNegative = 8
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
    seed: Seed = 1
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.gc is not None and (isinstance(self.gc, float | int | str) or len(self.gc) != 2):
            raise ConfigError(f"gc={self.gc} must be two shares in order, such as [0.4,0.6]")
        check_fields(self)
        if (self.length or 0) > _MOST_BASES:
            raise ConfigError(
                f"length={self.length:,} is more than the {_MOST_BASES:,} bases that a design may "
                "have; give a smaller length"
            )
        if self.temperature is not None and not self.temperature < math.inf:
            raise ConfigError(
                f"temperature={self.temperature} must be finite; leave it out for draws that the "
                "reward does not tilt"
            )
        check_value(self.value)
        if self.template is not None and (self.length is not None or self.motif is not None):
            other = "length" if self.length is not None else "motif"
            raise ConfigError(
                f"template and {other} are both given; template says all that is to be filled, so "
                f"leave {other} out"
            )
        if self.label is not None and self.condition is not None:
            raise ConfigError(
                "label and condition are both given; a model knows classes or numbers, so leave "
                "one out"
            )
        if self.select == "best" and self.temperature is not None and self.population is None:
            raise ConfigError(
                "select=best and temperature are both given; the best of the pool are not draws "
                "from a tilted distribution, so leave one out, or give population=K to choose the "
                "best of draws that are steered"
            )
        if self.population is not None:
            self._check_population()
        elif self.constraints == "steer":
            raise ConfigError(
                "constraints=steer draws each sequence from a population of its own; give its "
                "size, such as population=8"
            )
        if self.constraints == "steer" and not (
            self.require or self.avoid or self.gc or self.longest_run
        ):
            raise ConfigError(
                "constraints=steer has nothing to satisfy; give avoid, require, longest_run or gc, "
                "or leave it out"
            )
        if self.pool is not None and self.pool < self.num_sequences:
            raise ConfigError(
                f"pool={self.pool} is smaller than num_sequences={self.num_sequences}; give a "
                "larger pool"
            )
        if self.most_draws is not None and self.most_draws < self.pool_size:
            raise ConfigError(
                f"most_draws={self.most_draws} is smaller than the pool of {self.pool_size}; give "
                "a larger number"
            )
        if self.audit == KMER_AUDIT and self.natural is None:
            raise ConfigError("audit=kmer is fitted on natural sequences; give natural=TABLE")

    def _check_population(self) -> None:
        """A population needs a temperature, something to choose from, and one process."""
        if self.temperature is None and self.constraints == "reject":
            raise ConfigError(
                f"population={self.population} steers to exp(reward / temperature); give "
                "temperature=NUMBER, or constraints=steer"
            )
        if self.proposal != "bootstrap" and self.constraints == "steer":
            raise ConfigError(
                f"proposal={self.proposal} draws each base by the reward, and constraints=steer by "
                "what satisfies the constraints; leave one out"
            )
        if self.population == 1 and self.proposal == "bootstrap" and self.constraints == "reject":
            raise ConfigError(
                "a population of one has nothing to choose from with proposal=bootstrap; use "
                "population=2 or more"
            )
        if (self.workers or 1) > 1:
            raise ConfigError(
                f"workers={self.workers} cannot share a reward, which is computed in one process; "
                "leave workers out"
            )

    @property
    def chooses(self) -> bool:
        """Whether the reward decides which draws are taken."""
        return self.select == "best" or self.temperature is not None

    @property
    def pool_size(self) -> int:
        """Draws that pass, to select from."""
        ranks = self.select == "best" or (self.temperature is not None and not self.population)
        return self.pool or self.num_sequences * (_POOL_OF_CHOICE if ranks else 1)

    @property
    def draws_allowed(self) -> int:
        """Draws after which the command gives up."""
        return self.most_draws or _DRAWS_OF_POOL * self.pool_size

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons: dict[str, str] = {}
        if not self.chooses:
            reasons["pool"] = (
                "the draws that pass are taken as they are; give temperature=NUMBER or select=best"
            )
        if self.population is None:
            reason = "nothing steers; give population=K"
            reasons |= dict.fromkeys(("value", "value_class", "guesses", "proposal"), reason)
        elif self.temperature is None:
            reason = "no reward steers; give temperature=NUMBER"
            reasons |= dict.fromkeys(("value", "value_class", "guesses", "proposal"), reason)
        else:
            reasons |= reasons_of_value(self.value)
        if self.unlike is None:
            reason = "nothing is given that designs may not copy; give unlike=FILE"
            reasons |= {"unlike_share": reason, "unlike_word": reason}
        if self.label is None and self.condition is None:
            reasons["guidance"] = (
                "there is no class or number to guide towards; give label=NAME or "
                "condition=NAME:VALUE"
            )
        if self.natural is None:
            reason = "there are no natural sequences; give natural=TABLE"
            reasons |= {"natural_column": reason, "motifs": reason}
            if self.population is None and self.temperature is None:
                reasons["baselines"] = reason
        if self.audit is None or self.audit == KMER_AUDIT:
            reasons["audit_class"] = "no head audits; give audit=RUN"
        return reasons
