"""Constraints on generated sequences: the tokens that a hidden position may become.

Fixed tokens need no constraint: a token of the initial sequence that is not the mask never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.errors import ConfigError


@dataclass(frozen=True)
class Constraints:
    """Allowed tokens, the same for all positions (V,) or for each position of each row (B, L, V).

    Raises:
        ConfigError: if a position has no allowed token.

    Example: G and C alone.
        >>> import torch
        >>> from dnamdlm.diffusion import Constraints, sample, subs
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> allowed = torch.zeros(12, dtype=torch.bool)
        >>> allowed[dna.encode("GC")] = True
        >>> def uniform(xt, t):
        ...     return subs(torch.zeros(*xt.shape, 12), xt, dna.vocabulary)
        >>> tokens = sample(uniform, 1, 6, dna.vocabulary, constraints=Constraints(allowed), seed=0)
        >>> dna.decode(tokens[0])
        'CCGGCC'
    """

    allowed: Bool[Tensor, " V"] | Bool[Tensor, "B L V"] | None = None

    def __post_init__(self) -> None:
        """Refuse a position without an allowed token."""
        if self.allowed is not None and not bool(self.allowed.any(dim=-1).all()):
            raise ConfigError(
                "constraints allow no token at some position; allow at least one at each"
            )

    def select(self, rows: Int[Tensor, " b"]) -> Constraints:
        """The constraints of some rows, by index."""
        if self.allowed is None or self.allowed.ndim == 1:
            return self
        return self.unchecked(self.allowed[rows])

    def to(self, device: torch.device) -> Constraints:
        """The constraints on a device."""
        return self if self.allowed is None else self.unchecked(self.allowed.to(device))

    def at(self, position: int) -> Constraints:
        """The constraints of one position."""
        return self.within(position, position + 1)

    def within(self, start: int, stop: int) -> Constraints:
        """The constraints of the positions from `start` to before `stop`."""
        if self.allowed is None or self.allowed.ndim == 1:
            return self
        return self.unchecked(self.allowed[:, start:stop])

    @staticmethod
    def unchecked(allowed: Bool[Tensor, " V"] | Bool[Tensor, "B L V"]) -> Constraints:
        """Constraints that leave a token at each position, as is known; a check waits for a GPU."""
        part = object.__new__(Constraints)
        object.__setattr__(part, "allowed", allowed)
        return part

    def conditioned(self, log_probs: LogProbs, masked: Bool[Tensor, "B L"]) -> LogProbs:
        """What `apply` gives at the positions of the distributions."""
        if self.allowed is None:
            return log_probs
        masked = log_probs.positions.of_positions(masked)
        if self.allowed.ndim == 1:
            return log_probs.changed(self.apply, masked)
        allowed = log_probs.positions.of_positions(self.allowed)

        def applied(values: Tensor, masked: Tensor, allowed: Tensor) -> Tensor:
            return self.unchecked(allowed).apply(values, masked)

        return log_probs.changed(applied, masked, allowed)

    def apply(
        self, log_probs: Float[Tensor, "B L V"], masked: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L V"]:
        """Condition the distribution of each masked position on its allowed tokens.

        The total of a position is kept, which is 1 for log-probabilities. If every allowed token
        has probability 0, the allowed tokens become equally likely. If every other token has
        probability 0, nothing changes, not even by rounding.

        Args:
            log_probs: log p(x0 | xt), or an unnormalised log-distribution over V.
            masked: positions whose distribution is conditioned; the others are unchanged.
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
