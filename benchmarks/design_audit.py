"""A second held-out oracle for designs: a network of another architecture, from the audit half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dnamdlm
from benchmarks.design_rows import Halves
from benchmarks.kept_results import Piece
from benchmarks.measured_rows import write_rows
from benchmarks.started import DONE, completed
from dnamdlm.assembly.design.audits import shuffled_mean
from dnamdlm.rewards.reward import Reward, rewards_of

_PERCENTILE = 99.0


@dataclass(frozen=True)
class NetworkAudit:
    """The convolutional network that reads the audit half alone; trained when it is wanted.

    Attributes:
        folder: of its runs.
        halves: the rows.
        channels: of its dilated convolutions.
        blocks: of these.
        steps: of masked diffusion on the sequences.
        epochs: with all weights on the measurements.
    """

    folder: Path
    halves: Halves
    channels: int = 64
    blocks: int = 6
    steps: int = 300
    epochs: int = 6

    def pieces(self) -> Iterator[Piece]:
        """Each piece of work in order."""
        yield self._network / DONE, self._train
        yield self._head / DONE, self._finetune

    def figures(self, seed: int, made: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Way -> mean, share above the percentile, and mean with the letters in random order.

        Args:
            seed: of the random orders.
            made: way -> its sequences.
        """
        limit = float(np.percentile(self._predicted, _PERCENTILE))
        found: dict[str, dict[str, float]] = {}
        for name, texts in made.items():
            values = rewards_of(self.oracle, texts)
            found[name] = {
                "network_mean": float(values.mean()),
                "network_above_99": float((values > limit).mean()),
                "network_shuffled": shuffled_mean(self.oracle, texts, seed),
            }
        return found

    def note(self) -> str:
        """What it is, and how well it predicts, for the notes of a table."""
        return (
            f"network audit: dilated convolutions of {self.channels} channels and {self.blocks} "
            f"blocks, {self.steps} steps of masked diffusion and {self.epochs} epochs with all "
            f"weights on the audit half; correlation {self.pearson:.2f} with the measurements of "
            "the design half; its percentile is that of what it predicts for the design half"
        )

    @cached_property
    def oracle(self) -> Reward:
        """The regression."""
        self._train()
        self._finetune()
        return dnamdlm.reward(str(self._head))

    @property
    def pearson(self) -> float:
        """Correlation with the measurements of the design half."""
        return float(np.corrcoef(self._predicted, self.halves.design.values)[0, 1])

    @cached_property
    def _predicted(self) -> NDArray[np.float64]:
        """What the oracle predicts for each row of the design half."""
        return rewards_of(self.oracle, self.halves.design.texts)

    def _train(self) -> None:
        length = len(self.halves.audit.texts[0])
        completed(self._network, "train", "config=measured", f"data.table={self._table}",
                  "data.numbers=activity", "data.test_fraction=0.01", f"data.length={length}",
                  "backbone=convnet", f"backbone.hidden_size={self.channels}",
                  f"backbone.num_blocks={self.blocks}", f"trainer.max_steps={self.steps}",
                  "seed=2")  # fmt: skip

    def _finetune(self) -> None:
        completed(self._head, "finetune", "config=table", f"data.train={self._table}",
                  "data.label_column=activity", "data.kind=regression", "data.test_fraction=0.05",
                  f"model={self._network}", "method=full", f"training.epochs={self.epochs}",
                  "training.learning_rate=0.002", "training.batch_size=64",
                  "baselines=[majority]", "bootstrap=0", "seed=2", "seeds=1")  # fmt: skip

    @property
    def _network(self) -> Path:
        return self.folder / "audit_network"

    @property
    def _head(self) -> Path:
        return self.folder / "audit_head"

    @property
    def _table(self) -> Path:
        path = self.folder / "audit_half.tsv"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_rows(path, self.halves.audit)
        return path
