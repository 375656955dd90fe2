"""Steps that may remask (reopen) tokens they wrote.

A written token becomes a mask again with probability sigma, and hidden tokens are revealed more
often in compensation, so that the share of visible tokens still follows the schedule. With
sigma = 0 the step is ancestral. A strategy chooses sigma.

Source: Wang et al. 2025, ReMDM (arXiv:2503.00307).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import Stream
from dnamdlm.diffusion.steps import Step, StepRule, draw_tokens
from dnamdlm.errors import ConfigError


def largest_remask(
    alpha_t: Float[Tensor, " B"], alpha_s: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """The largest sigma for which all probabilities lie in [0, 1]: min(1, (1 - alpha_s) / alpha_t).

    Source: ReMDM, eq. 6.
    """
    return (
        ((1 - alpha_s) / torch.where(alpha_t > 0, alpha_t, 1.0)).where(alpha_t > 0, 1.0).clamp(0, 1)
    )


def reveal_after_remasking(
    remask: Float[Tensor, "B L"], alpha_t: Float[Tensor, " B"], alpha_s: Float[Tensor, " B"]
) -> Float[Tensor, "B L"]:
    """Probability that a hidden token is revealed: (alpha_s - (1 - sigma) alpha_t)/(1 - alpha_t).

    Exactly 1 when alpha_s is 1.

    Source: ReMDM, eq. 7.
    """
    before, after = alpha_t[:, None], alpha_s[:, None]
    hidden = torch.where(before < 1, 1 - before, 1.0)
    return torch.where(after >= 1, 1.0, (after - (1 - remask) * before) / hidden)


def remasking_probabilities(
    log_probs: Float[Tensor, "B L V"],
    remask: Float[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    *,
    xt: Int[Tensor, "B L"],
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """The distribution of every token at time s given the sequence at time t, independently.

    Args:
        log_probs: log p(x0 | xt), one-hot at visible positions.
        remask: sigma of each position, 0 at given tokens.
        alpha_t: probability that a token is visible at time t.
        alpha_s: the same at time s.
        xt: tokens at time t.
        mask_id: id of the mask.

    Source: ReMDM, eq. 7.
    """
    stays = torch.where(
        xt == mask_id, reveal_after_remasking(remask, alpha_t, alpha_s), 1 - remask
    ).unsqueeze(-1)
    is_mask = torch.arange(log_probs.shape[-1], device=xt.device) == mask_id
    return torch.where(is_mask, 1 - stays, stays * log_probs.exp())


@runtime_checkable
class RemaskStrategy(Protocol):
    """How likely each token is to be reopened."""

    def __call__(self, step: Step) -> Float64[Tensor, "B L"]:
        """Sigma at every position; at hidden positions it raises the probability of a reveal."""
        ...


@dataclass(frozen=True)
class Capped:
    """sigma = min(eta, largest)."""

    eta: float = 0.02

    def __post_init__(self) -> None:
        """Check the bound."""
        _check_eta(self.eta)

    def __call__(self, step: Step) -> Float64[Tensor, "B L"]:
        """The same for every token of a row."""
        return _spread(largest_remask(step.alpha_t, step.alpha_s).clamp(max=self.eta), step)


@dataclass(frozen=True)
class Rescaled:
    """sigma = eta * largest."""

    eta: float = 0.05

    def __post_init__(self) -> None:
        """Check the share."""
        _check_eta(self.eta)

    def __call__(self, step: Step) -> Float64[Tensor, "B L"]:
        """The same for every token of a row."""
        return _spread(self.eta * largest_remask(step.alpha_t, step.alpha_s), step)


@dataclass(frozen=True)
class LeastConfident:
    """sigma = eta * largest, divided among the written tokens of a row by softmax(-confidence).

    Confidence is the probability that a token had when it was drawn. Hidden tokens have sigma 0.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        """Check the share."""
        _check_eta(self.eta)

    def __call__(self, step: Step) -> Float64[Tensor, "B L"]:
        """More for tokens that were unlikely when drawn."""
        weight = torch.exp(-step.confidence) * step.written
        share = weight / weight.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
        return share * _spread(self.eta * largest_remask(step.alpha_t, step.alpha_s), step)


@dataclass(frozen=True)
class WhileWaiting:
    """sigma = min(eta, largest) while the grid stays at one time, 0 while it falls: the loop."""

    eta: float = 0.02

    def __post_init__(self) -> None:
        """Check the share."""
        _check_eta(self.eta)

    def __call__(self, step: Step) -> Float64[Tensor, "B L"]:
        """The same for every token of a row."""
        largest = largest_remask(step.alpha_t, step.alpha_s).clamp(max=self.eta)
        return _spread(torch.where(step.alpha_s == step.alpha_t, largest, 0.0), step)


@dataclass(frozen=True)
class Corrector:
    """sigma = strength (alpha_s - alpha_t) / alpha_t, at most the largest.

    One step of the reverse process and `strength` steps back with the forward process.
    Strength 1 is the forward-backward sampler (Campbell et al. 2022, arXiv:2205.14987); others are
    the corrector of discrete flow matching (Gat et al. 2024, arXiv:2407.15595).
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check the strength."""
        if not 0.0 <= self.strength < float("inf"):
            raise ConfigError(f"sampler.strength must not be negative, got {self.strength}")

    def __call__(self, step: Step) -> Float64[Tensor, "B L"]:
        """The same for every token of a row."""
        positive = step.alpha_t > 0
        rate = (step.alpha_s - step.alpha_t) / torch.where(positive, step.alpha_t, 1.0)
        largest = largest_remask(step.alpha_t, step.alpha_s)
        return _spread(
            torch.where(positive, torch.minimum(self.strength * rate, largest), 0.0), step
        )


@dataclass(frozen=True)
class Remasking(StepRule):
    """Reveal hidden tokens and reopen written ones; given tokens are never touched.

    A row in which nothing is revealed needs no network call, whether or not tokens are reopened.
    """

    strategy: RemaskStrategy
    choice: Choice = UNCHANGED

    reopens = True
    draws_apart = True

    @property
    def uses_confidence(self) -> bool:
        """True for the strategy that reads it."""
        return isinstance(self.strategy, LeastConfident)

    def needs_network(self, step: Step) -> Bool[Tensor, " B"]:
        """True for the rows in which this step reveals a token."""
        return self._revealed(step).any(dim=-1)

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Reveal and reopen."""
        revealed = draw_tokens(step, log_probs, self._revealed(step), self.choice)
        return torch.where(self._reopened(step), step.mask_id, revealed)

    def reads(self, step: Step) -> Bool[Tensor, "B L"]:
        """The tokens that are revealed."""
        return self._revealed(step)

    def without_network(self, step: Step) -> Int[Tensor, "B L"]:
        """Reopen only."""
        return torch.where(self._reopened(step), step.mask_id, step.tokens)

    def _revealed(self, step: Step) -> Bool[Tensor, "B L"]:
        reveal = reveal_after_remasking(self.strategy(step), step.alpha_t, step.alpha_s)
        return step.hidden & (step.uniform(Stream.REVEALS) < reveal)

    def _reopened(self, step: Step) -> Bool[Tensor, "B L"]:
        # a position is either hidden or written, so that one number serves both questions.
        return step.written & (step.uniform(Stream.REVEALS) < self.strategy(step))


def _spread(values: Tensor, step: Step) -> Tensor:
    """One value per row to every position."""
    return values[:, None].expand(step.tokens.shape)


def _check_eta(eta: float) -> None:
    if not 0.0 <= eta <= 1.0:
        raise ConfigError(f"sampler.eta must lie in [0, 1], got {eta}")
