"""From network outputs to log p(x0 | xt): what the logits mean.

Results are float32 or wider whatever the precision of the network, and impossible tokens have
log-probability -inf.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def substitution(
    logits: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    *,
    real_tokens: Bool[Tensor, " V"],
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """SUBS: hidden tokens are real tokens, and a visible token is what it shows.

    At masked positions the logits are normalised over the real tokens; every other id (the mask,
    padding, N, spare ids) has probability 0. At visible positions the distribution is one-hot on
    the visible token, real or not, and has no gradient.

    Args:
        logits: network output; not modified.
        xt: token ids with masks.
        real_tokens: True for the tokens that a hidden position can be.
        mask_id: id of the mask.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), section 3.2.3 (zero masking, carry-over).
    """
    log_probs = restricted(logits, real_tokens)
    visible = (xt != mask_id).unsqueeze(-1)
    shown = torch.arange(logits.shape[-1], device=xt.device) == xt.unsqueeze(-1)
    if torch.is_grad_enabled():
        return log_probs.masked_fill(visible & ~shown, -torch.inf).masked_fill(visible & shown, 0.0)
    # with many ids a copy is large.
    return log_probs.masked_fill_(visible & ~shown, -torch.inf).masked_fill_(visible & shown, 0.0)


def restricted(
    logits: Float[Tensor, "B L V"], allowed: Bool[Tensor, " V"]
) -> Float[Tensor, "B L V"]:
    """Log-softmax over the allowed tokens, the same at masked and visible positions.

    With the real tokens and the mask allowed this is the parameterization of D3PM; with the real
    tokens alone, D3PM with zero masking. Neither copies visible tokens.

    Args:
        logits: network output; not modified.
        allowed: tokens that may have a probability.

    Source: Austin et al. 2021 (arXiv:2107.03006), section 3.3.
    """
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return scores.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)
