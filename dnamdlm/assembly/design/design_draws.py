"""Draws of `design`: one by one or from populations, until enough of them pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dnamdlm.assembly.design.candidates import Pool, passing_draws
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.requirements import automaton_of
from dnamdlm.assembly.design.selecting import Steered
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.noisy_heads import value_of
from dnamdlm.assembly.sample.generating import Generation, check_memory, generated
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.assembly.sample.sample_writers import writer_of
from dnamdlm.assembly.sample.steering_request import SteeringRequest
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.lookahead import Lookahead, StateValue
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.steered import check_steered
from dnamdlm.progress import Progress
from dnamdlm.rewards.conditions import Condition
from dnamdlm.rewards.reward import CountedReward


@dataclass(frozen=True)
class Drawing:
    """What all draws of one call share.

    Attributes:
        loaded: the model.
        settings: of `design`.
        request: what is filled.
        conditions: that draws have to pass.
        guidance: a class or numbers to steer towards, or None.
    """

    loaded: LoadedModel
    settings: DesignSettings
    request: Request
    conditions: Sequence[Condition]
    guidance: Guidance | None

    def steering(self, reward: CountedReward) -> SteeringRequest | None:
        """The populations that are asked for, checked against the model and the sampler.

        Raises:
            ConfigError: if they cannot be served, or need more memory than there may be.
        """
        settings = self.settings
        if settings.population is None:
            return None
        within = None
        if settings.constraints == "steer":
            found = automaton_of(self.conditions, self.request, self.loaded.lm.vocabulary)
            within = found.to(self.loaded.device)
        steering = SteeringRequest(
            settings.population,
            None if settings.temperature is None else reward,
            settings.temperature or 1.0,
            self._value(),
            settings.guesses,
            settings.proposal,
            within,
        )
        check_steered(
            self.loaded.language_model,
            steering.target,
            sampler=settings.sampler,
            guidance=self.guidance,
            choice=Choice(),
        )
        check_memory(steering, self.loaded, [self.request])
        steering.try_reward(self.loaded, self.request)
        return steering

    def _value(self) -> Lookahead | StateValue:
        """How members with masks are valued."""
        settings = self.settings
        if settings.temperature is None:
            return "draws"
        return value_of(
            settings.value, settings.value_class, self.loaded, settings.temperature,
            trust=settings.trust,
        )  # fmt: skip

    def generation(self, steering: SteeringRequest | None) -> Generation:
        """How sequences are made; with populations in this process, where the reward is."""
        settings = self.settings
        return Generation(
            self.loaded, settings.sampler, Choice(), self.guidance, settings.seed,
            settings.batch_size, lambda _: None, settings.threads,
            settings.workers if steering is None else 1, steering=steering,
        )  # fmt: skip

    def pool(self, run: Generation, wanted: int) -> Pool:
        """Draws that pass.

        Raises:
            DataError: if too few do.
        """
        members = 1 if run.steering is None else run.steering.population
        hidden = self.request.num_hidden * members
        with Progress("sampling", wanted * hidden, self.loaded.modality.units) as progress:
            run.watch = progress.advance
            return passing_draws(
                self._draws(run, progress, hidden),
                self.conditions,
                wanted=wanted,
                most=self.settings.draws_allowed,
                members=members,
            )

    def _draws(
        self, run: Generation, progress: Progress, hidden: int
    ) -> Callable[[int, int], list[str]]:
        """A function that makes draws from a number on, each with `hidden` bases to fill."""
        writer = writer_of(self.loaded.modality)

        def draw(first: int, count: int) -> list[str]:
            # more rounds than were planned.
            progress.total = max(progress.total, (first + count) * hidden)
            return list(writer.strings(generated(run, [self.request], count, first=first)))

        return draw


def steered_of(run: Generation, pool: Pool) -> Steered | None:
    """The populations of the draws that were used; None without populations."""
    if run.steering is None:
        return None
    log_z = np.array([run.figures[number].log_z for number in range(pool.draws)])
    sizes = np.array([run.figures[number].effective_size for number in range(pool.draws)])
    return Steered(log_z[pool.numbers], log_z, sizes)
