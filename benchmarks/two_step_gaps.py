"""What two ancestral steps of a teacher give that one step of it does not, in nats.

Given which tokens the first and which the second step reveals, the path of two steps differs from
that of one in the tokens of the second alone. The divergence of these paths is that of predictions,

    sum over i of P(i appears in the second step) E KL(p(x_i | xm) || p(x_i | xt)),

and it is the sum of two parts: R KL(q || p(x_i | xt)) of the two-step marginals q, which a student
can learn, and the rest, which is what tokens of one step know of each other and no product
distribution has. Summed over the pairs of steps, these are figures of a whole sequence.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.randomness import RowNoise, child_keys
from dnamdlm.diffusion.two_steps import TwoSteps, state_between, two_steps
from dnamdlm.lm.masked import MaskedDiffusionLM


@dataclass(frozen=True)
class Gaps:
    """Divergences of each row at one pair of steps, in nats.

    Attributes:
        of_paths: of two steps from one step.
        of_marginals: the part that a student can learn.
    """

    of_paths: Float64[Tensor, " B"]
    of_marginals: Float64[Tensor, " B"]


def gaps_of_draws(
    at_t: Float[Tensor, "B L V"],
    at_m: Float[Tensor, "K B L V"],
    xt: Int[Tensor, "B L"],
    xm: Int[Tensor, "K B L"],
    steps: TwoSteps,
    *,
    mask_id: int,
) -> Gaps:
    """Both divergences from K independent draws of the state between.

    That of paths is without bias. That of marginals is half the chi-square distance, to which the
    divergence is equal to second order; it is estimated from products of different draws, so that
    their noise adds nothing on average.

    Args:
        at_t: log p(x0 | xt).
        at_m: log p(x0 | xm) for each draw.
        xt: ids with masks at time t.
        xm: ids at time m, two draws or more.
        steps: the steps of each row.
        mask_id: id of the mask.
    """
    hidden = (xt == mask_id).unsqueeze(-1)
    before = torch.where(hidden, at_t.double().exp(), 0.0)
    after = torch.where((xm == mask_id).unsqueeze(-1), at_m.double().exp(), 0.0)
    second = steps.second[:, None, None] * (xm == mask_id).unsqueeze(-1)
    is_possible = before > 0
    ratio = torch.where(is_possible, after / before.clamp(min=1e-300), 1.0)
    of_paths = (second * torch.special.xlogy(after, ratio)).sum(dim=(-1, -2)).mean(dim=0)
    # R (q - p), of which each draw is an estimate without bias.
    moved = second * (after - before)
    products = (moved.sum(dim=0) ** 2 - (moved**2).sum(dim=0)) / (len(xm) * (len(xm) - 1))
    chi_square = torch.where(is_possible, products / before.clamp(min=1e-300), 0.0)
    return Gaps(of_paths, chi_square.sum(dim=(-1, -2)) / steps.both / 2)


@torch.no_grad()
def gaps_of_model(
    lm: MaskedDiffusionLM,
    tokens: Int[Tensor, "B L"],
    keys: Int[Tensor, " B"],
    num_steps: int,
    *,
    draws: int = 4,
) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
    """Both divergences in nats per sequence, summed over the T/2 pairs of steps.

    Args:
        lm: the model, in evaluation mode.
        tokens: real sequences, hidden as at time t.
        keys: noise keys of the rows.
        num_steps: T, even.
        draws: of the state between, two or more.

    Returns:
        The divergence of paths of each row, and that of marginals.
    """
    total = torch.zeros(2, len(tokens), dtype=torch.float64)
    for pair in range(num_steps // 2):
        place = torch.full((len(tokens),), (pair + 0.5) / (num_steps // 2), dtype=torch.float64)
        steps = two_steps(num_steps, place, lm.schedule)
        noise = RowNoise(child_keys(keys, pair))
        uniforms = noise.uniform(0, 0, tokens.shape[1])
        xt = torch.where(uniforms < 1 - steps.alpha_t[:, None], lm.mask_id, tokens)
        at_t = lm.denoise(xt, steps.t)
        between = [
            state_between(
                xt, at_t, steps, RowNoise(child_keys(noise.keys, number)), mask_id=lm.mask_id
            )
            for number in range(draws)
        ]
        after = torch.stack([lm.denoise(xm, steps.m) for xm in between])
        gaps = gaps_of_draws(at_t, after, xt, torch.stack(between), steps, mask_id=lm.mask_id)
        total += torch.stack([gaps.of_paths, gaps.of_marginals])
    return total[0], total[1]
