"""Exact categorical draws: float64 probabilities, one uniform number and the inverse CDF.

The Gumbel trick in float32 is not used: its noise has a largest value, so that rare events never
win and samples come out sharper than the model (arXiv:2409.02908).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor


def sharpened(
    log_probs: Float[Tensor, "... V"], *, temperature: float = 1.0, top_p: float = 1.0
) -> Float64[Tensor, "... V"]:
    """Probabilities proportional to exp(log_probs / temperature) within the nucleus of `top_p`.

    The nucleus is the smallest set of most likely tokens whose total reaches `top_p`, taken after
    the temperature; ties are broken in favour of the smaller id.

    Args:
        log_probs: log-probabilities, -inf where impossible.
        temperature: positive; 1 changes nothing.
        top_p: in (0, 1]; 1 changes nothing.

    Source: Holtzman et al. 2020 (arXiv:1904.09751) for the nucleus.
    """
    probs = (log_probs.to(torch.float64) / temperature).softmax(dim=-1)
    if top_p >= 1.0:
        return probs
    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(dim=-1) - ranked
    kept = torch.zeros_like(probs).scatter(-1, order, ranked.masked_fill(before >= top_p, 0.0))
    return kept / kept.sum(dim=-1, keepdim=True)


def inverse_cdf(
    probs: Float64[Tensor, "*shape V"], uniforms: Float64[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """The token at which the cumulative probability passes the uniform number.

    Args:
        probs: non-negative, with a positive finite sum; they need not be normalised.
        uniforms: one number in (0, 1) per law.
    """
    cumulative = probs.cumsum(dim=-1)
    # u * total is below total even after rounding, because u is at most 1 - 2**-53.
    return (cumulative <= uniforms.unsqueeze(-1) * cumulative[..., -1:]).sum(dim=-1)
