"""-log of a mixture of distributions over whole sequences, split over tokens.

For a mixture P(x) = sum of w_k P_k(x) and any shares r_k that sum to 1,

    -log P(x) <= sum of r_k (-log P_k(x)) + sum of r_k log(r_k / w_k),

with equality for the posterior shares r_k = w_k P_k(x) / P(x). The right-hand side is linear in
each -log P_k(x): if one of them is an estimate without bias, and the shares do not depend on it,
the right-hand side is an estimate without bias, too.

Shapes: K components, B sequences, M parts of a sequence (tokens, or classes of tokens).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor


def posterior_shares(
    nats: Float64[Tensor, "K B"], log_weights: Float64[Tensor, "K B"]
) -> Float64[Tensor, "K B"]:
    """Share of each component in the probability of each sequence.

    Where every component is impossible the shares are the weights.

    Args:
        nats: -log P_k(x).
        log_weights: log w_k; -inf leaves a component out.
    """
    joint = log_weights - nats
    possible = (joint > -torch.inf).any(dim=0)
    return torch.where(possible, joint, log_weights).softmax(dim=0)


def mixed_nats(
    nats: Float64[Tensor, "K B M"],
    sizes: Bool[Tensor, "B M"] | Int64[Tensor, "B M"],
    *,
    total: Int64[Tensor, " B"],
    shares: Float64[Tensor, "K B"],
    log_weights: Float64[Tensor, "K B"],
) -> Float64[Tensor, "B M"]:
    """The bound of the module's docstring, split over the parts of each sequence.

    Each part has the mean of its nats, and the divergence of the shares from the weights in
    proportion to its size.

    Args:
        nats: -log P_k(x) of each part; parts may overlap.
        sizes: tokens of each part; a part without any has its mean alone.
        total: tokens of each sequence.
        shares: r_k of each sequence.
        log_weights: log w_k.
    """
    mean = torch.where(shares[..., None] > 0, shares[..., None] * nats, 0.0).sum(dim=0)
    apart = torch.where(shares > 0, shares * (shares.log() - log_weights), 0.0).sum(dim=0)
    return mean + apart[:, None] * sizes / total.clamp(min=1)[:, None]
