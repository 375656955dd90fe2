"""The reverse process of noise that replaces tokens, see `uniform_noise`.

Every position may change in every step, so that each step calls the network for every row. A step
draws each position from p(z_s | z_t). Two additions let errors be mended:

- with `eta`, a position is drawn anew from its predicted clean distribution and noised to time s,
  without regard to its present token (as in ReMDM and the psi-samplers). The marginal of a position
  at time s stays what it was.
- a correction draws some positions from their distribution given all other noisy tokens, at one
  time (Gibbs sampling). With one position per correction and an exact network the distribution of
  the noisy sequences at that time does not change, and errors of the steps before decay.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice, inverse_cdf
from dnamdlm.diffusion.grids import check_times
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.uniform_noise import noisy_probs, reverse_probs
from dnamdlm.errors import ConfigError

NextProbs = Callable[[Float[Tensor, "B L V"]], Float64[Tensor, "B L V"]]
"""From log c, the distributions of clean tokens, to probabilities of what is drawn."""


@runtime_checkable
class Predictor(Protocol):
    """A network, and how it is guided."""

    def __call__(
        self, tokens: Int[Tensor, "B L"], time: Float64[Tensor, " B"], after: NextProbs
    ) -> Float64[Tensor, "B L V"]:
        """Probabilities of what is drawn next, by `after` from those of clean tokens, guided."""
        ...


@dataclass(frozen=True)
class Replacing:
    """How noisy tokens are drawn, step by step.

    Attributes:
        choice: temperature, top_p and top_k of the predicted clean tokens.
        eta: probability that a position forgets its present token in a step.
        corrections: corrections after each step but the last.
        sites: positions that a correction draws anew.
    """

    choice: Choice = UNCHANGED
    eta: float = 0.0
    corrections: int = 0
    sites: int = 1

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0.0 <= self.eta <= 1.0:
            raise ConfigError(f"sampler.eta must lie in [0, 1], got {self.eta}")
        if self.corrections < 0 or self.sites < 1:
            raise ConfigError(
                "sampler.corrections must be at least 0 and sampler.sites at least 1, got "
                f"{self.corrections} and {self.sites}"
            )

    def clean(self, log_probs: Tensor) -> Float64[Tensor, "B L V"]:
        """The distributions of clean tokens as they are used: sharpened by `choice`."""
        return self.choice.probabilities(log_probs)


def forgetful_probs(
    probs: Float64[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    alpha_t: Float64[Tensor, " B"],
    alpha_s: Float64[Tensor, " B"],
    noise: Float64[Tensor, " V"],
    *,
    eta: float,
) -> Float64[Tensor, "B L V"]:
    """The distribution at time s of a step that forgets a position with probability `eta`.

    (1 - eta) p(z_s | z_t) + eta q_s(z_s | p(x_0 | z_t)), arguments as in `reverse_probs`.

    Source: Wang et al. 2025 (arXiv:2503.00307) for masks, Deschenaux et al. 2026 (psi-samplers).
    """
    stepped = reverse_probs(probs, xt, alpha_t, alpha_s, noise)
    if eta == 0:
        return stepped
    clean = reverse_probs(probs, xt, alpha_t, torch.ones_like(alpha_t), noise)
    return (1 - eta) * stepped + eta * noisy_probs(clean, alpha_s, noise)


def chosen_sites(
    free: Bool[Tensor, "B L"], uniforms: Float64[Tensor, "B L"], sites: int
) -> Bool[Tensor, "B L"]:
    """As many free positions of each row, every set of which is equally likely."""
    rank = torch.where(free, uniforms, torch.inf).argsort(dim=-1).argsort(dim=-1)
    return free & (rank < sites)


@torch.no_grad()
def replaced_process(
    predict: Predictor,
    initial: Int[Tensor, "B L"],
    free: Bool[Tensor, "B L"],
    *,
    rule: Replacing,
    schedule: Schedule,
    times: Float64[Tensor, " T1"],
    noise_law: Float64[Tensor, " V"],
    noise: RowNoise,
    watch: Callable[[int], None] | None = None,
) -> Int[Tensor, "B L"]:
    """Denoise sequences from the first of `times` to 0.

    A row is a function of its tokens and its noise key, whatever the other rows are.

    Args:
        predict: the network, see `Predictor`.
        initial: tokens at the first time.
        free: positions that may change; all others (N, padding) are kept as they are.
        rule: how tokens are drawn.
        schedule: noise schedule; at time 0 its alpha is taken as 1.
        times: falling times that end at 0.
        noise_law: see `noise_probs`.
        noise: one key per row.
        watch: called after each step with the number of positions that are finished by it: all of
            them in equal parts.

    Raises:
        ConfigError: if the times do not fall from at most 1 to exactly 0.
    """
    check_times(times)
    tokens, shape = initial, initial.shape
    alphas = torch.where(times > 0, schedule.alpha(times), 1.0).to(initial.device)
    num_free, told = int(free.sum()), 0
    grid = times.to(initial.device)
    for draw in range(len(grid) - 1):
        at_t, at_s = grid[draw].repeat(shape[0]), grid[draw + 1].repeat(shape[0])
        alpha_t, alpha_s = alphas[draw].repeat(shape[0]), alphas[draw + 1].repeat(shape[0])

        probs = predict(
            tokens, at_t, partial(_stepped, rule, noise_law, (tokens, alpha_t, alpha_s))
        )
        drawn = inverse_cdf(probs, noise.uniform(Stream.TOKENS, draw, shape[1]))
        tokens = torch.where(free, drawn, tokens)
        for number in range(rule.corrections if draw + 2 < len(grid) else 0):
            use = draw * rule.corrections + number
            sites = chosen_sites(free, noise.uniform(Stream.SITES, use, shape[1]), rule.sites)
            probs = predict(tokens, at_s, partial(_conditional, rule, noise_law, alpha_s))
            drawn = inverse_cdf(probs, noise.uniform(Stream.CORRECTIONS, use, shape[1]))
            tokens = torch.where(sites, drawn, tokens)
        if watch is not None:
            before, told = told, num_free * (draw + 1) // (len(times) - 1)
            watch(told - before)
    return tokens


def _stepped(
    rule: Replacing,
    noise_law: Tensor,
    state: tuple[Tensor, Tensor, Tensor],
    log_probs: Float[Tensor, "B L V"],
) -> Float64[Tensor, "B L V"]:
    """Distributions at time s; the state is the tokens, alpha_t and alpha_s."""
    return forgetful_probs(rule.clean(log_probs), *state, noise_law, eta=rule.eta)


def _conditional(
    rule: Replacing, noise_law: Tensor, alpha: Tensor, log_probs: Float[Tensor, "B L V"]
) -> Float64[Tensor, "B L V"]:
    """Distributions of noisy tokens at one time, each given all other tokens."""
    return noisy_probs(rule.clean(log_probs), alpha, noise_law)
