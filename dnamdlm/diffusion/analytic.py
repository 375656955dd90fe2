"""Scores of the masked process, and the analytic (Tweedie) step of models that learn scores.

The score of token y at a hidden position is p_t(x with y) / p_t(x). It is the clean law scaled:
s(y) = alpha / (1 - alpha) p(y | visible). A model of scores does not know that its law sums to 1,
so its "law" is a measure m(y) = s(y) (1 - alpha) / alpha with a total of its own. For the SUBS
parameterization the total is 1, and the analytic step is the ancestral step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.randomness import Stream
from dnamdlm.diffusion.steps import Ancestral, Step, StepRule, draw_tokens, reveal_probability


def scores(
    log_measure: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    *,
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """p_t(x with y at this position) / p_t(x) for every y, with alpha_t in (0, 1).

    At a hidden position: the measure times alpha / (1 - alpha), and 1 for the mask. At a visible
    one: 1 for the token, (1 - alpha) / alpha for the mask, 0 for the others.

    Source: Lou et al. 2024 (arXiv:2310.16834), section 3.3, for the absorbing process.
    """
    odds = (alpha_t / (1 - alpha_t))[:, None, None]
    ids = torch.arange(log_measure.shape[-1], device=xt.device)
    is_mask = ids == mask_id
    at_hidden = torch.where(is_mask, 1.0, log_measure.exp() * odds)
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
    """The law of every token at time s from scores at time t; alpha_t > 0.

    With r = alpha_s / alpha_t: r score(y) + [y = mask] (1 - r) sum(score), times the probability
    1 / r that y survives from s to t, or 1 - 1 / r that it turns into the mask seen at t. Entries
    of an untrained model may be negative.

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
    """The Tweedie step: reveal with the total that the model gives to a hidden position.

    `log_probs` may be the logarithm of a measure whose total M is not 1. A hidden position is
    revealed with probability M (alpha_s - alpha_t) / (1 - alpha_t), at most 1, and drawn from the
    measure; the last step reveals all. This is `tweedie_probabilities` at hidden positions, and
    stays finite where alpha_t is 0.

    With a total of 1 it is the ancestral step, drawn from the same uniform numbers. So a model of
    probabilities needs no network where nothing is revealed. A model of scores does in every step:
    how likely a token is revealed depends on its total.
    """

    choice: Choice = UNCHANGED

    takes_measure = True

    def for_laws(self) -> StepRule:
        """The ancestral step, which is this one for a total of exactly 1."""
        return Ancestral(self.choice)

    def __call__(self, step: Step, log_probs: Float[Tensor, "B L V"]) -> Int[Tensor, "B L"]:
        """Reveal the tokens whose turn it is."""
        total = log_probs.double().logsumexp(dim=-1).exp()
        reveal = reveal_probability(step.alpha_t, step.alpha_s)[:, None] * total
        everything = (step.alpha_s >= 1)[:, None]
        revealed = everything | (step.uniform(Stream.REVEALS) < reveal)
        return draw_tokens(step, log_probs, step.hidden & revealed, self.choice)
