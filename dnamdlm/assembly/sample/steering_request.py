"""Populations that are asked for: a reward of strings, and what is said of each population."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.diffusion.lookahead import Lookahead, RewardFunction, StateValue
from dnamdlm.diffusion.tilt import Outcome, Proposal, Tilt, check_count
from dnamdlm.errors import ConfigError

RewardOfStrings: TypeAlias = Callable[[Sequence[str]], ArrayLike]
"""Sequences -> one number for each."""

DEFAULT_POPULATION = 16


@dataclass(frozen=True)
class PopulationFigures:
    """What the population of one sequence came to.

    Attributes:
        log_z: log of its estimate of Z, the mean of exp(reward / temperature) under the model.
        effective_size: members that its weights amount to, before one was drawn.
    """

    log_z: float
    effective_size: float

    @property
    def note(self) -> str:
        """The end of a FASTA header."""
        return f" log_z={self.log_z:.6g} effective_size={self.effective_size:.3g}"


def figures_of(outcome: Outcome, numbers: Iterable[int]) -> dict[int, PopulationFigures]:
    """The figures of each sequence, by its number."""
    columns = zip(numbers, outcome.log_z.tolist(), outcome.effective_size.tolist(), strict=True)
    return {number: PopulationFigures(log_z, size) for number, log_z, size in columns}


class SteeredStrings(list[str]):
    """Strings that were drawn from populations, one from each.

    Attributes:
        log_z: log of each population's estimate of Z, float64 (N,).
        effective_size: members that its weights amounted to, float64 (N,).
    """

    def __init__(self, strings: Iterable[str], figures: Sequence[PopulationFigures]) -> None:
        super().__init__(strings)
        self.log_z: NDArray[np.float64] = np.array([one.log_z for one in figures])
        self.effective_size: NDArray[np.float64] = np.array([one.effective_size for one in figures])


@dataclass(frozen=True)
class SteeringRequest:
    """Populations as a user asks for them.

    Attributes:
        population: members of each, K.
        reward: a function of a list of sequences, or an object with such a method `batch`; None is
            for corrected guidance alone.
        temperature: a in p(x) exp(reward(x) / a), in the unit of the reward.
        value: see `Tilt`.
        guesses: see `Tilt`.
        proposal: see `Tilt`.

    Raises:
        ConfigError: if a setting is out of range.
    """

    population: int = DEFAULT_POPULATION
    reward: Any = None
    temperature: float = 1.0
    value: Lookahead | StateValue = "draws"
    guesses: int = 4
    proposal: Proposal = "bootstrap"

    def __post_init__(self) -> None:
        if self.reward is not None and not callable(getattr(self.reward, "batch", self.reward)):
            raise ConfigError(
                f"reward must be a function of a list of sequences, or have a method batch, got "
                f"{type(self.reward).__name__}"
            )
        if not 0.0 < self.temperature < float("inf"):
            raise ConfigError(
                f"reward_temperature={self.temperature} must be above 0 and finite: it divides the "
                "reward"
            )
        if self.population == 1 and self.proposal == "bootstrap":
            raise ConfigError(
                "a population of one has nothing to choose from with proposal=bootstrap; use "
                "population=2 or more"
            )
        for name, number in (("population", self.population), ("guesses", self.guesses)):
            check_count(name, number)
        self._tilt(None)

    @property
    def target(self) -> Tilt:
        """The settings of a `Tilt` with a reward that is 0, or None where there is none."""
        return self._tilt(None if self.reward is None else _no_reward)

    def check(self, loaded: LoadedModel) -> None:
        """Refuse a reward for a model of text.

        Raises:
            ConfigError: naming what is wrong.
        """
        if self.reward is not None and isinstance(loaded.modality, Text):
            raise ConfigError(
                "reward is for models of DNA, and this is a model of text; leave it out"
            )

    def tilt(self, loaded: LoadedModel, request: Request) -> Tilt:
        """The target for sequences of token ids, of which the written part is rewarded."""
        if self.reward is None:
            return self._tilt(None)
        decode = loaded.modality.decode
        batch: RewardOfStrings = getattr(self.reward, "batch", self.reward)

        def values(ids: Tensor) -> Tensor:
            rows = ids[:, request.start : request.end].cpu().numpy()
            return _numbers(batch([decode(row) for row in rows])) / self.temperature

        return self._tilt(values)

    def _tilt(self, reward: RewardFunction | None) -> Tilt:
        return Tilt(self.population, reward, self.value, self.guesses, self.proposal)


def _no_reward(ids: Tensor) -> Tensor:
    return torch.zeros(len(ids), dtype=torch.float64)


def steering_of(
    reward: Any,
    temperature: float,
    population: int | None,
    *,
    value: Lookahead | StateValue,
    guesses: int,
    proposal: Proposal,
) -> SteeringRequest | None:
    """The populations of a reward; None without one.

    Raises:
        ConfigError: if a setting is out of range, or has no effect without a reward.
    """
    if reward is not None:
        size = DEFAULT_POPULATION if population is None else population
        return SteeringRequest(size, reward, float(temperature), value, guesses, proposal)
    usual = SteeringRequest()
    for name, found, default in (
        ("reward_temperature", temperature, usual.temperature),
        ("value", value, usual.value),
        ("guesses", guesses, usual.guesses),
        ("proposal", proposal, usual.proposal),
    ):
        if found != default:
            raise ConfigError(
                f"{name} was given but has no effect: there is no reward; leave it out"
            )
    return None


def _numbers(found: Any) -> Tensor:
    """What a reward gave, as float64."""
    if hasattr(found, "detach"):
        found = found.detach().cpu()
    try:
        return torch.from_numpy(np.array(found, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the reward gave {type(found).__name__} in place of numbers; give one number for each "
            "sequence"
        ) from error
