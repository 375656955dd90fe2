"""The loss of masked diffusion: from log-probabilities to nats per token.

The bound with T steps is in `discrete`, score entropy in `score_entropy`.

Shapes: B sequences, L positions, V vocabulary. Time t: 0 is clean, 1 is fully masked.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def masked_nll(
    log_probs: Float[Tensor, "B L V"],
    x0: Int[Tensor, "B L"],
    xt: Int[Tensor, "B L"],
    weight: Float[Tensor, " B"],
    *,
    mask_id: int,
) -> Float[Tensor, "B L"]:
    """Weighted cross-entropy in nats on masked positions; zero where the token is visible.

    Averaged over t ~ U(0, 1) with weight = -alpha'(t) / (1 - alpha(t)), its sum over L bounds
    -log p(x0) from above, in nats per sequence. With exactly k of n tokens masked and weight n / k,
    the average over k ~ U{1..n} is the same number for a network that does not see t.

    Args:
        log_probs: log p(x0 | xt), normalised over V.
        x0: clean token ids.
        xt: `x0` after masking; visible tokens must equal those of `x0`.
        weight: one factor per sequence, dimensionless, non-negative.
        mask_id: id of the mask token.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 11, for any schedule; Ou et al. 2024
    (arXiv:2406.03736) for the form with exact counts.

    Example: one hidden token of probability 1/2 and weight 3 costs 3 log 2 nats.
        >>> import torch
        >>> from dnamdlm.diffusion import masked_nll
        >>> log_probs = torch.tensor([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]]).log()
        >>> x0, xt = torch.tensor([[1, 0]]), torch.tensor([[2, 0]])
        >>> masked_nll(log_probs, x0, xt, torch.tensor([3.0]), mask_id=2)
        tensor([[2.0794, 0.0000]])
    """
    cross_entropy = -log_probs.gather(-1, x0.unsqueeze(-1)).squeeze(-1)
    weighted = weight.to(log_probs.dtype)[:, None] * cross_entropy
    # where, not multiply: hidden entries may be inf, and inf * 0 is nan.
    return torch.where(xt == mask_id, weighted, 0.0)
