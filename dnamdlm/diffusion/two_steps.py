"""What one step of a student may learn from two ancestral steps of its teacher.

A student takes the step t -> s in which its teacher takes t -> m -> s. Reveals are independent of
tokens and of each other, so that both reveal the same positions with the same probabilities; they
differ in the distribution of a revealed token. One step draws all its tokens independently. The
product distribution with the smallest divergence from the two-step joint is that of its marginals,
and these are what a cross-entropy against the teacher's predictions is minimal at.

Shapes: B sequences, L positions, V vocabulary.

Source: Salimans and Ho 2022 (arXiv:2202.00512) for halving the steps again and again; Deschenaux
and Gulcehre 2024 (arXiv:2410.21035) for masked diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.steps import Ancestral, Step, reveal_probability


@dataclass(frozen=True)
class TwoSteps:
    """Two consecutive steps t -> m -> s of the linear grid of a teacher, one pair per row.

    Attributes:
        t: time before both.
        m: time between them.
        alpha_t: probability that a token is visible at t.
        alpha_m: the same at m.
        alpha_s: the same after both; exactly 1 at the end of the grid.
    """

    t: Float64[Tensor, " B"]
    m: Float64[Tensor, " B"]
    alpha_t: Float64[Tensor, " B"]
    alpha_m: Float64[Tensor, " B"]
    alpha_s: Float64[Tensor, " B"]

    @property
    def first(self) -> Float64[Tensor, " B"]:
        """Probability that a token hidden at t is visible at m."""
        return reveal_probability(self.alpha_t, self.alpha_m)

    @property
    def second(self) -> Float64[Tensor, " B"]:
        """Probability that a token hidden at m is visible at s."""
        return reveal_probability(self.alpha_m, self.alpha_s)

    @property
    def both(self) -> Float64[Tensor, " B"]:
        """Probability that a token hidden at t is visible at s."""
        return reveal_probability(self.alpha_t, self.alpha_s)


def two_steps(num_steps: int, place: Float[Tensor, " B"], schedule: Schedule) -> TwoSteps:
    """The pair of steps at a place of a grid of T steps; every pair has an equal share of (0, 1).

    Args:
        num_steps: T, an even number.
        place: one number in (0, 1) per row; small ones are near time 0.
        schedule: noise schedule.

    Example: of four steps the last two.
        >>> import torch
        >>> from dnamdlm.diffusion import LogLinear
        >>> pair = two_steps(4, torch.tensor([0.3]), LogLinear())
        >>> [float(each) for each in (pair.t, pair.m, pair.first, pair.second, pair.both)]
        [0.5, 0.25, 0.5, 1.0, 1.0]
    """
    pairs = num_steps // 2
    number = (place.double() * pairs).floor().clamp(max=pairs - 1)
    t, m, s = (2 * number + 2) / num_steps, (2 * number + 1) / num_steps, 2 * number / num_steps
    alpha_t, alpha_m, alpha_s = schedule.alpha(t), schedule.alpha(m), schedule.alpha(s)
    # the last step of a grid reveals everything, even if alpha(0) falls short of 1.
    return TwoSteps(t, m, alpha_t, alpha_m, torch.where(s > 0, alpha_s, 1.0))


def state_between(
    xt: Int[Tensor, "B L"],
    log_probs: Float[Tensor, "B L V"],
    steps: TwoSteps,
    noise: RowNoise,
    *,
    mask_id: int,
) -> Int[Tensor, "B L"]:
    """The ids at time m: one ancestral step from time t.

    Args:
        xt: ids with masks at time t.
        log_probs: log p(x0 | xt).
        steps: the steps of each row.
        noise: of the rows; a row is a function of its key.
        mask_id: id of the mask.
    """
    written = torch.ones(xt.shape, dtype=torch.float64, device=xt.device)
    hidden = xt == mask_id
    step = Step(xt, hidden, steps.alpha_t, steps.alpha_m, written, noise, 0, mask_id)
    return Ancestral()(step, LogProbs(log_probs))


def two_step_targets(
    at_t: Float[Tensor, "B L V"],
    at_m: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    xm: Int[Tensor, "B L"],
    steps: TwoSteps,
    *,
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """Soft targets of one draw, whose mean over xm is R q: the two-step marginals times R.

    R is the probability `steps.both` that a hidden token is revealed by time s, and q(x_i | xt) the
    distribution that the teacher's two steps give it then,

        R q(x_i | xt) = r p(x_i | xt) + (1 - r) r' E[p(x_i | xm) given that i is hidden at m],

    with the reveal probabilities r, r' of the two steps. That is the expectation of what a token
    is drawn from when it is revealed. Which tokens are revealed is averaged over here, rather than
    drawn, so that every hidden position has a target and not the few that a draw reveals.

    Args:
        at_t: log p(x0 | xt) of the teacher.
        at_m: log p(x0 | xm) of the teacher.
        xt: ids with masks at time t.
        xm: ids at time m, drawn by `state_between`.
        steps: the steps of each row.
        mask_id: id of the mask.

    Returns:
        Weights of the tokens, zero at visible positions; their sum over V is R on average.

    Example: the token is hidden at m as well, and either step might reveal it.
        >>> import torch
        >>> from dnamdlm.diffusion import LogLinear
        >>> pair = two_steps(2, torch.tensor([0.5]), LogLinear())
        >>> first, second = torch.tensor([[[[0.5, 0.5, 0.0]], [[0.8, 0.2, 0.0]]]]).log()[0]
        >>> hidden = torch.tensor([[2]])
        >>> two_step_targets(first[None], second[None], hidden, hidden, pair, mask_id=2)
        tensor([[[1.0500, 0.4500, 0.0000]]])
    """
    first, second = (each.to(at_t.dtype)[:, None, None] for each in (steps.first, steps.second))
    early = first * at_t.exp()
    late = torch.where((xm == mask_id).unsqueeze(-1), second * at_m.exp(), 0.0)
    return torch.where((xt == mask_id).unsqueeze(-1), early + late, 0.0)


def soft_cross_entropy(
    log_probs: Float[Tensor, "*positions V"], targets: Float[Tensor, "*positions V"]
) -> Float[Tensor, "*positions"]:
    """Minus the sum over V of target times log-probability, in nats.

    Its expectation over random targets is that against their mean, since it is linear in them.

    Example: an impossible token without weight costs nothing.
        >>> import torch
        >>> log_probs = torch.tensor([0.5, 0.5, 0.0]).log()
        >>> soft_cross_entropy(log_probs, torch.tensor([1.0, 0.5, 0.0]))
        tensor(1.0397)
    """
    # where, not multiply alone: 0 * inf is nan.
    return -torch.where(targets > 0, targets * log_probs, 0.0).sum(dim=-1)
