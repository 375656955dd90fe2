"""Heads trained on noisy sequences as rewards: they read clean sequences at time 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.noisy_heads import NoisyHead
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

_ROWS = 64


class NoisyReward:
    """What a classifier or a regression of noisy sequences predicts of complete ones.

    Attributes:
        name: the run folder, with the class or number.
        window: positions of its training windows.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        output: str | None = None,
        device: str = "auto",
        trust: Sequence[str] = (),
        setting: str = "reward",
    ) -> None:
        """Load the model.

        Args:
            run_dir: run folder of a training with lm=regressor or lm=classifier.
            output: name of a class or number.
            device: where it runs.
            trust: packages besides dnamdlm whose classes it may name.
            setting: for messages.

        Raises:
            CheckpointError: if the folder holds no model.
            ConfigError: for an unknown output, or a model of text.
        """
        loaded = load_model(run_dir, device=device, setting=setting, trust=tuple(trust))
        loaded.require_dna()
        self.head = NoisyHead(loaded, output, setting)
        self.window = loaded.length
        self.name = f"{run_dir}:{self.head.name}"
        self._encode = NucleotideTokenizer().encode

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """Log-probabilities of the class, or numbers after the transform of the data, (N,)."""
        found = np.zeros(len(sequences))
        for rows, ids in self._groups(sequences):
            with torch.inference_mode():
                found[rows] = self.head.numbers(ids, _at_zero(ids)).cpu().numpy()
        return found

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same, (N,), and their derivatives by the one-hot bases, (N, L, 4)."""
        values, slopes = np.zeros(len(sequences)), np.zeros((len(sequences), len(sequences[0]), 4))
        width, dtype = self.head.lm.soft_like
        bases = [self.head.lm.vocabulary.symbols.index(base) for base in "ACGT"]
        for rows, ids in self._groups(sequences):
            with torch.enable_grad():
                soft = functional.one_hot(ids, width).to(dtype).requires_grad_()
                numbers = self.head.numbers(ids, _at_zero(ids), soft=soft)
                (slope,) = torch.autograd.grad(numbers.sum(), soft)
            values[rows] = numbers.detach().cpu().numpy()
            slopes[rows] = slope[..., bases].double().cpu().numpy()
        return values, slopes

    def _groups(self, sequences: Sequence[str]) -> list[tuple[NDArray[np.int64], Tensor]]:
        """Rows of one length and their ids, a few at a time."""
        lengths = np.array([len(text) for text in sequences], dtype=np.int64)
        groups: list[tuple[NDArray[np.int64], Tensor]] = []
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            for first in range(0, len(alike), _ROWS):
                rows = alike[first : first + _ROWS]
                ids = np.stack([self._encode(sequences[int(row)]) for row in rows])
                groups.append((rows, torch.from_numpy(ids).long().to(self.head.loaded.device)))
        return groups


def _at_zero(ids: Tensor) -> Tensor:
    return torch.zeros(len(ids), device=ids.device)
