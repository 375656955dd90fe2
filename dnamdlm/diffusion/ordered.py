"""Likelihood of revealing tokens one at a time: in one order, or averaged over random orders.

If the next position is a function of the visible tokens, every sequence has one path from all
masked to complete, and its probability is the product of the probabilities along that path. The
rule `SurestFirst` of `confidence`, with the same number of tokens per step, samples from exactly
this distribution.

In a random order, `FirstHitting` samples from the mean over all orders s, p(x) = mean of p(x | s).
K orders of it give the bound -log mean of p(x | s_k), which has expectation -log p(x) or more, the
expectation of the continuous-time bound for K = 1, and falls with K.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.confidence import certainty, ranks
from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.diffusion.positions import LogProbs
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
    return certainty(LogProbs(log_probs), rule)


def ordered_nats(
    denoise: Callable[[Tensor], Tensor],
    x0: Int[Tensor, "B L"],
    valid: Bool[Tensor, "B L"],
    *,
    rule: OrderRule | Float64[Tensor, "B L"],
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
        rule: see `priority`; or the priority of each position, for an order that is given.
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
        order = priority(log_probs, rule) if isinstance(rule, str) else rule
        chosen = hidden & (ranks(order, hidden) < per_step)
        surprise = -log_probs.gather(-1, x0.unsqueeze(-1)).squeeze(-1).double()
        nats = torch.where(chosen, surprise, nats)
        xt = torch.where(chosen, x0, xt)
        hidden = hidden & ~chosen
    return nats


def mean_order_nats(
    denoise: Callable[[Tensor], Tensor],
    x0: Int[Tensor, "B L"],
    valid: Bool[Tensor, "B L"],
    *,
    orders: Iterable[Float64[Tensor, "B L"]],
    mask_id: int,
) -> Float64[Tensor, "B L"]:
    """-log of the mean of p(x0 | order) over orders; zero where `valid` is False.

    Over random orders this is an upper bound of -log p(x0), in expectation, for the sampler that
    reveals one token at a time in a random order; over all orders it is -log p(x0).

    Args:
        denoise: gives log p(x0 | xt) for the whole batch; called once per token and order.
        x0: clean token ids.
        valid: positions that are hidden at first and scored.
        orders: the priority of each position, the largest revealed first; one tensor per order.
        mask_id: id of the mask token.

    Source: Burda et al. 2015 (arXiv:1509.00519), with the order as the latent variable.
    """
    nats = torch.stack(
        [ordered_nats(denoise, x0, valid, rule=order, mask_id=mask_id) for order in orders]
    )
    weights = torch.full(nats.shape[:2], -math.log(len(nats)), dtype=nats.dtype, device=nats.device)
    shares = posterior_shares(nats.sum(dim=-1), weights)
    return mixed_nats(nats, valid, total=valid.sum(dim=1), shares=shares, log_weights=weights)
