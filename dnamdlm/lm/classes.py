"""Classes of sequences: how labels enter a network, and how they are left out in training.

A model of p(x | y) is the same weights with y as a further input of the network.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from dnamdlm.backbones.backbone import Backbone, ClassBackbone
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError


def num_classes_of(backbone: Backbone) -> int:
    """Classes that a network can be conditioned on; 0 for one without classes."""
    return backbone.num_classes if isinstance(backbone, ClassBackbone) else 0


def class_ids(
    label: Int[Tensor, " B"] | int, num_rows: int, num_classes: int, device: torch.device
) -> Int[Tensor, " B"]:
    """The class of each row as a network takes it, with `num_classes` for none.

    Args:
        label: class of each row from 0, or of all rows; a negative one is no class.
        num_rows: B.
        num_classes: classes of the network.
        device: of the result.
    """
    given = torch.as_tensor(label, device=device).expand(num_rows)
    return torch.where(given < 0, num_classes, given)


def dropped_labels(
    label: Int[Tensor, " B"], noise: RowNoise, *, probability: float
) -> Int[Tensor, " B"]:
    """Labels of which some are left out, -1, so that one network learns p(x | y) and p(x).

    Whether a label is left out is a function of the key of its row.

    Source: Ho and Salimans 2022 (arXiv:2207.12598), algorithm 1.
    """
    return torch.where(noise.uniform(Stream.LABELS, 0) < probability, -1, label)


def check_label_dropout(probability: float) -> None:
    """Refuse a probability that is negative, or 1 and above, with a `ConfigError`."""
    if not 0.0 <= probability < 1.0:
        raise ConfigError(f"lm.label_dropout={probability} must lie in [0, 1)")
