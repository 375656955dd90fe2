"""What a generated sequence must contain.

Clamped tokens need no object: a token of the initial sequence that is not the mask never changes.
`Constraints` says which tokens a hidden position may become.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.errors import ConfigError


@dataclass(frozen=True)
class Constraints:
    """Allowed tokens, for all positions alike (V,) or for each position of each row (B, L, V)."""

    allowed: Bool[Tensor, " V"] | Bool[Tensor, "B L V"] | None = None

    def __post_init__(self) -> None:
        """Refuse a position that could become nothing."""
        if self.allowed is not None and not bool(self.allowed.any(dim=-1).all()):
            raise ConfigError(
                "constraints allow no token at all at some position; allow at least one"
            )

    def select(self, rows: Int[Tensor, " b"]) -> Constraints:
        """The constraints of some rows, by index."""
        if self.allowed is None or self.allowed.ndim == 1:
            return self
        return Constraints(self.allowed[rows])

    def to(self, device: torch.device) -> Constraints:
        """The same on a device."""
        return self if self.allowed is None else Constraints(self.allowed.to(device))

    def at(self, position: int) -> Constraints:
        """The constraints of one position."""
        if self.allowed is None or self.allowed.ndim == 1:
            return self
        return Constraints(self.allowed[:, position : position + 1])

    def apply(
        self, log_probs: Float[Tensor, "B L V"], masked: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L V"]:
        """Condition the law of each masked position on its allowed tokens.

        The total of a position stays as it is, which is 1 for log-probabilities. Where the model
        gives every allowed token probability 0, they become equally likely. Where it gives none to
        the others nothing changes, not even by rounding.

        Args:
            log_probs: log p(x0 | xt), or the logarithm of a measure over V.
            masked: positions whose law is conditioned; the others pass unchanged.
        """
        if self.allowed is None:
            return log_probs
        narrowed = masked & (~self.allowed & ~log_probs.isneginf()).any(dim=-1)
        scores = log_probs.masked_fill(~self.allowed, -torch.inf)
        impossible = scores.isneginf().all(dim=-1, keepdim=True)
        even = torch.where(self.allowed, 0.0, -torch.inf).to(log_probs.dtype)
        conditioned = torch.where(impossible, even, scores).log_softmax(dim=-1)
        conditioned = conditioned + log_probs.logsumexp(dim=-1, keepdim=True)
        return torch.where(narrowed.unsqueeze(-1), conditioned, log_probs)
