"""How well a model predicts hidden tokens, by how many are hidden: the diagnosis behind a bound.

Shapes: B sequences, L positions; ten tenths of the mask rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.lm.noising import Draw

NUM_DECILES = 10


@dataclass(frozen=True)
class HiddenTokens:
    """Sums over the draws of each row.

    Attributes:
        nats: cross-entropy of hidden tokens by tenth of the share of valid tokens that are hidden;
            a share of exactly 0.1 belongs to the first.
        count: hidden tokens.
        num_valid: valid tokens of each row.
    """

    nats: Float64[Tensor, "B 10"]
    count: Int[Tensor, "B 10"]
    num_valid: Int[Tensor, " B"]

    @classmethod
    def none(cls, batch: Batch) -> HiddenTokens:
        """Before the first draw."""
        shape, device = (len(batch), NUM_DECILES), batch.tokens.device
        return cls(
            torch.zeros(shape, dtype=torch.float64, device=device),
            torch.zeros(shape, dtype=torch.int64, device=device),
            batch.valid.sum(dim=1),
        )

    def after(
        self, draws: Sequence[Draw], losses: Sequence[Float[Tensor, "B L"]]
    ) -> HiddenTokens | None:
        """The sums with further draws; None if their losses are not weighted cross-entropies.

        Args:
            draws: inputs of the network.
            losses: the loss of each in nats, weighted.
        """
        nats, count = self.nats.clone(), self.count.clone()
        for draw, loss in zip(draws, losses, strict=True):
            if draw.weight is None or draw.scored is None:
                return None
            hidden = draw.scored.sum(dim=1)
            decile = (NUM_DECILES * hidden - 1).div(
                self.num_valid.clamp(min=1), rounding_mode="floor"
            )
            place = decile.clamp(0, NUM_DECILES - 1)[:, None]
            # a row without a hidden token has no loss, and may have any weight.
            weight = torch.where(hidden > 0, draw.weight.double(), 1.0)
            cross_entropy = loss.double().sum(dim=1) / weight
            nats.scatter_add_(1, place, cross_entropy[:, None])
            count.scatter_add_(1, place, hidden[:, None])
        return HiddenTokens(nats, count, self.num_valid)
