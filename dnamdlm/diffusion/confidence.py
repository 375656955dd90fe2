"""Steps that reveal the most certain tokens first.

The positions to reveal are a deterministic function of the visible tokens; the tokens are drawn
from their distributions. With one position per step the result is an exact draw from
p(x_a) p(x_b | x_a) ... in the order a, b, ...; with more, the tokens of one step are independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.steps import Step, StepRule, draw_tokens
from dnamdlm.errors import ConfigError

Order = Literal["probability", "margin", "entropy"]
ORDERS = ("probability", "margin", "entropy")


def entropies(log_probs: LogProbs) -> Float64[Tensor, "B L"]:
    """Entropy of each distribution in nats; 0 at the positions that are not there."""

    def entropy(values: Float[Tensor, "P Q V"]) -> Tensor:
        logs = values.double()
        return -torch.where(logs.isneginf(), 0.0, logs.exp() * logs).sum(dim=-1)

    return log_probs.each(entropy)


def certainty(log_probs: LogProbs, order: Order) -> Float64[Tensor, "B L"]:
    """How certain the prediction at each position is; larger is more certain.

    Args:
        log_probs: normalised over V; where a distribution is not there the result has no meaning.
        order: 'probability' of the most likely token, its 'margin' over the second most likely
            (Kim et al. 2025, arXiv:2502.06768), or minus the 'entropy' in nats.
    """
    if order == "entropy":
        return -entropies(log_probs)

    def sureness(values: Float[Tensor, "P Q V"]) -> Tensor:
        best = values.double().exp().topk(2, dim=-1).values
        return best[..., 0] if order == "probability" else best[..., 0] - best[..., 1]

    return log_probs.each(sureness)


def ranks(values: Float64[Tensor, "B L"], among: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """Rank from 0 of each value among the positions `among` of its row, largest first.

    Ties go to the smaller position; all other positions rank last.
    """
    order = values.masked_fill(~among, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


@dataclass(frozen=True)
class SurestFirst(StepRule):
    """A number of tokens per step that follows from the grid, the most certain first.

    At alpha_s, floor(n (1 - alpha_s)) of the n free positions are still hidden. A step that reveals
    nothing needs no network call, so that there are never more calls than tokens.

    Source: Chang et al. 2022, MaskGIT (arXiv:2202.04200), without its noise on the order.
    """

    order: Order = "probability"
    choice: Choice = UNCHANGED

    draws_apart = True

    def __post_init__(self) -> None:
        """Check the order."""
        check_order(self.order)

    def needs_network(self, step: Step) -> Bool[Tensor, " B"]:
        """True for the rows in which this step reveals a token."""
        return self._count(step) > 0

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Reveal the most certain tokens."""
        hidden = step.hidden
        rank = ranks(certainty(log_probs, self.order), hidden)
        chosen = hidden & (rank < self._count(step)[:, None])
        return draw_tokens(step, log_probs, chosen, self.choice)

    def _count(self, step: Step) -> Int[Tensor, " B"]:
        # 1e-9: rounding must not push a product that should be an integer below it.
        still_hidden = (step.free.sum(dim=-1) * (1 - step.alpha_s) + 1e-9).floor().long()
        return (step.hidden.sum(dim=-1) - still_hidden).clamp(min=0)


@dataclass(frozen=True)
class Threshold(StepRule):
    """All tokens predicted with at least this probability, and always the most certain one.

    Source: Wu et al. 2025, Fast-dLLM (arXiv:2505.22618), confidence-aware parallel decoding.
    """

    threshold: float = 0.9
    choice: Choice = UNCHANGED

    is_paced = False
    draws_apart = True

    def __post_init__(self) -> None:
        """Check the threshold."""
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"sampler.threshold must lie in (0, 1], got {self.threshold}")

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Reveal the tokens that are certain enough."""
        certain = certainty(log_probs, "probability")
        first = ranks(certain, step.hidden) == 0
        chosen = step.hidden & (first | (certain >= self.threshold))
        return draw_tokens(step, log_probs, chosen, self.choice)


@dataclass(frozen=True)
class EntropyBounded(StepRule):
    """As many tokens as keep the joint error small: the largest k with sum H - max H <= bound.

    H are the entropies in nats of the k most certain positions; the left side bounds the error of
    drawing them independently. With bound 0, one token is revealed per call, or several of entropy
    0.

    Source: Ben-Hamu et al. 2025 (arXiv:2505.24857).
    """

    bound: float = 1.0
    order: Order = "entropy"
    choice: Choice = UNCHANGED

    is_paced = False
    draws_apart = True

    def __post_init__(self) -> None:
        """Check the bound and the order."""
        if not self.bound >= 0.0:
            raise ConfigError(f"sampler.bound must not be negative, got {self.bound}")
        check_order(self.order)

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Reveal as many of the most certain tokens as the bound allows."""
        rank = ranks(certainty(log_probs, self.order), step.hidden)
        entropy = entropies(log_probs).masked_fill(~step.hidden, 0.0)
        in_order = torch.empty_like(entropy).scatter_(-1, rank, entropy)
        lost = in_order.cumsum(dim=-1) - in_order.cummax(dim=-1).values
        # rounding of the sum must not forbid the first token.
        fits = lost.gather(-1, rank) <= self.bound + 1e-12
        return draw_tokens(step, log_probs, step.hidden & (fits | (rank == 0)), self.choice)


def check_order(order: str) -> None:
    """Refuse an unknown order.

    Raises:
        ConfigError: which lists the known orders.
    """
    if order not in ORDERS:
        raise ConfigError(f"sampler.order={order} is unknown; choose {', '.join(ORDERS)}")
