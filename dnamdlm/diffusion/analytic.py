"""Scores of the masked process, and the analytic (Tweedie) step of models that learn scores.

The score of token y at a hidden position is p_t(x with y) / p_t(x). It is the distribution of the
clean token, scaled: s(y) = alpha / (1 - alpha) p(y | visible). A model of scores is not normalised:
m(y) = s(y) (1 - alpha) / alpha has a total of its own. Under the SUBS parameterization the total is
1, and the analytic step is the ancestral step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import Stream
from dnamdlm.diffusion.steps import Ancestral, Step, StepRule, draw_tokens, reveal_probability


def scores(
    log_unnormalized: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    *,
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """p_t(x with y at this position) / p_t(x) for every y, with alpha_t in (0, 1).

    At a hidden position: m(y) alpha / (1 - alpha), and 1 for the mask. At a visible
    one: 1 for the token, (1 - alpha) / alpha for the mask, 0 for the others.

    Args:
        log_unnormalized: log m(y), an unnormalised distribution over V.
        xt: token ids with masks.
        alpha_t: probability that a token is visible.
        mask_id: id of the mask.

    Source: Lou et al. 2024 (arXiv:2310.16834), section 3.3, for the absorbing process.
    """
    odds = (alpha_t / (1 - alpha_t))[:, None, None]
    ids = torch.arange(log_unnormalized.shape[-1], device=xt.device)
    is_mask = ids == mask_id
    at_hidden = torch.where(is_mask, 1.0, log_unnormalized.exp() * odds)
    at_visible = torch.where(is_mask, 1 / odds, (ids == xt.unsqueeze(-1)).to(at_hidden.dtype))
    return torch.where((xt == mask_id).unsqueeze(-1), at_hidden, at_visible)


def tweedie_probabilities(
    score: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    *,
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """The distribution of every token at time s from scores at time t; alpha_t > 0.

    With r = alpha_s / alpha_t: r score(y) + [y = mask] (1 - r) sum(score), times the probability
    1 / r that y stays visible from s to t, or 1 - 1 / r that it becomes the mask seen at t. With an
    untrained model, entries may be negative.

    Source: Lou et al. 2024 (arXiv:2310.16834), theorem 4.2 (tau-leaping by Tweedie's formula).
    """
    ratio = (alpha_s / alpha_t)[:, None, None]
    ids = torch.arange(score.shape[-1], device=xt.device)
    is_mask = ids == mask_id
    staggered = score * ratio + torch.where(is_mask, (1 - ratio) * score.sum(-1, keepdim=True), 0.0)
    survives = (ids == xt.unsqueeze(-1)) / ratio
    vanishes = torch.where((xt == mask_id).unsqueeze(-1), 1 - 1 / ratio, 0.0)
    return staggered * (survives + vanishes)


@dataclass(frozen=True)
class Analytic(StepRule):
    """The Tweedie step: reveal with a probability proportional to the total of the prediction.

    `log_probs` may be unnormalised, with total M at a position. A hidden position is revealed with
    probability M (alpha_s - alpha_t) / (1 - alpha_t), at most 1, and drawn in proportion to
    exp(log_probs); the last step reveals all. This is `tweedie_probabilities` at hidden positions,
    and remains finite where alpha_t is 0.

    With M = 1 it is the ancestral step, drawn from the same uniform numbers, so that a model of
    probabilities needs no network call where nothing is revealed. A model of scores needs one in
    every step, because M decides whether a token is revealed.
    """

    choice: Choice = UNCHANGED

    takes_unnormalized = True
    draws_apart = True

    def for_normalized(self) -> StepRule:
        """The ancestral step, which is the same where every total is exactly 1."""
        return Ancestral(self.choice)

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Reveal hidden tokens, each with the probability given by its total."""
        total = log_probs.each(_total)
        reveal = reveal_probability(step.alpha_t, step.alpha_s)[:, None] * total
        everything = (step.alpha_s >= 1)[:, None]
        revealed = everything | (step.uniform(Stream.REVEALS) < reveal)
        return draw_tokens(step, log_probs, step.hidden & revealed, self.choice)


def _total(values: Tensor) -> Tensor:
    """The sum of each distribution."""
    return values.double().logsumexp(dim=-1).exp()
