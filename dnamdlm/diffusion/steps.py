"""Step rules: how a partly masked sequence moves from time t to an earlier time s.

A rule never calls the network. It first says, from the noise alone, which rows need one
(`needs_network`); the loop in `reverse.py` calls the network for those and hands the result back.
Rows that need none keep their tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import inverse_cdf, sharpened
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError


@runtime_checkable
class StepRule(Protocol):
    """One reverse step for every row of a batch."""

    def needs_network(
        self,
        xt: Int[Tensor, "B L"],
        alpha_t: Float64[Tensor, " B"],
        alpha_s: Float64[Tensor, " B"],
        *,
        noise: RowNoise,
        draw: int,
        mask_id: int,
    ) -> Bool[Tensor, " B"]:
        """True for the rows that this step changes, which need log p(x0 | xt)."""
        ...

    def __call__(
        self,
        xt: Int[Tensor, "B L"],
        log_probs: Float[Tensor, "B L V"],
        alpha_t: Float64[Tensor, " B"],
        alpha_s: Float64[Tensor, " B"],
        *,
        noise: RowNoise,
        draw: int,
        mask_id: int,
    ) -> Int[Tensor, "B L"]:
        """The tokens at time s.

        Args:
            xt: tokens at time t.
            log_probs: log p(x0 | xt), -inf where impossible.
            alpha_t: probability that a token is visible at time t, per row.
            alpha_s: the same at time s < t; exactly 1 in the last step.
            noise: numbers of these rows.
            draw: number of the step.
            mask_id: id of the mask.
        """
        ...


def reveal_probability(
    alpha_t: Float[Tensor, " B"], alpha_s: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """Probability that a token hidden at time t is visible at s: (alpha_s - alpha_t)/(1 - alpha_t).

    Exactly 1 when alpha_s is 1, whatever alpha_t.
    """
    hidden = torch.where(alpha_t < 1, 1 - alpha_t, 1.0)
    return torch.where(alpha_s >= 1, 1.0, (alpha_s - alpha_t) / hidden)


def ancestral_probabilities(
    log_probs: Float[Tensor, "B L V"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    *,
    xt: Int[Tensor, "B L"],
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """The law of every token at time s given the sequence at time t; tokens are independent.

    A visible token stays; a hidden one is revealed with `reveal_probability`, then drawn from
    p(x0 | xt).

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 7.
    """
    masked = (xt == mask_id).unsqueeze(-1)
    reveal = reveal_probability(alpha_t, alpha_s)[:, None, None]
    is_mask = torch.arange(log_probs.shape[-1], device=xt.device) == mask_id
    hidden_law = torch.where(is_mask, 1 - reveal, reveal * log_probs.exp())
    return torch.where(masked, hidden_law, log_probs.exp())


@dataclass(frozen=True)
class Ancestral:
    """The exact reverse step of the masked process: reveal each hidden token independently.

    The reveal is a Bernoulli draw and the token a float64 categorical draw, so that the result is
    exact for any number of steps, and a row in which nothing is revealed costs no network call.

    Attributes:
        temperature: divides the log-probabilities of the tokens; 1 is the model itself.
        top_p: keeps only the nucleus of this total probability; 1 is the model itself.
    """

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0.0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature must be positive and finite, got {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}")

    def needs_network(
        self,
        xt: Int[Tensor, "B L"],
        alpha_t: Float64[Tensor, " B"],
        alpha_s: Float64[Tensor, " B"],
        *,
        noise: RowNoise,
        draw: int,
        mask_id: int,
    ) -> Bool[Tensor, " B"]:
        """True for the rows in which this step reveals a token."""
        return _revealed(xt == mask_id, alpha_t, alpha_s, noise, draw).any(dim=-1)

    def __call__(
        self,
        xt: Int[Tensor, "B L"],
        log_probs: Float[Tensor, "B L V"],
        alpha_t: Float64[Tensor, " B"],
        alpha_s: Float64[Tensor, " B"],
        *,
        noise: RowNoise,
        draw: int,
        mask_id: int,
    ) -> Int[Tensor, "B L"]:
        """Reveal the tokens whose turn it is."""
        revealed = _revealed(xt == mask_id, alpha_t, alpha_s, noise, draw)
        uniforms = noise.uniform(Stream.TOKENS, draw, xt.shape[1])[revealed]
        probs = sharpened(log_probs[revealed], temperature=self.temperature, top_p=self.top_p)
        return xt.masked_scatter(revealed, inverse_cdf(probs, uniforms))


def _revealed(
    masked: Tensor, alpha_t: Tensor, alpha_s: Tensor, noise: RowNoise, draw: int
) -> Bool[Tensor, "B L"]:
    """Hidden positions that become visible in this step."""
    uniforms = noise.uniform(Stream.REVEALS, draw, masked.shape[1])
    return masked & (uniforms < reveal_probability(alpha_t, alpha_s)[:, None])
