"""The reward of a benchmark of designs: one or several heads, and a regression on words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dnamdlm
from benchmarks.measured_rows import MeasuredRows
from benchmarks.started import completed
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks.kmer_oracle import fit_kmer_oracle
from dnamdlm.rewards.combined_rewards import MeanReward
from dnamdlm.rewards.reward import Reward

_OF_THE_BENCHMARK = (
    "model", "run_dir", "seed", "seeds", "config", "data.train", "data.label_column", "data.kind",
)  # fmt: skip
# apart from the seeds of the regressions that judge.
_FIRST_WORDS_SEED = 100


@dataclass(frozen=True)
class RewardSettings:
    """How the reward of each seed is made; its members are averaged.

    Attributes:
        epochs: of each fine-tuning.
        heads: fine-tuned regressions, each from a split and a seed of its own.
        caution: this many standard deviations of the members are taken off their mean.
        words: a ridge regression on words is one more member.
        finetune: other settings of finetune, KEY=VALUE.

    Raises:
        ConfigError: for no member, and for settings that do not go together.
    """

    epochs: int = 4
    heads: int = 1
    caution: float = 0.0
    words: bool = False
    finetune: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.heads < 0 or self.heads + self.words < 1:
            raise ConfigError(
                f"--ensemble {self.heads} leaves no reward; give at least 1, or 0 with --words"
            )
        if not 0 <= self.caution < float("inf"):
            raise ConfigError(f"--caution {self.caution:g} must be a number from 0")
        if self.caution and self.heads + self.words < 2:
            raise ConfigError(
                "--caution takes off what the members of an ensemble disagree on, and there is one "
                "member; give --ensemble 2 or more, or --words"
            )
        if self.finetune and not self.heads:
            raise ConfigError("--finetune has no effect with --ensemble 0; leave it out")
        given = self.given
        if self.words and self.heads and "transform" in given:
            raise ConfigError(
                "a head with transform= predicts another unit than the regression on words; leave "
                "out --words or transform="
            )

    @property
    def given(self) -> dict[str, str]:
        """The settings of `finetune` by name.

        Raises:
            ConfigError: for one that is not KEY=VALUE, or that the benchmark sets itself.
        """
        found: dict[str, str] = {}
        for text in self.finetune:
            key, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"--finetune {text} must be KEY=VALUE")
            if key in _OF_THE_BENCHMARK:
                raise ConfigError(f"--finetune {text}: this benchmark sets {key} itself")
            found[key] = value
        return found

    def record(self) -> dict[str, Any]:
        """All settings, for the results that are made with them."""
        return asdict(self)

    @property
    def suffix(self) -> str:
        """What differs from the defaults, for the name of a table; empty where nothing does."""
        parts = [f"{self.heads}-heads"] if self.heads != 1 else []
        parts += ["words"] if self.words else []
        parts += [f"caution-{self.caution:g}"] if self.caution else []
        parts += [text.replace("=", "-") for text in self.finetune]
        return "".join(f"-{part}" for part in parts).replace("_", "-").replace(".", "-").lower()

    def made(self, run: Path, table: Path, model: Path, rows: MeasuredRows, seed: int) -> Reward:
        """The reward; heads are fine-tuned where they are not yet.

        Args:
            run: folder of the fine-tuning.
            table: the design half as a file.
            model: run that heads are fine-tuned from.
            rows: the design half.
            seed: of the reward; those of its heads differ from those of other rewards.
        """
        members: list[Reward] = []
        if self.heads:
            first = seed * self.heads
            completed(run, "finetune", "config=table", f"data.train={table}", f"model={model}",
                      f"seed={first}", f"seeds={self.heads}",
                      *(f"{key}={value}" for key, value in self._settings.items()))  # fmt: skip
            members += [
                dnamdlm.reward([{"head": str(run), "seed": first + k}]) for k in range(self.heads)
            ]
        if self.words:
            members.append(fit_kmer_oracle(rows.texts, rows.values, seed=_FIRST_WORDS_SEED + seed))
        return members[0] if len(members) == 1 else MeanReward(tuple(members), self.caution)

    @property
    def training(self) -> dict[str, str]:
        """The epochs, and the settings of `finetune` that were given."""
        return {"training.epochs": str(self.epochs)} | self.given

    @property
    def _settings(self) -> dict[str, str]:
        usual = {
            "data.label_column": "activity", "data.kind": "regression",
            "data.test_fraction": "0.05", "baselines": "[majority]", "bootstrap": "0",
            "training.learning_rate": "0.002", "training.batch_size": "128",
        }  # fmt: skip
        return usual | self.training


def reward_note(settings: RewardSettings, correlations: Sequence[float]) -> str:
    """What the reward is, and how well it predicts the other half, for the notes of a table."""
    heads = f"{settings.heads} fine-tuned head{'s' * (settings.heads != 1)}"
    parts = [heads] * (settings.heads > 0) + ["a ridge regression on words"] * settings.words
    shown = f"reward of each seed: {' and '.join(parts)}"
    if settings.heads + settings.words > 1:
        shown += ", the mean"
    if settings.caution:
        shown += f" minus {settings.caution:g} standard deviations of these"
    if settings.heads:
        shown += f"; {' '.join(f'{key}={value}' for key, value in settings.training.items())}"
    if settings.words:
        shown += "; it shares its architecture with the audit, so that both may err alike"
    found = ", ".join(f"{item:.2f}" for item in correlations)
    return f"{shown}; correlation with the measurements of the other half: {found}"
