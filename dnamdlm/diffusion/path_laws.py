"""Paths of the reverse process, one token at a time in a random order, under two denoisers.

A path is an order of the hidden positions, uniform at random, and the tokens that are drawn in it:
what the first-hitting sampler draws. Given the order, the probability of its tokens is the product
of the probabilities at the positions that are revealed; that of the order is the same for every
model.

Shapes: B sequences, L positions, V vocabulary.

Source: Zheng et al. 2024 (arXiv:2409.02908) for the first-hitting sampler; Zhu et al. 2025
(arXiv:2508.10684) for weights of paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.randomness import RowNoise, Stream

Denoise = Callable[[Tensor], Tensor]
"""Ids with masks (B, L) -> log p(x0 | xt), (B, L, V), normalised."""


@dataclass(frozen=True)
class Paths:
    """Drawn sequences and the probabilities of their paths, given the orders.

    Attributes:
        tokens: finished sequences.
        log_probs: of the tokens under each denoiser in nats, that which drew them first.
    """

    tokens: Int[Tensor, "B L"]
    log_probs: Float64[Tensor, "D B"]

    def log_ratio(self, number: int = 1) -> Float64[Tensor, " B"]:
        """Log p(path) - log u(path) of another denoiser p and the one that drew, u.

        >>> import torch
        >>> paths = Paths(torch.zeros(1, 2).long(), torch.tensor([[-2.0], [-0.5]]).double())
        >>> paths.log_ratio().tolist()
        [1.5]
        """
        return self.log_probs[number] - self.log_probs[0]


def draw_paths(
    denoisers: Sequence[Denoise], initial: Int[Tensor, "B L"], noise: RowNoise, *, mask_id: int
) -> Paths:
    """Draw each row along a random order of its hidden positions, by the first denoiser.

    Args:
        denoisers: the first draws; all give the probability of what was drawn.
        initial: ids with masks; all rows have the same number of them.
        noise: of the rows; a row is a function of its key.
        mask_id: id of the mask.

    Raises:
        ValueError: if rows have different numbers of masks.
    """
    order, count = random_order(initial, noise, mask_id=mask_id)
    rows, xt = torch.arange(len(initial), device=initial.device), initial.clone()
    log_probs = torch.zeros(len(denoisers), len(initial), dtype=torch.float64, device=xt.device)
    uniforms = noise.uniform(Stream.TOKENS, 0, initial.shape[1]).double()
    for step in range(count):
        place = order[:, step]
        found = [denoise(xt)[rows, place].double() for denoise in denoisers]
        cumulative = found[0].exp().cumsum(dim=-1)
        points = uniforms[rows, place, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, points, right=True).squeeze(-1)
        xt[rows, place] = token.clamp(max=cumulative.shape[-1] - 1)
        for number, law in enumerate(found):
            log_probs[number] += law[rows, xt[rows, place]]
    return Paths(xt, log_probs)


def random_order(
    initial: Int[Tensor, "B L"], noise: RowNoise, *, mask_id: int
) -> tuple[Int[Tensor, "B L"], int]:
    """The positions of each row, hidden ones first in a random order, and how many are hidden.

    Raises:
        ValueError: if rows have different numbers of masks.
    """
    hidden = initial == mask_id
    counts = hidden.sum(dim=1)
    if len(initial) and bool((counts != counts[0]).any()):
        raise ValueError("rows of paths need the same number of masks")
    ranks = noise.uniform(Stream.ORDERS, 0, initial.shape[1])
    order = torch.where(hidden, ranks, torch.inf).argsort(dim=1, stable=True)
    return order, int(counts[0]) if len(initial) else 0


def hidden_divergence(
    first: Float[Tensor, "B L V"],
    second: Float[Tensor, "B L V"],
    xt: Int[Tensor, "B L"],
    *,
    mask_id: int,
) -> Float64[Tensor, " B"]:
    """Sum over hidden positions of KL(first || second) in nats; visible ones have none.

    With exactly k of n positions of a draw of the first model hidden at random and the factor
    n / k, its mean over k ~ U{1..n} is the divergence of the distributions of their paths. That
    bounds the divergence of the distributions of finished sequences from above, and is equal to it
    where both models have the conditionals of a joint distribution.

    Args:
        first: log p(x0 | xt) of the model whose draws were hidden.
        second: of the other.
        xt: ids with masks.
        mask_id: id of the mask.

    Example: half the mass moved from a token of 1/4 to one of 3/4.
        >>> import torch
        >>> a = torch.tensor([[[0.75, 0.25]]]).log()
        >>> b = torch.tensor([[[0.25, 0.75]]]).log()
        >>> hidden_divergence(a, b, torch.tensor([[9]]), mask_id=9).round(decimals=4).tolist()
        [0.5493]
    """
    first, second = first.double(), second.double()
    terms = torch.where(first == -torch.inf, 0.0, first.exp() * (first - second))
    return torch.where(xt == mask_id, terms.sum(dim=-1), 0.0).sum(dim=1)
