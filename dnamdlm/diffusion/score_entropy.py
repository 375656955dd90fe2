"""Score entropy: a masked process described by ratios of probabilities.

The concrete score of a sequence x at a hidden position is s_y = p_t(x with y there) / p_t(x). For
the masked process it equals odds(t) p(y | visible tokens), odds = alpha / (1 - alpha), so that a
network need only estimate log(s_y / odds), here called the relative score. It is finite at every
time, unlike the score itself and the rate of the process.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def relative_log_score(
    logits: Float[Tensor, "B L V"], *, real_tokens: Bool[Tensor, " V"]
) -> Float[Tensor, "B L V"]:
    """Log of score over odds(t): logits - log(number of real tokens); -inf at other tokens.

    For an exact model this is log p(y | visible tokens); the probabilities need not sum to 1.

    Args:
        logits: network output; not modified.
        real_tokens: True for the tokens that a hidden position can be.

    Source: Lou et al. 2023 (arXiv:2310.16834), appendix C.2: scaling by the noise level.
    """
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return scores.masked_fill(~real_tokens, -torch.inf) - real_tokens.sum().log()


def log_score(
    logits: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    *,
    real_tokens: Bool[Tensor, " V"],
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """Log of the concrete score at time t, for samplers: 0 at the current token.

    At masked positions the mask has 0 and each real token its relative score plus log odds(t). At
    visible positions every token but the current one has -inf.

    Args:
        logits: network output; not modified.
        xt: token ids with masks.
        alpha_t: probability that a token is visible, in (0, 1).
        real_tokens: True for the tokens that a hidden position can be.
        mask_id: id of the mask.
    """
    relative = relative_log_score(logits, real_tokens=real_tokens)
    log_odds = (alpha_t / (1 - alpha_t)).log().to(relative.dtype)[:, None, None]
    hidden = (xt == mask_id).unsqueeze(-1)
    current = torch.arange(logits.shape[-1], device=xt.device) == xt.unsqueeze(-1)
    scores = torch.where(hidden, relative + log_odds, -torch.inf)
    return torch.where(current, 0.0, scores)


def score_entropy(
    relative: Float[Tensor, "B L V"],
    x0: Int[Tensor, "B L"],
    xt: Int[Tensor, "B L"],
    weight: Float[Tensor, " B"],
    *,
    mask_id: int,
) -> Float[Tensor, "B L"]:
    """Denoising score entropy in nats on masked positions; zero where the token is visible.

    With l the relative log-score, weight * (sum over y of exp(l_y) - l_x0 - 1). Its average over t
    with weight = -alpha'(t) / (1 - alpha(t)), summed over L, bounds -log p(x0). It is the
    cross-entropy of the normalised scores plus a penalty for not being normalised.

    Args:
        relative: see `relative_log_score`; -inf where impossible.
        x0: clean token ids.
        xt: `x0` after masking; visible tokens must equal those of `x0`.
        weight: one factor per sequence, dimensionless, non-negative.
        mask_id: id of the mask token.

    Source: Lou et al. 2023 (arXiv:2310.16834), eq. 9; sigma' / (exp(sigma) - 1) is taken out.
    """
    clean = relative.gather(-1, x0.unsqueeze(-1)).squeeze(-1)
    entropy = relative.exp().sum(dim=-1) - clean - 1
    weighted = weight.to(relative.dtype)[:, None] * entropy
    # where, not multiply: visible entries may be inf, and inf * 0 is nan.
    return torch.where(xt == mask_id, weighted, 0.0)
