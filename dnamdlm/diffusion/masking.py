"""The forward process: which tokens are hidden.

All functions take their uniform numbers as an argument, so that the caller controls the randomness.
Positions that are not maskable (padding, N, a fixed context) always keep their token.
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
    """Hide `count` maskable tokens of each row; every subset of that size is equally likely.

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


def corrupt(
    x0: Int[Tensor, "B L"],
    maskable: Bool[Tensor, "B L"],
    uniforms: Float[Tensor, "B L 3"],
    *,
    real_ids: tuple[int, ...],
    mask_id: int,
    rate: float = 0.15,
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Tokens for masked language modelling, and which of them are to be predicted.

    A maskable token is chosen with probability `rate`. A chosen token becomes the mask or a real
    token drawn uniformly (possibly the same), or is kept. No special token is ever drawn.

    Args:
        x0: clean token ids.
        maskable: positions that may be chosen.
        uniforms: three independent numbers in (0, 1) per position.
        real_ids: tokens that a replacement is drawn from.
        mask_id: id of the mask token.
        rate: probability that a token is chosen.
        mask_share: share of the chosen tokens that are masked.
        random_share: share of the chosen tokens that are replaced.

    Source: Devlin et al. 2018 (arXiv:1810.04805), section 3.1.
    """
    choice, action, pick = uniforms.unbind(dim=-1)
    chosen = maskable & (choice < rate)
    ids = torch.tensor(real_ids, dtype=x0.dtype).to(x0.device, non_blocking=True)
    replacement = ids[(pick * len(real_ids)).floor().long().clamp(max=len(real_ids) - 1)]
    replaced = torch.where(action < mask_share + random_share, replacement, x0)
    corrupted = torch.where(action < mask_share, mask_id, replaced)
    return torch.where(chosen, corrupted, x0), chosen
