"""Classes of sequences: a network that has been told a class, and labels left out in training.

A model of p(x | y) is the same weights with a network that knows y. So a class enters a model in
one place, the network, and objectives, likelihoods and samplers need not know of it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.backbones.backbone import Backbone, ClassBackbone
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError


def num_classes_of(backbone: Backbone) -> int:
    """Classes that a network can be told; 0 for one that knows of none."""
    return backbone.num_classes if isinstance(backbone, ClassBackbone) else 0


class ToldBackbone:
    """A network that has been told the class of its rows; takes its place in a model."""

    def __init__(self, backbone: ClassBackbone, label: Int[Tensor, " B"] | int) -> None:
        """Keep the class.

        Args:
            backbone: the network.
            label: class of each row from 0, or of all rows; a negative one is no class.
        """
        self.backbone = backbone
        self.label = label
        self.vocab_size = backbone.vocab_size
        self.time_conditioning = backbone.time_conditioning

    def __call__(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits, as in `Backbone`."""
        return self.backbone(tokens, time, present, self._labels(tokens))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Last states, as in `Backbone`."""
        return self.backbone.hidden(tokens, time, present, self._labels(tokens))

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits from states."""
        return self.backbone.head(states)

    def _labels(self, tokens: Tensor) -> Tensor:
        """Class of each row, with the number of classes for none."""
        label = torch.as_tensor(self.label, device=tokens.device).expand(len(tokens))
        return torch.where(label < 0, self.backbone.num_classes, label)


def dropped_labels(
    label: Int[Tensor, " B"], noise: RowNoise, *, probability: float
) -> Int[Tensor, " B"]:
    """Labels of which some are left out, -1, so that one network learns p(x | y) and p(x).

    Whether a label is left out is a function of the key of its row.

    Source: Ho and Salimans 2022 (arXiv:2207.12598), algorithm 1.
    """
    return torch.where(noise.uniform(Stream.LABELS, 0) < probability, -1, label)


def check_label_dropout(probability: float) -> None:
    """Refuse what is no probability below 1, with a `ConfigError`."""
    if not 0.0 <= probability < 1.0:
        raise ConfigError(f"lm.label_dropout={probability} must lie in [0, 1)")
