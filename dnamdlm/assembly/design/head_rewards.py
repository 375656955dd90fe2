"""Fine-tuned heads as rewards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.finetune.head_record import head_of
from dnamdlm.assembly.head_model import Head
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.suggestions import did_you_mean

_LEAST_PROBABILITY = 1e-30


class HeadReward:
    """What the heads of a fine-tuning run predict, the mean over their splits.

    Of a regression the number, in the unit of its training rows; of classes or labels the natural
    logarithm of the probability of one of them, so that temperature 1 draws from p(x | class).

    Attributes:
        name: the run folder, with the output where there are several.
        window: bases that the head reads at once.
        long: what it does with longer sequences, see `WindowSettings`.
    """

    def __init__(
        self,
        run_dir: str | Path,
        *,
        output: str | None = None,
        seed: int | None = None,
        device: str = "auto",
        trust: Sequence[str] = (),
        setting: str = "reward",
    ) -> None:
        """Find the heads and the output.

        Args:
            run_dir: run folder of `dnamdlm finetune`.
            output: name of a class, label or number.
            seed: of one split; None is the mean over all.
            device: where the heads run.
            trust: packages besides dnamdlm whose classes they may name.
            setting: for messages.

        Raises:
            CheckpointError: if the folder holds no head.
            ConfigError: for an unknown output, or a head of text.
        """
        self.head = Head(run_dir, seed=seed, device=device, trust=trust, setting=setting)
        if self.head.reads_text:
            raise ConfigError(
                f"{setting}={run_dir} is a head for text, and designs are DNA; give a head that "
                "was fine-tuned on sequences"
            )
        record = head_of(self.head.folders[0])
        self.window: int = record["windows"]["length"]
        self.long: str = record["windows"]["long"]
        self.setting = setting
        self.output = self._output(output, setting)
        self.name = str(run_dir) if len(self.head.label_names) == 1 else f"{run_dir}:{output}"

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The predictions, (N,).

        Raises:
            DataError: for a sequence that is longer than the head may read.
        """
        self._check(sequences)
        stem = "value" if self.head.kind == "regression" else "probability"
        predicted = self.head.predict(list(sequences))
        found = predicted[f"{stem}_{self.output}"].to_numpy(np.float64)
        if self.head.kind == "regression":
            return found
        return np.log(np.maximum(found, _LEAST_PROBABILITY))

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The predictions, (N,), and their derivatives by the bases, (N, L, 4).

        Raises:
            ConfigError: if the network of the head reads nothing but ids.
            DataError: for sequences that the head cannot read.
        """
        self._check(sequences)
        found, slopes = self.head.gradient(sequences, self.output)
        if self.head.kind == "regression":
            return found, slopes
        above = found > _LEAST_PROBABILITY
        kept = np.where(above, found, _LEAST_PROBABILITY)
        return np.log(kept), np.where(above[:, None, None], slopes, 0.0) / kept[:, None, None]

    def _check(self, sequences: Sequence[str]) -> None:
        longest = max(map(len, sequences), default=0)
        if self.long == "refuse" and longest > self.window:
            raise DataError(
                f"{self.setting}={self.name} reads at most {self.window} bases, and this is a "
                f"sequence of {longest}; design with length={self.window}, or give a head that was "
                "fine-tuned with long=tile"
            )

    def _output(self, output: str | None, setting: str) -> str:
        names = self.head.label_names
        if output is None and len(names) == 1:
            return names[0]
        shown = ", ".join(names[:10])
        if output is None:
            raise ConfigError(
                f"{setting}={self.head.run_dir} predicts {shown}; say which one is wanted as "
                f"{setting}_class=NAME, or class: NAME of its term"
            )
        if output not in names:
            raise ConfigError(
                f"{setting}_class={output} is not predicted by {self.head.run_dir}"
                f"{did_you_mean(output, names)}; it knows {shown}"
            )
        return output
