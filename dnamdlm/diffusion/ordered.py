"""Exact likelihood of revealing tokens in an order that depends on the predictions.

If the next position is a function of the visible tokens, every sequence has one path from all
masked to complete, and its probability is the product of the probabilities along that path. The
rule `SurestFirst` of `confidence`, with the same number of tokens per step, samples from exactly
this distribution.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.confidence import certainty, ranks
from dnamdlm.errors import ConfigError

OrderRule = Literal["probability", "margin", "entropy", "left_to_right"]
ORDER_RULES: tuple[str, ...] = get_args(OrderRule)


def priority(log_probs: Float[Tensor, "B L V"], rule: OrderRule) -> Float64[Tensor, "B L"]:
    """Order of revealing hidden positions: the largest value first.

    Args:
        log_probs: log p(x0 | xt), -inf where impossible.
        rule: an order of `dnamdlm.diffusion.confidence`, or `left_to_right`.
    """
    if rule == "left_to_right":
        position = torch.arange(log_probs.shape[1], device=log_probs.device)
        return -position.double().expand(log_probs.shape[:2])
    return certainty(log_probs, rule)


def ordered_nats(
    denoise: Callable[[Tensor], Tensor],
    x0: Int[Tensor, "B L"],
    valid: Bool[Tensor, "B L"],
    *,
    rule: OrderRule,
    mask_id: int,
    per_step: int = 1,
) -> Float64[Tensor, "B L"]:
    """-log p(x0) in nats, of each token when it is revealed; zero where `valid` is False.

    The values sum to the exact negative log-likelihood of a sampler that reveals the `per_step`
    positions of highest priority at a time, each drawn from its conditional distribution; ties go
    to the position further left. The row with most positions decides the number of calls.

    Args:
        denoise: gives log p(x0 | xt) for the whole batch.
        x0: clean token ids.
        valid: positions that are hidden at first and scored.
        rule: see `priority`.
        mask_id: id of the mask token.
        per_step: positions revealed per call.

    Raises:
        ConfigError: if `per_step` is below 1.

    Source: arXiv:2603.01367 (deterministic unmasking, exact likelihood).
    """
    if per_step < 1:
        raise ConfigError(f"per_step must be at least 1, got {per_step}")
    xt = torch.where(valid, mask_id, x0)
    nats = torch.zeros(x0.shape, dtype=torch.float64, device=x0.device)
    hidden = valid
    for _ in range(-(-int(valid.sum(dim=1).max()) // per_step) if len(x0) else 0):
        log_probs = denoise(xt)
        chosen = hidden & (ranks(priority(log_probs, rule), hidden) < per_step)
        surprise = -log_probs.gather(-1, x0.unsqueeze(-1)).squeeze(-1).double()
        nats = torch.where(chosen, surprise, nats)
        xt = torch.where(chosen, x0, xt)
        hidden = hidden & ~chosen
    return nats
