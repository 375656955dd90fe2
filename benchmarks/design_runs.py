"""The trained models of a table of measured sequences, each trained when it is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dnamdlm
from benchmarks.design_rows import Halves
from benchmarks.started import DONE, completed
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.string_scores import string_likelihoods
from dnamdlm.rewards.reward import Reward

BITS_DRAWS = 4
_HIGH_SHARE = 0.1
_CLASSES = ("rest", "high")


@dataclass(frozen=True)
class Runs:
    """The trained models of one table, in a folder; each is trained or resumed when it is wanted.

    Attributes:
        folder: of all runs.
        halves: the rows.
        steps: of the training of each model.
        epochs: of each fine-tuning.
        given: other settings of train.
    """

    folder: Path
    halves: Halves
    steps: int
    epochs: int
    given: tuple[str, ...]

    @cached_property
    def numbers(self) -> LoadedModel:
        """The model that is conditioned on the activity."""
        self._train("numbers", "config=measured", f"data.table={self._table}",
                    "data.numbers=activity", "data.test_fraction=0.01")  # fmt: skip
        return _model(self.folder / "numbers")

    @cached_property
    def classes(self) -> LoadedModel:
        """The model of the most active tenth and the rest."""
        rows = self.halves.design
        limit = np.quantile(rows.values, 1 - _HIGH_SHARE)
        names = [_CLASSES[int(value > limit)] for value in rows.values]
        held = np.random.default_rng(0).random(len(rows)) < 0.1
        splits = ["valid" if item else "train" for item in held]
        length = len(rows.texts[0])
        files = {
            "rows.fa": [f">r{n}\n{text}" for n, text in enumerate(rows.texts)],
            "labels.tsv": [f"r{n}\t{name}" for n, name in enumerate(names)],
            "splits.bed": [f"r{n}\t0\t{length}\t{split}" for n, split in enumerate(splits)],
        }
        for name, lines in files.items():
            (self.folder / name).write_text("\n".join(lines) + "\n")
        fasta, labels, bed = (self.folder / name for name in files)
        self._train("classes", "config=quick", "experts=none", f"data.fasta={fasta}",
                    f"data.labels={labels}", f"data.bed={bed}", "data.reverse_complement=false",
                    "data.jitter=false", "backbone.num_classes=2", "backbone.dropout=0.1",
                    "trainer.global_batch_size=64")  # fmt: skip
        return _model(self.folder / "classes")

    def done(self, name: str) -> Path:
        """A file that is there once a run is complete."""
        return self.folder / name / DONE

    def reward(self, seed: int) -> Reward:
        """A regression that was fine-tuned on the design half with this seed."""
        run = self.folder / f"reward_{seed}"
        _ = self.numbers
        completed(run, "finetune", "config=table", f"data.train={self._table}", f"seed={seed}",
                "data.label_column=activity", "data.kind=regression", "data.test_fraction=0.05",
                f"model={self.folder / 'numbers'}", "baselines=[majority]", "bootstrap=0",
                f"training.epochs={self.epochs}", "training.learning_rate=0.002", "seeds=1",
                "training.batch_size=128")  # fmt: skip
        return dnamdlm.reward(str(run))

    @property
    def _table(self) -> Path:
        """The design half as a table."""
        path, rows = self.folder / "design_half.tsv", self.halves.design
        lines = [f"{text}\t{value!r}" for text, value in zip(rows.texts, rows.values.tolist(),
                                                             strict=True)]  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["sequence\tactivity", *lines]) + "\n")
        return path

    def _train(self, name: str, *settings: str) -> None:
        length = len(self.halves.design.texts[0])
        completed(self.folder / name, "train", *settings, f"data.length={length}",
                f"trainer.max_steps={self.steps}", "seed=1", *self.given)  # fmt: skip


def _model(run: Path) -> LoadedModel:
    model = dnamdlm.load(run)
    assert isinstance(model, Model)
    return model.loaded


def bits_of(loaded: LoadedModel, texts: Sequence[str], draws: int = BITS_DRAWS) -> NDArray:
    """Bits per base of each sequence under a model that is asked for nothing."""
    nats = -string_likelihoods(loaded, list(texts), draws=draws, seed=1, batch_size=64)
    return nats / np.log(2) / np.array([len(text) for text in texts])
