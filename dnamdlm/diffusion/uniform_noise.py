"""Noise that replaces tokens: uniformly over the real tokens, by the mask, or by either.

At time t a token keeps its value with probability alpha(t), and is else drawn from a fixed law pi
of the noise: with probability `uniform_share` a real token, all of which are equally likely (the
clean one included), else the mask. So q_t(z | x) = alpha [z = x] + (1 - alpha) pi(z). A share of 1
is uniform noise (UDLM), a share of 0 that of masked diffusion, and anything between is a hybrid.

The network predicts c, the distribution of a clean token given the noisy tokens at all *other*
positions. With the exact c the reverse process is exact, position by position:

    p(z_s | z_t) = q(z_t | z_s) q_s(z_s | c) / q_t(z_t | c),
    p(x_0 | z_t) = c(x_0) q_t(z_t | x_0) / q_t(z_t | c).

For noise of masks alone the second line is the SUBS parameterization: a visible token stays.

Padding, N and special tokens are never noise, and never replaced. All results are float64.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import inverse_cdf
from dnamdlm.errors import ConfigError


def check_share(uniform_share: float | int) -> None:
    """Refuse a share outside [0, 1], with a `ConfigError`."""
    if not 0.0 <= uniform_share <= 1.0:
        raise ConfigError(
            f"lm.uniform_share={uniform_share} must lie in [0, 1]: 1 replaces by real tokens, "
            "0 by masks"
        )


def noise_probs(
    real_tokens: Bool[Tensor, " V"], mask_id: int, uniform_share: float | int
) -> Float64[Tensor, " V"]:
    """The law pi of the noise.

    Args:
        real_tokens: True for the tokens that a position can be.
        mask_id: id of the mask.
        uniform_share: probability that noise is a real token, in [0, 1].

    Example: three real tokens, and the mask with probability 0.4.
        >>> noise_probs(torch.tensor([True, True, True, False]), 3, 0.6)
        tensor([0.2000, 0.2000, 0.2000, 0.4000], dtype=torch.float64)
    """
    check_share(uniform_share)
    # nothing of it is read by the host, which would wait for a GPU in every step.
    wide = real_tokens.double()
    probs = wide * (uniform_share / wide.sum())
    probs[mask_id].fill_(1 - uniform_share)
    return probs


def replace_tokens(
    x0: Int[Tensor, "B L"],
    probability: Float[Tensor, " B"],
    replaceable: Bool[Tensor, "B L"],
    uniforms: Float64[Tensor, "B L"],
    picks: Float64[Tensor, "B L"],
    *,
    noise: Float64[Tensor, " V"],
) -> Int[Tensor, "B L"]:
    """Replace each replaceable token independently by noise, with the probability of its row.

    Args:
        x0: clean token ids.
        probability: 1 - alpha(t), one per row.
        replaceable: positions that may be replaced.
        uniforms: independent numbers in (0, 1) that decide which are.
        picks: independent numbers in (0, 1) that decide by what.
        noise: see `noise_probs`.
    """
    drawn = inverse_cdf(noise.expand(*x0.shape, -1), picks)
    return torch.where(replaceable & (uniforms < probability[:, None]), drawn, x0)


def noisy_probs(
    probs: Float64[Tensor, "B L V"], alpha: Float[Tensor, " B"], noise: Float64[Tensor, " V"]
) -> Float64[Tensor, "B L V"]:
    """q(z) at the time of alpha for a clean token with these probabilities."""
    kept = alpha.double()[:, None, None]
    return kept * probs + (1 - kept) * noise


def step_likelihood(
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    noise: Float64[Tensor, " V"],
) -> Float64[Tensor, "B L V"]:
    """q(z_t | z_s) for every z_s: the probability of the tokens at time t from those at s < t."""
    wide_t, wide_s = alpha_t.double(), alpha_s.double()
    # where alpha_s is 0 nothing changes between s and t.
    kept = torch.where(wide_s > 0, wide_t / torch.where(wide_s > 0, wide_s, 1.0), 1.0)
    kept = kept[:, None, None]
    same = torch.arange(len(noise), device=xt.device) == xt.unsqueeze(-1)
    return kept * same + (1 - kept) * noise[xt].unsqueeze(-1)


def reverse_probs(
    probs: Float64[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    noise: Float64[Tensor, " V"],
) -> Float64[Tensor, "B L V"]:
    """p(z_s | z_t) of each position: the formula of the module's docstring.

    With a one-hot `probs` this is the posterior q(z_s | z_t, x_0). With alpha_s = 1 it is
    p(x_0 | z_t).

    Args:
        probs: c, the distribution of the clean token given the other noisy tokens.
        xt: tokens at time t.
        alpha_t: probability that a token is kept until time t.
        alpha_s: the same for the earlier time s.
        noise: see `noise_probs`.

    Source: Austin et al. 2021 (arXiv:2107.03006), eq. 3; Schiff et al. 2024 (arXiv:2412.10193).
    """
    joint = step_likelihood(xt, alpha_t, alpha_s, noise) * noisy_probs(probs, alpha_s, noise)
    return joint / joint.sum(dim=-1, keepdim=True)


def noise_rate(
    alpha: Float[Tensor, " B"], alpha_rate: Float[Tensor, " B"]
) -> Float64[Tensor, " B"]:
    """-alpha' / alpha, the rate at which tokens are replaced; 0 where alpha is 0."""
    wide = alpha.double()
    return torch.where(wide > 0, -alpha_rate.double() / torch.where(wide > 0, wide, 1.0), 0.0)


