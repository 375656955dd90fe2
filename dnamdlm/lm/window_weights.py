"""Weights of a mixture over windows that depend on the sequence before each window.

The genome before a window tells much about whether the window is a copy: many repeats are longer
than a window, and unique sequence is mostly followed by unique sequence. With weights w_k(b) that
depend on the bases b before a window alone, P(x | b) = sum of w_k(b) P_k(x | b) sums to 1 over all
windows x for every b, and so does the product over the windows of a chromosome.

Shapes: K components, the network first, C = K - 1 copiers, W windows, F figures of what is before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import logsigmoid

from dnamdlm.errors import DataError


@dataclass(frozen=True)
class WindowWeights:
    """The weight of the copiers in each window.

    The logit of the weight of all copiers together is linear in figures of the sequence before the
    window; each copier has the same part of that weight everywhere.

    Attributes:
        slopes: one for each figure.
        constant: added to the logit.
        parts: of each copier in the weight of all; they sum to 1.

    Example: a window after 2 nats of copied sequence is a copy with probability 0.88.
        >>> weights = WindowWeights((1.0,), 0.0, (0.25, 0.75))
        >>> before = torch.tensor([[0.0], [2.0]]).double()
        >>> weights.log_weights(before).exp().round(decimals=3).tolist()
        [[0.5, 0.119], [0.125, 0.22], [0.375, 0.661]]
    """

    slopes: tuple[float, ...]
    constant: float
    parts: tuple[float, ...]

    def log_weights(self, before: Float64[Tensor, "W F"]) -> Float64[Tensor, "K W"]:
        """Log weights of the network and of each copier.

        Args:
            before: figures of what is before each window, never of the window.

        Raises:
            DataError: if there are not as many figures as slopes.
        """
        if before.shape[1] != len(self.slopes):
            raise DataError(
                f"these weights depend on {len(self.slopes)} figures of the sequence before a "
                f"window, and {before.shape[1]} were given; take those that they were fitted to"
            )
        options = {"dtype": before.dtype, "device": before.device}
        logit = before @ torch.tensor(self.slopes, **options) + self.constant
        return log_weights_of(logit, torch.tensor(self.parts, **options).log())


def log_weights_of(
    logit: Float64[Tensor, " W"], log_parts: Float64[Tensor, " C"]
) -> Float64[Tensor, "K W"]:
    """Log weights of the network and of copiers that share the rest in these parts."""
    return torch.cat([logsigmoid(-logit)[None], logsigmoid(logit) + log_parts[:, None]])
