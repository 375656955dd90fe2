"""Weights of a mixture over windows, and its rule, fitted to the likelihoods of a validation split.

Both minimise the bound that is linear in the estimate of the network. The posterior form would not
do: it gains from the noise of the estimate, and its best weights give the copiers far too much.

Shapes: K components, the network first, C = K - 1 copiers, W windows. Nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import logsigmoid

from dnamdlm.errors import DataError
from dnamdlm.lm.window_mixture import NATS_PER_UNIT, ShareRule, mixture_weights
from dnamdlm.lm.window_weights import WindowWeights, log_weights_of

_ITERATIONS = 300
# where the search begins: a few windows in a hundred are copies.
_FIRST_PI = 0.05
# part of the weight of the copiers that is none.
_SMALLEST = 1e-6
# nats of a window that no copier can explain.
_IMPOSSIBLE = 1e6
# keeps the prediction defined where copiers are alike.
_RIDGE = 1e-6


@dataclass(frozen=True)
class MixtureFit:
    """What was chosen on a validation split.

    Attributes:
        weights: of the network and of each copier; they sum to 1. Where weights depend on what is
            before a window, their means over the windows of the split.
        rule: share of the network in each window, see `ShareRule`.
        by_window: the weights of each window, or None where they are the same in all.
    """

    weights: tuple[float, ...]
    rule: ShareRule
    by_window: WindowWeights | None = None

    @property
    def pi(self) -> float:
        """Weight of all copiers together."""
        return math.fsum(self.weights[1:])

    def log_weights(self, before: Float64[Tensor, "W F"]) -> Float64[Tensor, "K W"]:
        """Log weights of the network and of each copier in each window.

        Args:
            before: figures of what is before each window; not used where the weights are the same
                in all windows.
        """
        if self.by_window is not None:
            return self.by_window.log_weights(before)
        log_weights = torch.tensor(self.weights, dtype=torch.float64).log()
        return log_weights[:, None].expand(len(self.weights), len(before))

    def shares(
        self,
        nats: Float64[Tensor, "C W"],
        log_weights: Float64[Tensor, "K W"],
        lengths: Int64[Tensor, " W"],
    ) -> Float64[Tensor, "K W"]:
        """Shares of the components in each window by the rule, for weights of `log_weights`.

        Args:
            nats: -log P_k(x) of the copiers.
            log_weights: of all components.
            lengths: bases that were scored.
        """
        if self.by_window is None:
            return self.rule.shares(nats, log_weights[1:, 0], lengths)
        return self.rule.shares(nats, log_weights[1:], lengths, of_network=log_weights[0])


def fit_mixture(
    nats: Float64[Tensor, "K W"],
    lengths: Int64[Tensor, " W"],
    *,
    pi: float | None = None,
    before: Float64[Tensor, "W F"] | None = None,
) -> MixtureFit:
    """Choose the weights of the components, and the rule for the bound without bias.

    Args:
        nats: -log P_k of each window; of the network an estimate of its bound.
        lengths: bases that were scored in each window.
        pi: weight of all copiers together; None chooses it.
        before: figures of the sequence before each window, on which the weights may depend; None
            chooses weights that are the same in all windows, as a `pi` that is given does.

    Raises:
        ConfigError: if `pi` lies outside [0, 1].
        DataError: if there is no window to choose by, or no copier.

    Example: half of the windows are the copier's, and it is certain of them.
        >>> nats = torch.tensor([[9.0, 9.0, 9.0, 9.0], [0.0, 0.0, 99.0, 99.0]]).double()
        >>> round(fit_mixture(nats, torch.full((4,), 6)).pi, 3)
        0.5
    """
    used = lengths > 0
    if nats.shape[0] < 2 or not bool(used.any()):
        raise DataError(
            "the weights of a mixture need at least one copier and one window with bases to choose "
            "them by; give pi, or a validation split with sequence"
        )
    count = nats.shape[0] - 1
    if pi is not None:
        mixture_weights(pi)
    if pi in (0.0, 1.0):
        rest = (pi / count,) * count
        return MixtureFit((1.0 - pi, *rest), ShareRule((0.0,) * (count + 3)))
    nats, lengths = nats[:, used].clamp(max=_IMPOSSIBLE), lengths[used]

    def bound(place: Tensor) -> Tensor:
        chosen = place[0].sigmoid() if pi is None else pi
        log_weights = _log_weights(chosen, place[1 : count + 1])
        logit = ShareRule.features(nats[1:], log_weights[1:], lengths) @ place[count + 1 :]
        return linear_costs(logit, nats, log_weights[:, None].expand_as(nats)).mean()

    first = _FIRST_PI if pi is None else pi
    start = torch.cat([torch.tensor([first]).double().logit(), *_start(nats, lengths, first)])
    found = minimised(bound, start)
    chosen = found[0].sigmoid() if pi is None else pi
    weights = _log_weights(chosen, _wanted(found[1 : count + 1])).exp()
    fit = MixtureFit(tuple(weights.tolist()), ShareRule(tuple(found[count + 1 :].tolist())))
    if before is None or pi is not None:
        return fit
    return _by_window(nats, lengths, before[used], found)


def _by_window(
    nats: Float64[Tensor, "K W"],
    lengths: Int64[Tensor, " W"],
    before: Float64[Tensor, "W F"],
    constant: Float64[Tensor, " P"],
) -> MixtureFit:
    """Weights that depend on what is before a window.

    On these windows they are no worse than the best constant ones, from which the search starts.

    Args:
        nats: as in `fit_mixture`, of windows with bases.
        lengths: of these windows.
        before: of these windows.
        constant: logit of pi, logits of the copiers and coefficients of the rule, the last of
            which is that of 1.
    """
    constant = constant.clone()
    count, size = nats.shape[0] - 1, before.shape[1]
    mean, scale = before.mean(dim=0), before.std(dim=0).clamp(min=_SMALLEST)
    known = (before - mean) / scale

    def bound(place: Tensor) -> Tensor:
        slopes, rest = place[:size], place[size:]
        log_weights = log_weights_of(known @ slopes + rest[0], rest[1 : count + 1].log_softmax(0))
        features = ShareRule.features(nats[1:], log_weights[1:], lengths, bends=True)
        logit = features @ rest[count + 1 :] + log_weights[0]
        costs = linear_costs(logit, nats, log_weights)
        return costs.mean() + slopes.square().sum() / len(lengths)

    # what the rule knew of the weight of the network is added apart from it, and nothing bends yet.
    constant[-1] -= logsigmoid(-constant[0])
    start = torch.cat([torch.zeros_like(mean), constant, constant.new_zeros(3)])
    found = minimised(bound, start)
    slopes, rest = found[:size] / scale, found[size:]
    parts = _wanted(rest[1 : count + 1]).softmax(dim=0)
    intercept = rest[0] - mean @ slopes
    chosen = WindowWeights(tuple(slopes.tolist()), float(intercept), tuple(parts.tolist()))
    weights = chosen.log_weights(before).exp().mean(dim=1)
    rule = ShareRule(tuple(rest[count + 1 :].tolist()), bends=True)
    return MixtureFit(tuple(weights.tolist()), rule, chosen)


def linear_costs(
    logit: Float64[Tensor, " W"],
    nats: Float64[Tensor, "K W"],
    log_weights: Float64[Tensor, "K W"],
) -> Float64[Tensor, " W"]:
    """The bound of each window that is linear in the network, for logits of its share."""
    share = logit.sigmoid()
    copied = -torch.logsumexp(log_weights[1:] - nats[1:], dim=0)
    entropy = -share * logsigmoid(logit) - (1.0 - share) * logsigmoid(-logit)
    return share * (nats[0] - log_weights[0]) + (1.0 - share) * copied - entropy


def _wanted(logits: Float64[Tensor, " C"]) -> Float64[Tensor, " C"]:
    """Logits of copiers; one that is not wanted has no weight, not the rest the search left it."""
    unwanted = logits.log_softmax(dim=0) < math.log(_SMALLEST)
    return logits.masked_fill(unwanted, -math.inf)


def _start(
    nats: Float64[Tensor, "K W"], lengths: Int64[Tensor, " W"], pi: float
) -> tuple[Tensor, Tensor]:
    """Logits of equal copiers, and coefficients that predict the network by least squares."""
    copiers = torch.zeros(len(nats) - 1, dtype=nats.dtype)
    features = ShareRule.features(nats[1:], _log_weights(pi, copiers)[1:], lengths)
    network = nats[0] - math.log1p(-pi)
    # the logit of the posterior share of the network is -log Q minus the network's nats.
    slope = _RIDGE * torch.eye(features.shape[1], dtype=nats.dtype)
    coefficients = -torch.linalg.solve(features.T @ features + slope, features.T @ network)
    coefficients[0] += NATS_PER_UNIT
    return copiers, coefficients


def _log_weights(pi: float | Tensor, copiers: Float64[Tensor, " C"]) -> Float64[Tensor, " K"]:
    """Log weights of the network and of copiers with these logits."""
    pi = torch.as_tensor(pi, dtype=copiers.dtype)
    return torch.cat([torch.log1p(-pi)[None], pi.log() + copiers.log_softmax(dim=0)])


def minimised(cost: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The arguments of a local minimum of a smooth function, never worse than the start."""
    place = start.clone().requires_grad_()
    search = torch.optim.LBFGS([place], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = cost(place)
        value.backward()
        return value

    with torch.enable_grad():
        search.step(closure)
    found = place.detach()
    return found if bool(cost(found) <= cost(start)) else start
