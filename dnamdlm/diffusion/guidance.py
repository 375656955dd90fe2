"""Guidance: steer the distribution of each token towards a class without retraining the model.

All functions map log p(x0 | xt) to another normalised log-distribution of the same shape, which any
step rule can use. y is the class, gamma the strength; gamma = 1 is Bayes' rule.

Source: Schiff et al. 2024 (arXiv:2412.10193), sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Classifier = Callable[[Int[Tensor, "N L"], Int[Tensor, " N"]], Float[Tensor, " N"]]
"""Token ids with masks, and the row of xt that each came from -> log p(y | tokens)."""

SoftClassifier = Callable[[Float[Tensor, "B L V"]], Float[Tensor, " B"]]
"""One-hot tokens of all rows -> log p(y | tokens), differentiable."""


def classifier_free(
    conditional: Float[Tensor, "B L V"],
    unconditional: Float[Tensor, "B L V"],
    gamma: float,
    *,
    normalized: bool = True,
) -> Float[Tensor, "B L V"]:
    """Mix with and without the class: log p ~ gamma log p(x0 | xt, y) + (1 - gamma) log p(x0 | xt).

    The result is normalised, and a token that either distribution excludes stays excluded.

    Args:
        conditional: log-distribution given the class.
        unconditional: log-distribution without it.
        gamma: 0 ignores the class, 1 conditions on it, above 1 exaggerates its effect.
        normalized: False gives gamma log p(x0 | xt, y) + (1 - gamma) log p(x0 | xt) itself. The
            product of these along a path is p(x | y)^gamma p(x)^(1 - gamma), that of the normalised
            ones is not: their totals are weights, see `dnamdlm.diffusion.steering`.
    """
    # -inf times 0, and -inf minus -inf, are not numbers.
    excluded = unconditional.isneginf() | conditional.isneginf()
    mixed = gamma * conditional.masked_fill(excluded, 0) + (1 - gamma) * unconditional.masked_fill(
        excluded, 0
    )
    mixed = mixed.masked_fill(excluded, -torch.inf)
    return mixed.log_softmax(dim=-1) if normalized else mixed


def classifier_based(
    log_probs: Float[Tensor, "B L V"], log_ratios: Float[Tensor, "B L V"], gamma: float
) -> Float[Tensor, "B L V"]:
    """Reweight a distribution by a classifier.

    log p ~ log p(x0 | xt) + gamma log [p(y | xt with the token) / p(y | xt)], normalised.

    With the exact classifier, p(y | xt) = sum over x0 of p(x0 | xt) p(y | x0), and gamma = 1, the
    result at every position is p(x0 there | xt, y).

    Args:
        log_probs: log p(x0 | xt).
        log_ratios: from `exact_ratios` or `first_order_ratios`.
        gamma: strength; 0 changes nothing.
    """
    if gamma == 0:
        return log_probs
    excluded = log_probs.isneginf() | log_ratios.isneginf()
    guided = log_probs.masked_fill(excluded, 0) + gamma * log_ratios.masked_fill(excluded, 0)
    return guided.masked_fill(excluded, -torch.inf).log_softmax(dim=-1)


def exact_ratios(
    classifier: Classifier,
    xt: Int[Tensor, "B L"],
    *,
    real_tokens: Bool[Tensor, " V"],
    mask_id: int,
    wanted: Bool[Tensor, "B L"] | None = None,
    editable: Bool[Tensor, "B L"] | None = None,
) -> Float[Tensor, "B L V"]:
    """Evaluate log [p(y | xt with one hidden token set to v) / p(y | xt)] for each position and v.

    Zero at visible positions, where `wanted` is False, and for tokens that are not real. The
    classifier is called once with (wanted hidden positions) x (real tokens) sequences.

    Args:
        classifier: see `Classifier`.
        xt: token ids with masks.
        real_tokens: True for the tokens v that are tried.
        mask_id: id of the mask.
        wanted: positions that are read; None is all.
        editable: positions whose token may be exchanged; None is those that are hidden.
    """
    hidden = xt == mask_id if editable is None else editable
    rows, positions = (hidden if wanted is None else hidden & wanted).nonzero(as_tuple=True)
    symbols = real_tokens.nonzero().squeeze(-1)
    edited = xt[rows].unsqueeze(1).repeat(1, len(symbols), 1)
    edited.scatter_(
        -1,
        positions[:, None, None].expand(-1, len(symbols), 1),
        symbols[None, :, None].expand(len(rows), -1, 1),
    )
    before = classifier(xt, torch.arange(len(xt), device=xt.device))
    if len(rows) == 0:
        return before.new_zeros((*xt.shape, len(real_tokens)))
    after = classifier(edited.flatten(0, 1), rows.repeat_interleave(len(symbols)))
    after = after.reshape(len(rows), len(symbols))
    ratios = before.new_zeros((*xt.shape, len(real_tokens)))
    ratios[rows[:, None], positions[:, None], symbols[None]] = after - before[rows, None]
    return ratios


def first_order_ratios(
    classifier: SoftClassifier, xt: Int[Tensor, "B L"], *, num_tokens: int, dtype: torch.dtype
) -> Float[Tensor, "B L V"]:
    """The same ratios by one gradient g of log p(y | one-hot xt): g(v) - g(token now).

    Exact for a classifier whose log-probability is linear in the one-hot tokens.

    Args:
        classifier: differentiable in its one-hot input.
        xt: token ids with masks.
        num_tokens: V.
        dtype: of the one-hot tokens.
    """
    with torch.enable_grad():
        one_hot = torch.nn.functional.one_hot(xt, num_tokens).to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(classifier(one_hot).sum(), one_hot)
    return slope - slope.gather(-1, xt.unsqueeze(-1))
