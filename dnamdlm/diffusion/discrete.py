"""The bound of a masked process with T steps, for denoisers that may also predict the mask.

One step goes from time t to the earlier time s. The bound is a sum over the T steps of a KL
divergence per token, and a reconstruction term at time 0. Everything is computed in float64: the
two distributions of a step differ little where T is large.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor


def step_divergence(
    log_probs: Float[Tensor, "B L V"],
    x0: Int[Tensor, "B L"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    *,
    mask_id: int,
) -> Float64[Tensor, "B L"]:
    """KL(q(x_s | x_t, x_0) || p(x_s | x_t)) of one step, in nats; zero at visible tokens.

    With p = log_probs, m the mask, r = (alpha_s - alpha_t) / (1 - alpha_t) the probability that a
    hidden token is revealed, and g(a) = log(1 + p_m a / (1 - a)), the divergence of a hidden token
    is r (g(alpha_t) - log p_x0) + (1 - r) (g(alpha_t) - g(alpha_s)). Where the step ends at
    alpha_s = 1 the second part is absent. If the mask has probability 0, g is 0 and the result is r
    times the cross-entropy.

    Args:
        log_probs: log p(x0 | xt), normalised over V; the mask may have a probability.
        x0: clean token ids.
        xt: `x0` after masking at time t; visible tokens must equal those of `x0`.
        alpha_t: probability that a token is visible at time t, below 1.
        alpha_s: the same at the earlier time s, above alpha_t.
        mask_id: id of the mask token.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 17 of the appendix, for any schedule.
    """
    wide_t, wide_s = alpha_t.double()[:, None], alpha_s.double()[:, None]
    log_clean = log_probs.gather(-1, x0.unsqueeze(-1)).squeeze(-1).double()
    mask_prob = log_probs[..., mask_id].double().exp()
    # where nothing can be hidden no position is scored, and nan must not reach the gradient.
    hidden_t = torch.where(wide_t < 1, 1 - wide_t, 1.0)
    hidden_s = 1 - wide_s
    reveal = (wide_s - wide_t) / hidden_t
    stretch = torch.log1p(mask_prob * wide_t / hidden_t)
    revealed = reveal * (stretch - log_clean)
    # g(alpha_t) - g(alpha_s) as one logarithm of a quotient; the product with 1 - r stays finite.
    safe = torch.where(hidden_s > 0, hidden_s, 1.0)
    excess = mask_prob * (wide_s - wide_t) / (safe * hidden_t)
    kept = -(1 - reveal) * torch.log1p(excess / (1 + mask_prob * wide_t / hidden_t))
    nats = revealed + torch.where(hidden_s > 0, kept, 0.0)
    return torch.where(xt == mask_id, nats, 0.0)


def reconstruction(
    log_probs: Float[Tensor, "B L V"], x0: Int[Tensor, "B L"]
) -> Float64[Tensor, "B L"]:
    """-log p(x0 | x at time 0) in nats at every token.

    Zero for a denoiser that copies visible tokens, if all tokens are visible at time 0.

    Args:
        log_probs: log p(x0 | x at time 0), normalised over V.
        x0: clean token ids.
    """
    return -log_probs.gather(-1, x0.unsqueeze(-1)).squeeze(-1).double()
