"""The trained models of a table of measured sequences, each trained when it is wanted."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dnamdlm
from benchmarks.design_rewards import RewardSettings
from benchmarks.design_rows import Halves
from benchmarks.kept_results import kept
from benchmarks.measured_rows import MeasuredRows, write_rows
from benchmarks.started import DONE, completed
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.string_scores import string_likelihoods
from dnamdlm.data.files import write_text
from dnamdlm.lm.sampling.samplers import AncestralSampler
from dnamdlm.rewards.combined_rewards import FunctionReward
from dnamdlm.rewards.reward import CountedReward, Reward, rewards_of

SAMPLER = AncestralSampler(num_steps=16)
BITS_DRAWS = 4
_HIGH_SHARE = 0.1
# those of the recipe of a table, for the recipe of a genome.
_FORM = ("backbone.local_radius=8", "backbone.attention_window=0")
_CLASSES = ("rest", "high")
# network calls that the training on one row counts as: forward, and backward as two.
_CALLS_OF_A_ROW = 3


@dataclass(frozen=True)
class Tuned:
    """A model that was fine-tuned on a reward, and what that took.

    Attributes:
        loaded: the model.
        network_calls: of the draws and of the training.
        rewards: sequences that the reward read.
        seconds: of the draws and of the training.
    """

    loaded: LoadedModel
    network_calls: int
    rewards: int
    seconds: float


@dataclass(frozen=True)
class Runs:
    """The trained models of one table; each is trained or resumed when it is wanted.

    Attributes:
        folder: of the models that know no reward.
        results: folder of the rewards, and of all that is made with them.
        halves: the rows.
        steps: of the training of each model.
        given: other settings of train.
        rewards: how the reward is made.
        draws: sequences of a model that it is fine-tuned with.
        tuning_steps: of each fine-tuning on a reward.
        genome: FASTA file that the models are pre-trained on first; None: they are not.
    """

    folder: Path
    results: Path
    halves: Halves
    steps: int
    given: tuple[str, ...]
    rewards: RewardSettings
    draws: int
    tuning_steps: int
    genome: Path | None = None

    @cached_property
    def numbers(self) -> LoadedModel:
        """The model that is conditioned on the activity."""
        self._train("numbers", *self._measured, *self._start)
        return _model(self.folder / "numbers")

    @cached_property
    def plain(self) -> LoadedModel:
        """The same without the activity: what is fine-tuned on a reward knows no number."""
        self._train("plain", *self._measured, "backbone.num_numbers=0", *self._start)
        return _model(self.folder / "plain")

    @cached_property
    def classes(self) -> LoadedModel:
        """The model of the most active tenth and the rest."""
        rows = self.halves.design
        limit = np.quantile(rows.values, 1 - _HIGH_SHARE)
        names = [_CLASSES[int(value > limit)] for value in rows.values]
        held = np.random.default_rng(0).random(len(rows)) < 0.1
        splits = ["valid" if item else "train" for item in held]
        files = {
            "rows.fa": [f">r{n}\n{text}" for n, text in enumerate(rows.texts)],
            "labels.tsv": [f"r{n}\t{name}" for n, name in enumerate(names)],
            "splits.bed": [f"r{n}\t0\t{self.length}\t{split}" for n, split in enumerate(splits)],
        }
        for name, lines in files.items():
            write_text(self.folder / name, "\n".join(lines) + "\n")
        fasta, labels, bed = (self.folder / name for name in files)
        self._train("classes", "config=quick", "experts=none", f"data.fasta={fasta}",
                    f"data.labels={labels}", f"data.bed={bed}", "data.reverse_complement=false",
                    "data.jitter=false", "backbone.num_classes=2", "backbone.dropout=0.1",
                    "trainer.global_batch_size=64", *self._start)  # fmt: skip
        return _model(self.folder / "classes")

    def genome_model(self) -> None:
        """Train the model of the genome that those of the table begin as."""
        self._train("genome", "config=quick", "experts=none", f"data.fasta={self.genome}",
                    "backbone.dropout=0.1", "trainer.global_batch_size=64", *_FORM)  # fmt: skip

    @property
    def length(self) -> int:
        """Bases of a sequence."""
        return len(self.halves.design.texts[0])

    @property
    def draws_file(self) -> Path:
        """Draws of the plain model, which are there once they are made."""
        return self.folder / "plain_draws.json"

    def drawn(self) -> dict[str, Any]:
        """Draws of the plain model with their network calls and seconds; all rewards read them."""

        def compute() -> dict[str, Any]:
            began = time.perf_counter()
            nothing = FunctionReward(lambda texts: np.zeros(len(texts)), "nothing")
            made = designs_of(self.plain, nothing, self.draws, self.length, seed=0,
                              likelihood_draws=0, sampler=SAMPLER)  # fmt: skip
            return {
                "sequences": list(made.sequences),
                "network_calls": made.report["cost"]["network_calls"],
                "seconds": time.perf_counter() - began,
            }

        return kept(self.draws_file, compute)

    def done(self, name: str) -> Path:
        """A file that is there once a run is complete."""
        is_of_reward = name.startswith(("reward_", "tuned_"))
        return (self.results if is_of_reward else self.folder) / name / DONE

    def reward(self, seed: int) -> Reward:
        """The reward of a seed, made from the design half alone."""
        if seed not in self._rewards:
            _ = self.numbers
            run, rows = self.results / f"reward_{seed}", self.halves.design
            found = self.rewards.made(run, self._table, self.folder / "numbers", rows, seed)
            self._rewards[seed] = found
        return self._rewards[seed]

    def spread(self, reward: Reward) -> float:
        """Standard deviation of a reward over some of the design half."""
        return float(rewards_of(reward, self.halves.design.texts[:500]).std())

    def tuned_name(self, seed: int, share: float) -> str:
        """Name of the run of `tuned`."""
        return f"tuned_{seed}_{share:g}"

    def tuned(self, seed: int, share: float) -> Tuned:
        """The plain model, fine-tuned on the reward of a seed by weighted denoising cross-entropy.

        Args:
            seed: of the reward, and of the order of the draws.
            share: the temperature as a share of the reward's spread over the design half.
        """
        run = self.results / self.tuned_name(seed, share)
        drawn = self.drawn()
        if not (run / DONE).exists():
            _ = self.plain
            reward = self.reward(seed)
            table = self.results / f"tilted_{seed}.tsv"
            values = CountedReward(reward).batch(drawn["sequences"])
            write_rows(table, MeasuredRows(drawn["sequences"], values), "reward")
            completed(run, "train", "config=measured", "data=tilted", f"data.table={table}",
                      f"data.temperature={share * self.spread(reward)!r}",
                      f"data.length={self.length}", "backbone.num_numbers=0",
                      f"init_from={self.folder / 'plain'}",
                      f"trainer.max_steps={self.tuning_steps}", f"seed={seed + 1}",
                      "optimizer.learning_rate=0.001", "trainer.averaging_decay=0.98",
                      *self.given)  # fmt: skip
        with (run / "metrics.csv").open(encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1]
        rows = int(last["bases"]) // self.length
        return Tuned(
            _model(run), drawn["network_calls"] + _CALLS_OF_A_ROW * rows, self.draws,
            drawn["seconds"] + float(last["seconds"]),
        )  # fmt: skip

    @cached_property
    def _rewards(self) -> dict[int, Reward]:
        return {}

    @property
    def _table(self) -> Path:
        """The design half as a table."""
        path = self.folder / "design_half.tsv"
        write_rows(path, self.halves.design)
        return path

    @property
    def _measured(self) -> tuple[str, ...]:
        return ("config=measured", f"data.table={self._table}", "data.numbers=activity",
                "data.test_fraction=0.01")  # fmt: skip

    @property
    def _start(self) -> tuple[str, ...]:
        """Where the models of the table begin."""
        if self.genome is None:
            return ()
        self.genome_model()
        return (f"init_from={self.folder / 'genome'}", *_FORM)

    def _train(self, name: str, *settings: str) -> None:
        completed(self.folder / name, "train", *settings, f"data.length={self.length}",
                f"trainer.max_steps={self.steps}", "seed=1", *self.given)  # fmt: skip


def _model(run: Path) -> LoadedModel:
    model = dnamdlm.load(run)
    assert isinstance(model, Model)
    return model.loaded


def bits_of(loaded: LoadedModel, texts: Sequence[str], draws: int = BITS_DRAWS) -> NDArray:
    """Bits per base of each sequence under a model that is asked for nothing."""
    nats = -string_likelihoods(loaded, list(texts), draws=draws, seed=1, batch_size=64)
    return nats / np.log(2) / np.array([len(text) for text in texts])
