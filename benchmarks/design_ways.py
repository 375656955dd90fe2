"""Sequences of high reward, made in every way that designs are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.design_rows import NaturalReward, climbed
from benchmarks.design_runs import BITS_DRAWS, SAMPLER, Runs, bits_of
from dnamdlm.assembly.design.baseline_draws import Compared, accepted
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.rewards.mutation import mutated
from dnamdlm.rewards.reward import Reward, rewards_of

POPULATION = 16
_NATURAL_PERCENTILE = 95.0


class Maker:
    """Makes sequences in every way, with one reward and one seed."""

    def __init__(self, runs: Runs, reward: Reward, seed: int, count: int) -> None:
        self.runs, self.reward, self.seed, self.count = runs, reward, seed, count
        self.length = len(runs.halves.design.texts[0])

    def steered(self, proposal: str, share: float, **asked: Any) -> Compared:
        """Populations; the temperature is a share of the reward's spread over the design half."""
        return self._populations(self.runs.numbers, proposal, share, **asked)

    def tuned(self, share: float) -> Compared:
        """Draws of the model that is fine-tuned on the reward, at such a temperature."""
        tuned = self.runs.tuned(self.seed, share)
        made = self._designs(tuned.loaded, self.reward)
        return replace(
            made, network_calls=made.network_calls + tuned.network_calls, rewards=tuned.rewards
        )

    def tuned_steered(self, tuning: float, proposal: str, share: float) -> Compared:
        """Populations of the model that is fine-tuned on the reward."""
        tuned = self.runs.tuned(self.seed, tuning)
        made = self._populations(tuned.loaded, proposal, share)
        return replace(
            made,
            network_calls=made.network_calls + tuned.network_calls,
            rewards=made.rewards + tuned.rewards,
        )

    def asked(self, quantile: str, guidance: float) -> Compared:
        """Guidance to a quantile of the activity."""
        condition = {"activity": quantile}
        return self._designs(self.runs.numbers, self.reward, condition=condition, guidance=guidance)

    def of_class(self, guidance: float) -> Compared:
        """Guidance to the class of the most active."""
        return self._designs(self.runs.classes, self.reward, label="high", guidance=guidance)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the reward over some of the design half."""
        return self.runs.spread(self.reward)

    def _populations(
        self, loaded: LoadedModel, proposal: str, share: float, **asked: Any
    ) -> Compared:
        return self._designs(
            loaded, self.reward, population=POPULATION, temperature=share * self.spread,
            value="likely", proposal=proposal, **asked,
        )  # fmt: skip

    def _designs(self, loaded: LoadedModel, reward: Reward, **settings: Any) -> Compared:
        count = settings.pop("count", self.count)
        if chooses := "population" in settings:
            settings["baselines"] = False
        made = designs_of(
            loaded, reward, count, self.length, seed=self.seed, likelihood_draws=0,
            sampler=SAMPLER, **settings,
        )  # fmt: skip
        cost = made.report["cost"]
        return Compared(
            made.sequences, cost["network_calls"], cost["reward_sequences"] if chooses else 0
        )

    def drawn(self, network_calls: int, share: float) -> dict[str, Compared]:
        """What rejection and ranking take from draws without the reward."""
        count = max(self.count, network_calls // SAMPLER.num_steps)
        pool = self._designs(self.runs.numbers, self.reward, count=count)
        values = rewards_of(self.reward, pool.sequences)
        rng = np.random.default_rng([self.seed, 7])
        kept = accepted(values, share * self.spread, rng)[: self.count]
        best = np.argsort(-values, kind="stable")[: self.count]
        return {
            name: Compared([pool.sequences[int(row)] for row in rows], pool.network_calls, count)
            for name, rows in (("rejection", kept), ("best of draws", best))
        }

    def mutants(self, calls: int) -> dict[str, Callable[[], Compared]]:
        """Mutation of the most active sequences, freely and as natural sequences are."""
        rows, loaded = self.runs.halves.design, self.runs.numbers
        best = [rows.texts[row] for row in np.argsort(-rows.values, kind="stable")[: self.count]]
        some = np.random.default_rng(0).choice(len(rows), min(300, len(rows)), replace=False)
        reward, seed = self.reward, self.seed

        def limit() -> float:
            known = bits_of(loaded, [rows.texts[row] for row in some])
            return float(np.percentile(known, _NATURAL_PERCENTILE))

        def bits(texts: Sequence[str]) -> NDArray:
            return bits_of(loaded, texts)

        def free() -> Compared:
            return Compared(mutated(best, reward, calls=calls, seed=seed)[0], rewards=calls)

        def natural() -> Compared:
            within = NaturalReward(reward, bits, limit(), len(best))
            found = mutated(best, within, calls=calls, seed=seed)[0]
            return Compared(found, within.asked * BITS_DRAWS, calls)

        def lines() -> Compared:
            found = climbed(best, reward, bits, limit(), calls=calls, seed=seed)
            return Compared(found.texts, found.asked * BITS_DRAWS, found.rewards)

        return {"mutation": free, "mutation, natural": natural, "lines, natural": lines}