def replaced_nats(
    probs: Float64[Tensor, "B L V"],
    x0: Int[Tensor, "B L"],
    xt: Int[Tensor, "B L"],
    alpha: Float[Tensor, " B"],
    rate: Float64[Tensor, " B"],
    *,
    noise: Float64[Tensor, " V"],
) -> Float64[Tensor, "B L"]:
    """The bound of continuous time at one time in nats, whose mean over t bounds -log p.

    With q = q_t(. | x_0), p = q_t(. | c), z the noisy token and r = q(z) / p(z), it is

        rate pi(z) / q(z) (KL(q || p) + r - log r - 1).

    For masks alone it is -alpha' / (1 - alpha) times the cross-entropy of the hidden tokens; for
    uniform noise it is the bound of UDLM.

    Args:
        probs: c at every position, normalised over the real tokens.
        x0: clean tokens; real tokens wherever the result is read.
        xt: tokens at time t.
        alpha: probability that a token is kept until t.
        rate: see `noise_rate`.
        noise: see `noise_probs`.

    Source: Schiff et al. 2024 (arXiv:2412.10193), eq. 12; von Ruette et al. 2025
    (arXiv:2503.04482), eq. 9, for any law of the noise.
    """
    kept = alpha.double()[:, None]
    clean, shown = (probs.gather(-1, ids.unsqueeze(-1)).squeeze(-1) for ids in (x0, xt))
    of_clean, of_shown = ((1 - kept) * noise[ids] for ids in (x0, xt))
    # KL term by term: off the clean token q is n = (1 - alpha) pi, and p is n + alpha c.
    off = torch.arange(len(noise), device=xt.device) != x0.unsqueeze(-1)
    floor = ((1 - kept).unsqueeze(-1) * noise).expand(probs.shape)
    gained = torch.where(off, kept.unsqueeze(-1) * probs, 0.0)
    divergence = (gained - floor * _log_ratio(floor + gained, floor, gained)).sum(dim=-1)
    lost, whole = kept * (clean - 1), of_clean + kept
    divergence = divergence + lost - whole * _log_ratio(of_clean + kept * clean, whole, lost)
    # r - log r - 1 of the token that is seen.
    is_kept = xt == x0
    true, found = of_shown + kept * is_kept, of_shown + kept * shown
    excess = kept * (is_kept.double() - shown)
    ratio = _log_ratio(true, found, excess)
    weight = rate[:, None] * noise[xt] / torch.where(true > 0, true, 1.0)
    nats = weight * (divergence + excess / torch.where(found > 0, found, 1.0) - ratio)
    return torch.where(weight > 0, nats, 0.0)


def _log_ratio(
    above: Float64[Tensor, "*shape"],
    below: Float64[Tensor, "*shape"],
    difference: Float64[Tensor, "*shape"],
) -> Float64[Tensor, "*shape"]:
    """log(above / below), precise where both are close and where they are far apart; 0 for 0.

    Args:
        above: not negative.
        below: not negative.
        difference: above - below, without the rounding of the difference.
    """
    possible = (above > 0) & (below > 0)
    above, below = (torch.where(possible, x, 1.0) for x in (above, below))
    change = torch.where(possible, difference, 0.0) / below
    is_close = change.abs() < 0.5
    return torch.where(
        is_close, torch.log1p(torch.where(is_close, change, 0.0)), above.log() - below.log()
    )


def step_nats(
    probs: Float64[Tensor, "B L V"],
    x0: Int[Tensor, "B L"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    *,
    noise: Float64[Tensor, " V"],
) -> Float64[Tensor, "B L"]:
    """KL(q(z_s | z_t, x_0) || p(z_s | z_t)) of one step, in nats.

    The sum over the T steps bounds -log p.

    In the last step, to alpha_s = 1, it is -log p(x_0 | z_t), the reconstruction.

    Args:
        probs: c at every position.
        x0: clean tokens.
        xt: tokens at time t.
        alpha_t: probability that a token is kept until t, below alpha_s.
        alpha_s: the same for the earlier time s.
        noise: see `noise_probs`.
    """
    one_hot = torch.nn.functional.one_hot(x0, len(noise)).double()
    true = reverse_probs(one_hot, xt, alpha_t, alpha_s, noise)
    found = reverse_probs(probs, xt, alpha_t, alpha_s, noise)
    # what cannot happen costs nothing, and its gradient must be a number.
    possible = true > 0
    logs = (torch.where(possible, p, 1.0).log() for p in (true, found))
    surprise, expected = logs
    return (true * (surprise - expected)).sum(dim=-1)
