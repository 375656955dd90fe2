"""Numbers that a network is conditioned on, such as measured activities, as vectors.

Shapes: B sequences, K numbers, F features of a number, D channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dnamdlm.backbones.backbone import RowLabel
from dnamdlm.backbones.layers import ClassEmbedding
from dnamdlm.errors import ConfigError

# standardised numbers mostly lie in [-4, 4]; the first feature grows outside, too.
_STEP, _REACH = 0.5, 4.0
NUM_FEATURES = 2 + round(2 * _REACH / _STEP)


def number_features(values: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows F"]:
    """[asinh(y) | tanh((y - c) / 0.5) for c = -4, -3.5, ..., 4] of standardised numbers.

    Ramps, not bumps: a linear function of them is smooth, and what it learns of one value serves
    all larger ones, so that rare large values inherit from less rare ones.

    >>> number_features(torch.tensor([0.0, 1.5])).shape
    torch.Size([2, 18])

    Args:
        values: finite numbers with mean near 0 and deviation near 1.
    """
    count = NUM_FEATURES - 1
    centres = torch.arange(count, device=values.device, dtype=values.dtype) * _STEP - _REACH
    ramps = torch.tanh((values[..., None] - centres) / _STEP)
    return torch.cat((torch.asinh(values)[..., None], ramps), dim=-1)


class NumberEmbedding(nn.Module):
    """A vector for each of K numbers and one for each that is not known, initially zero; summed.

    Attributes:
        weight: a linear function of the features of each number.
        unknown: the vector in place of a number that is nan.

    Example:
        >>> embedding = NumberEmbedding(num_numbers=2, size=8)
        >>> embedding(torch.tensor([[0.3, float("nan")]])).shape
        torch.Size([1, 1, 8])
    """

    undecayed = ("weight", "unknown")

    def __init__(self, num_numbers: int, size: int) -> None:
        """Build the vectors, without random numbers.

        Raises:
            ConfigError: if there are no numbers.
        """
        super().__init__()
        if num_numbers < 1:
            raise ConfigError(
                f"backbone.num_numbers={num_numbers} must be 0 (no numbers) or positive"
            )
        self.weight = nn.Parameter(torch.zeros(num_numbers, NUM_FEATURES, size))
        self.unknown = nn.Parameter(torch.zeros(num_numbers, size))

    def forward(self, values: Float[Tensor, "B K"] | None) -> Float[Tensor, "B1 1 D"]:
        """The vector to add at every position of a row.

        Args:
            values: standardised numbers, nan where one is not known; None: none is known of any
                row.
        """
        if values is None:
            return self.unknown.sum(dim=0)[None, None]
        values = values.to(self.weight.dtype)
        is_known = ~values.isnan()
        # nan is replaced before it meets a gradient, which it would spoil even where not chosen.
        features = number_features(torch.where(is_known, values, 0.0))
        known = torch.einsum("bkf,kfd->bkd", features, self.weight)
        return torch.where(is_known[..., None], known, self.unknown).sum(dim=1).unsqueeze(1)


def label_embedding(
    num_classes: int, num_numbers: int, size: int
) -> tuple[ClassEmbedding | None, NumberEmbedding | None]:
    """What a network adds for the class, and for the numbers, of each sequence.

    Args:
        num_classes: 0 is off.
        num_numbers: 0 is off.
        size: channels.

    Raises:
        ConfigError: if a count is negative, or a network is to have both.
    """
    if num_classes and num_numbers:
        raise ConfigError(
            f"backbone.num_classes={num_classes} and backbone.num_numbers={num_numbers} are both "
            "given; a network is conditioned on classes or on numbers, so set one of them to 0"
        )
    classes = ClassEmbedding(num_classes, size) if num_classes else None
    return classes, NumberEmbedding(num_numbers, size) if num_numbers else None


def with_label(
    x: Float[Tensor, "B L D"],
    classes: ClassEmbedding | None,
    numbers: NumberEmbedding | None,
    label: RowLabel | None,
) -> Float[Tensor, "B L D"]:
    """Token vectors with what is known of each sequence; a network without either ignores it."""
    if classes is not None:
        return x + classes(label)
    return x if numbers is None else x + numbers(label)
