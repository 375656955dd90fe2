"""Exact categorical draws: float64 probabilities, one uniform number and the inverse CDF.

The Gumbel trick in float32 is not used: its noise is bounded, so that rare tokens are never drawn
and samples are sharper than the model (arXiv:2409.02908).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """How one token is drawn from its distribution.

    Attributes:
        temperature: divides the log-probabilities; 1 is the model itself.
        top_p: keeps only the nucleus of this total probability; 1 is the model itself.
        top_k: keeps only this many most likely tokens; None keeps all.

    Raises:
        ConfigError: if a setting is out of range.

    Example:
        >>> import torch
        >>> from dnamdlm.diffusion import Choice
        >>> log_probs = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
        >>> Choice(top_k=2).probabilities(log_probs)
        tensor([0.6250, 0.3750, 0.0000, 0.0000], dtype=torch.float64)
        >>> Choice(temperature=0.5).probabilities(log_probs)
        tensor([0.6849, 0.2466, 0.0616, 0.0068], dtype=torch.float64)
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0.0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature must be positive and finite, got {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k must be at least 1, or null for all, got {self.top_k}")

    def probabilities(self, log_probs: Float[Tensor, "... V"]) -> Float64[Tensor, "... V"]:
        """The probabilities with which tokens are drawn, see `sharpened`."""
        return sharpened(
            log_probs, temperature=self.temperature, top_p=self.top_p, top_k=self.top_k
        )

    def draw(
        self, log_probs: Float[Tensor, "*shape V"], uniforms: Float64[Tensor, "*shape"]
    ) -> Int[Tensor, "*shape"]:
        """One token per distribution, by its uniform number."""
        return inverse_cdf(self.probabilities(log_probs), uniforms)


UNCHANGED = Choice()
"""The model itself."""


def sharpened(
    log_probs: Float[Tensor, "... V"],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int | None = None,
) -> Float64[Tensor, "... V"]:
    """Probabilities proportional to exp(log_probs / temperature) within a set of likely tokens.

    The temperature is applied first, then `top_k`, then the nucleus: the smallest set of most
    likely tokens whose share of the remaining probability reaches `top_p`. Ties go to the smaller
    id.

    Args:
        log_probs: log-probabilities, -inf where impossible; they need not be normalised.
        temperature: positive; 1 changes nothing.
        top_p: in (0, 1]; 1 changes nothing.
        top_k: at least 1; None changes nothing.

    Source: Holtzman et al. 2020 (arXiv:1904.09751) for the nucleus.
    """
    probs = (log_probs.to(torch.float64) / temperature).softmax(dim=-1)
    if top_p >= 1.0 and top_k is None:
        return probs
    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ranked = ranked.masked_fill(torch.arange(probs.shape[-1], device=probs.device) >= top_k, 0)
        ranked = ranked / ranked.sum(dim=-1, keepdim=True)
    if top_p < 1.0:
        before = ranked.cumsum(dim=-1) - ranked
        ranked = ranked.masked_fill(before >= top_p, 0.0)
    kept = torch.zeros_like(probs).scatter(-1, order, ranked)
    return kept / kept.sum(dim=-1, keepdim=True)


def inverse_cdf(
    probs: Float64[Tensor, "*shape V"], uniforms: Float64[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """The token at which the cumulative probability exceeds the uniform number.

    Args:
        probs: non-negative, with a positive finite sum; they need not be normalised.
        uniforms: one number in (0, 1) per distribution.
    """
    cumulative = probs.cumsum(dim=-1)
    # u * total is below total even after rounding, because u is at most 1 - 2**-53.
    return (cumulative <= uniforms.unsqueeze(-1) * cumulative[..., -1:]).sum(dim=-1)
