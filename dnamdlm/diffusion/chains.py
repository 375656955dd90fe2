"""Exact conditional distributions of a Markov chain of bases given any pattern of hidden positions.

Forward and backward messages run over the words of up to k bases before each position. A position
with fewer than k bases before it (window start, after a base that is not known to be A, C, G or T)
uses the order that it has, as `lm.markov` does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

NOT_A_BASE = 4
HIDDEN = 5


def chain_conditionals(
    codes: Int[Tensor, "B L"], log_probs: Sequence[Float[Tensor, "_ 4"]]
) -> Float[Tensor, "B L 4"]:
    """Log-probabilities of each base given the visible bases at the other positions.

    Memory is B L 4^k values for tables of orders 0 to k.

    Args:
        codes: 0..3 for a visible base, `NOT_A_BASE` for a token that interrupts the chain,
            `HIDDEN` for a base to be predicted.
        log_probs: for each order j from 0 to k, (4^j, 4), natural logarithms; the oldest base of a
            context is the most significant digit in base 4. All probabilities are positive.

    Returns:
        Natural logarithms; log 1/4 at `NOT_A_BASE`.

    Example: T follows A with probability 0.7.
        >>> first = torch.full((1, 4), 0.25).log()
        >>> second = torch.tensor([[0.1, 0.1, 0.1, 0.7], *[[0.25] * 4] * 3]).log()
        >>> q = chain_conditionals(torch.tensor([[0, HIDDEN]]), (first, second))
        >>> round(q[0, 1, 3].exp().item(), 6)
        0.7
    """
    result = log_probs[0].new_full((*codes.shape, 4), -math.log(4.0))
    interrupted = (codes == NOT_A_BASE).any(dim=1)
    whole = torch.nonzero(~interrupted).flatten()
    if len(whole):
        result[whole] = _conditionals_of_runs(codes[whole], log_probs)
    for row in (row for row in range(len(codes)) if interrupted[row]):
        for first, last in _runs(codes[row]):
            run = codes[row, first:last][None]
            result[row, first:last] = _conditionals_of_runs(run, log_probs)[0]
    return result


def _runs(codes: Int[Tensor, " L"]) -> list[tuple[int, int]]:
    """Half-open intervals without `NOT_A_BASE`."""
    ends = [-1, *(i for i in range(len(codes)) if codes[i] == NOT_A_BASE), len(codes)]
    return [(a + 1, b) for a, b in itertools.pairwise(ends) if b > a + 1]


def _conditionals_of_runs(
    codes: Int[Tensor, "n L"], log_probs: Sequence[Float[Tensor, "_ 4"]]
) -> Float[Tensor, "n L 4"]:
    """The conditionals of rows that nothing interrupts."""
    rows, length = codes.shape
    order = len(log_probs) - 1
    differs = codes[..., None] != torch.arange(4, device=codes.device)
    excluded = differs & (codes != HIDDEN)[..., None]
    evidence = log_probs[0].new_zeros(rows, length, 4).masked_fill(excluded, -math.inf)
    forward: list[Tensor] = [log_probs[0].new_zeros(rows, 1)]
    for i in range(length - 1):
        words = forward[i][..., None] + log_probs[min(i, order)] + evidence[:, i, None]
        words = words.flatten(1)
        # at the full order the oldest base leaves the context.
        forward.append(words.view(rows, 4, -1).logsumexp(1) if i >= order else words)
    backward = log_probs[0].new_zeros(rows, 4 ** min(length, order))
    conditionals: list[Tensor] = []
    for i in reversed(range(length)):
        after = backward.repeat(1, 4) if i >= order else backward
        words = log_probs[min(i, order)] + after.view(rows, -1, 4)
        conditionals.append((forward[i][..., None] + words).logsumexp(1).log_softmax(-1))
        backward = (words + evidence[:, i, None]).logsumexp(-1)
    return torch.stack(conditionals[::-1], dim=1)
