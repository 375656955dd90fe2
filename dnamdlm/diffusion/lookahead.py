"""What a partly masked sequence may be worth: values from a reward of finished sequences.

Any value leaves the weights of a population right; the nearer it is to log E[exp(r / a)] given the
visible tokens, the more evenly they spread.

Shapes: N sequences, L positions, V vocabulary, G guesses of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import inverse_cdf
from dnamdlm.errors import ConfigError

RewardFunction: TypeAlias = Callable[[Int[Tensor, "N L"]], Float64[Tensor, " N"]]
"""Finished sequences -> r(x) / a, the log of the factor that their probability gets."""

RewardGradient: TypeAlias = Callable[
    [Int[Tensor, "N L"]], tuple[Float64[Tensor, " N"], Float64[Tensor, "N L V"]]
]
"""Finished sequences -> r(x) / a, and its derivatives by the one-hot tokens."""

StateValue: TypeAlias = Callable[[Int[Tensor, "N L"], Float64[Tensor, " N"]], Float64[Tensor, " N"]]
"""Partly masked sequences and their times -> V, in the unit of r(x) / a."""

Lookahead = Literal["draws", "likely"]
LOOKAHEADS = get_args(Lookahead)


def completed(
    xt: Int[Tensor, "N L"],
    log_probs: Float[Tensor, "N L V"],
    uniforms: Float64[Tensor, "N G L"],
    *,
    mask_id: int,
) -> Int[Tensor, "N G L"]:
    """Sequences without masks: each mask is drawn from its own distribution, independently.

    Args:
        xt: ids with masks.
        log_probs: log p(x0 | xt), or an unnormalised log-distribution.
        uniforms: one number in (0, 1) per guess and position.
        mask_id: id of the mask.
    """
    shape = uniforms.shape
    probs = log_probs.double().softmax(dim=-1)[:, None].expand(*shape, -1)
    return torch.where((xt == mask_id)[:, None], inverse_cdf(probs, uniforms), xt[:, None])


def most_likely(
    xt: Int[Tensor, "N L"], log_probs: Float[Tensor, "N L V"], *, mask_id: int
) -> Int[Tensor, "N 1 L"]:
    """The sequence in which each mask is the most likely token given the visible ones."""
    return torch.where(xt == mask_id, log_probs.argmax(dim=-1), xt)[:, None]


def checked_reward(reward: RewardFunction, ids: Int[Tensor, "N L"]) -> Float64[Tensor, " N"]:
    """r(x) / a of each sequence; each distinct sequence is given to the reward once.

    Raises:
        ConfigError: if the reward does not give one finite number for each sequence.
    """
    rows, inverse = np.unique(ids.cpu().numpy(), axis=0, return_inverse=True)
    distinct = torch.as_tensor(rows, device=ids.device)
    place = torch.as_tensor(inverse.reshape(-1), device=ids.device)
    values = reward(distinct)
    if tuple(values.shape) != (len(distinct),):
        raise ConfigError(
            f"the reward gave values of shape {tuple(values.shape)} for {len(distinct)} sequences; "
            "give one number for each"
        )
    values = values.to(ids.device, torch.float64)
    odd = ~values.isfinite()
    if bool(odd.any()):
        raise ConfigError(
            f"the reward of {int(odd.sum())} of {len(values)} sequences is "
            f"{values[odd][0].item()}; give a finite number for each"
        )
    return values[place]


def log_mean_exp(values: Float64[Tensor, "N G"]) -> Float64[Tensor, " N"]:
    """Log of the mean of exp(values) over the guesses."""
    return values.logsumexp(dim=-1) - math.log(values.shape[-1])


def with_token(
    guesses: Int[Tensor, "N G L"],
    rows: Int[Tensor, " M"],
    positions: Int[Tensor, " M"],
    tokens: Int[Tensor, " M"],
) -> Int[Tensor, "M G L"]:
    """The guesses of row `rows[m]` with the token `tokens[m]` at `positions[m]`."""
    edited = guesses[rows]
    places = positions[:, None, None].expand(-1, edited.shape[1], 1)
    return edited.scatter(-1, places, tokens[:, None, None].expand_as(places))


def twisted(
    probs: Float64[Tensor, "M V"],
    values: Float64[Tensor, "M V"],
    possible: Bool[Tensor, "M V"],
    *,
    most: float = 30.0,
) -> Float64[Tensor, "M V"]:
    """Log of q(v) ~ p(v) exp(value of v), with positive probability wherever p has it.

    Values more than `most` below the best of their row are raised to that, so that rounding cannot
    exclude a token; weights are right for any q with the support of p.

    Args:
        probs: p, normalised.
        values: value of the sequence with each token; only read where `possible`.
        possible: where p is positive.
        most: largest difference of two values that counts.

    Example: a fair choice, of which one side is worth log 3 more.
        >>> p = torch.tensor([[0.5, 0.5]]).double()
        >>> twisted(p, torch.tensor([[1.0, 3.0]]).double().log(), p > 0).exp()
        tensor([[0.2500, 0.7500]], dtype=torch.float64)
    """
    best = values.masked_fill(~possible, -torch.inf).amax(dim=-1, keepdim=True)
    lift = (values - best).clamp(min=-most)
    return (probs.log() + lift).masked_fill(~possible, -torch.inf).log_softmax(dim=-1)


def check_lookahead(value: object) -> None:
    """Refuse what is neither the name of a lookahead nor a function, with a `ConfigError`."""
    if not callable(value) and value not in LOOKAHEADS:
        raise ConfigError(
            f"value={value} is unknown; choose {' or '.join(LOOKAHEADS)}, or give a function of "
            "ids with masks and their times"
        )
