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
        weights: of the network and of each copier; they sum to 1.
        rule: share of the network in each window, see `ShareRule`.
    """

    weights: tuple[float, ...]
    rule: ShareRule

    @property
    def pi(self) -> float:
        """Weight of all copiers together."""
        return math.fsum(self.weights[1:])


def fit_mixture(
    nats: Float64[Tensor, "K W"],
    lengths: Int64[Tensor, " W"],
    *,
    pi: float | None = None,
) -> MixtureFit:
    """Choose the weights of the components, and the rule for the bound without bias.

    Args:
        nats: -log P_k of each window; of the network an estimate of its bound.
        lengths: bases that were scored in each window.
        pi: weight of all copiers together; None chooses it.

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
        share = logit.sigmoid()
        copied = -torch.logsumexp(log_weights[1:, None] - nats[1:], dim=0)
        entropy = -share * logsigmoid(logit) - (1.0 - share) * logsigmoid(-logit)
        return (share * (nats[0] - log_weights[0]) + (1.0 - share) * copied - entropy).mean()

    first = _FIRST_PI if pi is None else pi
    start = torch.cat([torch.tensor([first]).double().logit(), *_start(nats, lengths, first)])
    found = _minimised(bound, start)
    chosen = found[0].sigmoid() if pi is None else pi
    logits = found[1 : count + 1]
    # a copier that is not wanted has no weight, rather than the rest that the search left it.
    unwanted = logits.log_softmax(dim=0) < math.log(_SMALLEST)
    weights = _log_weights(chosen, logits.masked_fill(unwanted, -math.inf)).exp()
    return MixtureFit(tuple(weights.tolist()), ShareRule(tuple(found[count + 1 :].tolist())))


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


def _minimised(cost: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
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
