"""Populations that are asked for: a reward of strings, and what is said of each population."""

from __future__ import annotations

import logging
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
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.diffusion.automaton import Automaton
from dnamdlm.diffusion.lookahead import (
    Lookahead,
    RewardFunction,
    RewardGradient,
    StateValue,
    checked_reward,
)
from dnamdlm.diffusion.tilt import Outcome, Proposal, Tilt, check_count
from dnamdlm.errors import ConfigError
from dnamdlm.rewards.reward import gradient_of
from dnamdlm.tokens.iupac import ids_of_sets

logger = logging.getLogger(__name__)

RewardOfStrings: TypeAlias = Callable[[Sequence[str]], ArrayLike]
"""Sequences -> one number for each."""

DEFAULT_POPULATION = 16
_TRIALS = 2


def warn_of_window(setting: str, reward: Any, length: int) -> None:
    """Say so where a head reads windows that are shorter than the sequences."""
    window = getattr(reward, "window", length)
    if window < length:
        logger.warning(
            "%s=%s reads windows of %d bases, and sequences have %d; what it predicts for them is "
            "pooled over windows", setting, getattr(reward, "name", ""), window, length,
        )  # fmt: skip


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
        within: see `Tilt`.

    Raises:
        ConfigError: if a setting is out of range.
    """

    population: int = DEFAULT_POPULATION
    reward: Any = None
    temperature: float = 1.0
    value: Lookahead | StateValue = "draws"
    guesses: int = 4
    proposal: Proposal = "bootstrap"
    within: Automaton | None = None

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
        if self.population == 1 and self.proposal == "bootstrap" and self.within is None:
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
        return self._tilt(None) if self.reward is None else self._tilt(_no_reward, _no_gradient)

    def check(self, loaded: LoadedModel) -> None:
        """Refuse a reward for a model of text.

        Raises:
            ConfigError: naming what is wrong.
        """
        if self.reward is not None and isinstance(loaded.modality, Text):
            raise ConfigError(
                "reward is for models of DNA, and this is a model of text; leave it out"
            )

    def try_reward(self, loaded: LoadedModel, request: Request) -> None:
        """Compute the reward of two random sequences, before long work.

        Raises:
            ConfigError: if it does not give one finite number for each.
        """
        reward = self.tilt(loaded, request).reward
        if reward is None or request.template.sets is None:
            return
        vocabulary = loaded.lm.vocabulary
        ids = [ids_of_sets(sets, vocabulary) for sets in random_bases(request.template.sets)]
        trials = torch.from_numpy(np.stack(ids)).long()
        checked_reward(reward, trials)
        if self.proposal == "gradient":
            gradient = self.tilt(loaded, request).gradient
            assert gradient is not None
            gradient(trials)
        warn_of_window("reward", self.reward, request.length)

    def tilt(self, loaded: LoadedModel, request: Request) -> Tilt:
        """The target for sequences of token ids, of which the written part is rewarded."""
        if self.reward is None:
            return self._tilt(None)
        decode = loaded.modality.decode
        batch: RewardOfStrings = getattr(self.reward, "batch", self.reward)

        def values(ids: Tensor) -> Tensor:
            rows = ids[:, request.start : request.end].cpu().numpy()
            return _numbers(batch([decode(row) for row in rows])) / self.temperature

        symbols = [loaded.lm.vocabulary.symbols.index(base) for base in "ACGT"]

        def gradients(ids: Tensor) -> tuple[Tensor, Tensor]:
            rows = ids[:, request.start : request.end].cpu().numpy()
            value, slope = gradient_of(self.reward, [decode(row) for row in rows])
            slopes = torch.zeros((*ids.shape, len(loaded.lm.vocabulary)), dtype=torch.float64)
            slopes[:, request.start : request.end, symbols] = torch.from_numpy(slope)
            scale = 1.0 / self.temperature
            return torch.from_numpy(value * scale).to(ids.device), (slopes * scale).to(ids.device)

        return self._tilt(values, gradients)

    def _tilt(self, reward: RewardFunction | None, gradient: RewardGradient | None = None) -> Tilt:
        return Tilt(
            self.population, reward, self.value, self.guesses, self.proposal, within=self.within,
            gradient=gradient if self.proposal == "gradient" else None,
        )  # fmt: skip


def random_bases(sets: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two sequences of what each position may become, as sets of one base, uint8 (2, L)."""
    rng = np.random.default_rng(0)
    allowed = (sets[:, None] >> np.arange(4, dtype=np.uint8)) & 1
    return (1 << (rng.random((_TRIALS, *allowed.shape)) * allowed).argmax(axis=2)).astype(np.uint8)


def _no_gradient(ids: Tensor) -> tuple[Tensor, Tensor]:
    return _no_reward(ids), torch.zeros((*ids.shape, 1), dtype=torch.float64)


def _no_reward(ids: Tensor) -> Tensor:
    return torch.zeros(len(ids), dtype=torch.float64)


def steering_of(
    settings: SampleSettings, reward: Any, value: Lookahead | StateValue = "draws"
) -> SteeringRequest | None:
    """The populations that settings ask for; None if there are none.

    Args:
        settings: of `sample`.
        reward: what `settings.reward` names, or an object from Python in its place.
        value: what `settings.value` names, or a function in its place.

    Raises:
        ConfigError: if a setting is out of range.
    """
    if settings.reward is None:
        return None if settings.population is None else SteeringRequest(settings.population)
    return SteeringRequest(
        settings.population or DEFAULT_POPULATION,
        reward,
        settings.reward_temperature,
        value,
        settings.guesses,
        settings.proposal,
    )


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
