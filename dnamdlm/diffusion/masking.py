"""The forward process: which tokens are hidden.

Both functions take their uniform numbers as an argument, so that the caller owns the randomness.
Positions that are not maskable (padding, N, a clamped context) always keep their token.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def mask_tokens(
    x0: Int[Tensor, "B L"],
    mask_probability: Float[Tensor, " B"],
    maskable: Bool[Tensor, "B L"],
    uniforms: Float[Tensor, "B L"],
    *,
    mask_id: int,
) -> Int[Tensor, "B L"]:
    """Hide each maskable token independently with the probability of its row.

    Args:
        x0: clean token ids.
        mask_probability: 1 - alpha(t), one per row.
        maskable: positions that may be hidden.
        uniforms: independent numbers in (0, 1).
        mask_id: id written where a token is hidden.
    """
    hidden = maskable & (uniforms < mask_probability[:, None])
    return torch.where(hidden, mask_id, x0)


def mask_exactly(
    x0: Int[Tensor, "B L"],
    count: Int[Tensor, " B"],
    maskable: Bool[Tensor, "B L"],
    uniforms: Float[Tensor, "B L"],
    *,
    mask_id: int,
) -> Int[Tensor, "B L"]:
    """Hide `count` maskable tokens of each row, every subset of that size being equally likely.

    Args:
        x0: clean token ids.
        count: tokens to hide per row; a row with fewer maskable positions hides all of them.
        maskable: positions that may be hidden.
        uniforms: independent numbers in (0, 1); the positions with the smallest are hidden.
        mask_id: id written where a token is hidden.
    """
    order = torch.where(maskable, uniforms, torch.inf).argsort(dim=-1)
    rank = torch.empty_like(order)
    rank.scatter_(-1, order, torch.arange(x0.shape[-1], device=x0.device).expand_as(order))
    return torch.where(maskable & (rank < count[:, None]), mask_id, x0)
