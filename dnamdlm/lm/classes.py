"""Classes and numbers of sequences: how they enter a network, and how training leaves them out.

A model of p(x | y) is the same weights with y, a class or K standardised numbers, as a further
input of the network.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.backbones.backbone import Backbone, ClassBackbone, RowLabel
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError


def num_classes_of(backbone: Backbone) -> int:
    """Classes that a network can be conditioned on; 0 for one without classes."""
    return backbone.num_classes if isinstance(backbone, ClassBackbone) else 0


Label = RowLabel | int | tuple[float, ...] | None
"""Class of each row, or of all rows, from 0; or numbers of each row (B, K), or of all rows.

None, a negative class, and numbers that are nan, are not known.
"""


def num_numbers_of(backbone: Backbone) -> int:
    """Numbers that a network can be conditioned on; 0 for one without."""
    return int(getattr(backbone, "num_numbers", 0))


def label_input(
    label: RowLabel | int | tuple[float, ...],
    num_rows: int,
    *,
    num_classes: int,
    num_numbers: int,
    device: torch.device,
) -> tuple[RowLabel, ...]:
    """What a network gets of each row besides ids, time and padding; empty for one without labels.

    >>> device = torch.device("cpu")
    >>> label_input((0.5, float("nan")), 2, num_classes=0, num_numbers=2, device=device)
    (tensor([[0.5000,    nan],
            [0.5000,    nan]]),)
    >>> label_input(1, 2, num_classes=3, num_numbers=0, device=device)
    (tensor([1, 1]),)

    Args:
        label: see `Label`.
        num_rows: B.
        num_classes: classes of the network.
        num_numbers: numbers of the network.
        device: of the result.

    Raises:
        ConfigError: if a network of numbers is given a class, or another count of numbers.
    """
    if num_classes:
        return (class_ids(label, num_rows, num_classes, device),)  # type: ignore[arg-type]
    if not num_numbers:
        return ()
    given = torch.as_tensor(label, device=device)
    if not given.is_floating_point() or given.shape[-1:] != (num_numbers,):
        raise ConfigError(
            f"this model is conditioned on numbers, and takes a tensor of shape "
            f"(rows, {num_numbers}) in place of classes"
        )
    return (given.expand(num_rows, num_numbers),)


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


def dropped_numbers(
    numbers: Float[Tensor, "B K"], noise: RowNoise, *, probability: float
) -> Float[Tensor, "B K"]:
    """Numbers of which some are left out, nan, so that one network learns any of them as given.

    All numbers of a row are left out together with the probability; of those that stay, where
    there are several, each one is left out with the same probability by itself. So a model of one
    number learns p(x | y) and p(x), one of several also p(x | some of them).

    Args:
        numbers: standardised, nan where one is not known.
        noise: of the rows.
        probability: of leaving out.

    Source: Ho and Salimans 2022 (arXiv:2207.12598), algorithm 1.
    """
    is_left_out = noise.uniform(Stream.LABELS, 0)[:, None] < probability
    if numbers.shape[1] > 1:
        alone = noise.uniform(Stream.LABELS, 1, numbers.shape[1])
        is_left_out = is_left_out | (alone < probability)
    return torch.where(is_left_out, torch.nan, numbers)


def check_label_dropout(probability: float) -> None:
    """Refuse a probability that is negative, or 1 and above, with a `ConfigError`."""
    if not 0.0 <= probability < 1.0:
        raise ConfigError(f"lm.label_dropout={probability} must lie in [0, 1)")
