"""What a population steers towards, and what it came to.

Shapes: P populations of K members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from jaxtyping import Float64, Int
from torch import Tensor

from dnamdlm.diffusion.automaton import Automaton
from dnamdlm.diffusion.lookahead import (
    Lookahead,
    RewardFunction,
    RewardGradient,
    StateValue,
    check_lookahead,
)
from dnamdlm.errors import ConfigError

Proposal = Literal["bootstrap", "first_order", "gradient"]
PROPOSALS = get_args(Proposal)


def check_count(name: str, number: float | int) -> None:
    """Refuse what is not a whole number of at least 1, with a `ConfigError`."""
    if number != int(number) or number < 1:
        raise ConfigError(f"{name}={number} must be a whole number of at least 1")


@dataclass(frozen=True)
class Tilt:
    """What a population steers towards, and how.

    Attributes:
        size: members of a population, K.
        reward: r(x) / a of finished sequences; None is 0.
        value: of partly masked sequences: 'draws' is the log of the mean of exp(r / a) over
            `guesses` sequences whose masks are drawn independently, 'likely' is r / a where each
            mask is its most likely token, or a function of ids and times. It changes how evenly
            the weights spread, not the target.
        guesses: sequences per value of 'draws'.
        proposal: 'bootstrap' takes the steps of the sampler; 'first_order' draws each token in
            proportion to its probability times exp(value with this token), which costs four values
            per token, finds what is rare, and needs more guesses where the reward is uneven;
            'gradient' takes these values from one derivative by the tokens of each guess, which is
            exact for a reward that is linear in them.
        within: the target is this times whether an automaton accepts the sequence. The tokens of a
            step are then drawn within the accepted sequences, and the weights make up for it.
        gradient: r / a of finished sequences with its derivatives by the tokens, for 'gradient'.
        threshold: a population is resampled when its effective size falls below this share of K.

    Raises:
        ConfigError: if a setting is out of range.

    Example: twice as much weight for every A (id 7).
        >>> tilt = Tilt(16, reward=lambda ids: (ids == 7).sum(1).double() * math.log(2))
        >>> tilt.proposal, tilt.value
        ('bootstrap', 'draws')
    """

    size: int
    reward: RewardFunction | None = None
    value: Lookahead | StateValue = "draws"
    guesses: int = 4
    proposal: Proposal = "bootstrap"
    threshold: float = 0.5
    within: Automaton | None = None
    gradient: RewardGradient | None = None

    def __post_init__(self) -> None:
        check_count("population", self.size)
        check_count("guesses", self.guesses)
        if self.proposal not in PROPOSALS:
            raise ConfigError(f"proposal={self.proposal} is unknown; choose {', '.join(PROPOSALS)}")
        if self.within is not None and self.is_twisted:
            raise ConfigError(
                f"proposal={self.proposal} draws each token by the reward, and an automaton draws "
                "it by what is accepted; use proposal=bootstrap"
            )
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold={self.threshold} must lie in [0, 1]")
        check_lookahead(self.value)
        if self.proposal == "gradient" and callable(self.value):
            raise ConfigError(
                "proposal=gradient reads the derivatives of the reward at completed sequences, and "
                "value= is a function; use value=draws or likely, or proposal=first_order"
            )
        if self.proposal == "gradient" and self.reward is not None and self.gradient is None:
            raise ConfigError(
                "proposal=gradient needs the derivatives of the reward; give gradient=, or use "
                "proposal=first_order"
            )

    @property
    def is_twisted(self) -> bool:
        """Whether tokens are drawn by the value of what they lead to."""
        return self.proposal != "bootstrap" and self.reward is not None

    @property
    def draws_again(self) -> bool:
        """Whether tokens are drawn by something else than the step rule."""
        return self.is_twisted or self.within is not None


@dataclass(frozen=True)
class Outcome:
    """What the populations of a batch came to.

    Attributes:
        log_z: log of the estimate of Z, whose exponential has expectation Z.
        effective_size: of the weights, before one member was drawn by them.
        rows: the row that was drawn from each population.
        log_weights: log of the weight of each member.
    """

    log_z: Float64[Tensor, " P"]
    effective_size: Float64[Tensor, " P"]
    rows: Int[Tensor, " P"]
    log_weights: Float64[Tensor, "P K"]
