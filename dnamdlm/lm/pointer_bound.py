"""The likelihood bound of a latent pointer, and the choice of its weight on a validation split.

Of a model p(x) = (1 - pi) p(x | none) + pi sum over z of u(z) p(x | T_z) a window needs two terms:
for any encoder e, which may look at x,

    -log p(x) <= -log((1 - pi) exp(-B(x | none)) + pi u(e(x)) exp(-B(x | T_e(x)))),

because one term of a sum of positive ones is below the sum. B are estimates of bounds of -log p.
Where several addresses have the same template, u is what they have together. A pointer costs
-log u(e(x)), with the uniform u the logarithm of the number of all addresses on both strands.

Noise of B makes this `posterior` form too low in expectation. With shares of the two terms that
follow from the number of matches of window and template alone, a `rule`, the bound is linear in
both B and has no bias (`diffusion.mixed`).

Shapes: W windows; of the two components the first is without a template. Nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from dnamdlm.errors import DataError
from dnamdlm.lm.mixture_fit import linear_costs, minimised
from dnamdlm.lm.window_mixture import NATS_PER_UNIT

_FIRST_PI = 0.05
# keeps the prediction defined where all windows have as many matches.
_RIDGE = 1e-6
# no fit makes the pointer impossible.
_SMALLEST_PI = 1e-6


def log_pointers(copies: Int64[Tensor, " W"], num_addresses: int) -> Float64[Tensor, " W"]:
    """Log u(e(x)) of each window, -inf where it points nowhere.

    >>> log_pointers(torch.tensor([0, 1, 2]), 4).exp().tolist()
    [0.0, 0.25, 0.5]

    Args:
        copies: how many addresses have the template of the window; 0 without one.
        num_addresses: how many there are, all equally likely.
    """
    return copies.double().log() - math.log(num_addresses)


def pointer_weights(pi: float | Tensor, pointers: Float64[Tensor, " W"]) -> Float64[Tensor, "2 W"]:
    """Log weights of the two terms: 1 - pi, and pi u(e(x))."""
    pi = torch.as_tensor(pi, dtype=pointers.dtype)
    return torch.stack([torch.log1p(-pi).expand_as(pointers), pi.log() + pointers])


def pointer_bound(
    nats: Float64[Tensor, "2 W"], log_weights: Float64[Tensor, "2 W"]
) -> Float64[Tensor, " W"]:
    """The bound of -log p of each window in its posterior form.

    Args:
        nats: B(x | none) and B(x | T).
        log_weights: see `pointer_weights`.
    """
    return -torch.logsumexp(log_weights - nats, dim=0)


@dataclass(frozen=True)
class PointerRule:
    """The share of the pointer in the bound of each window, from matches alone.

    The logit of the share is that of the weights, plus a sum of the `features`, which stand for
    what the template gains.

    Attributes:
        coefficients: one for each feature.
    """

    coefficients: tuple[float, ...]

    @staticmethod
    def features(
        matches: Int64[Tensor, " W"], lengths: Int64[Tensor, " W"]
    ) -> Float64[Tensor, "W 3"]:
        """Bases that agree with the template, those that do not, and 1, all per 100."""
        columns = [matches, lengths - matches, torch.full_like(matches, round(NATS_PER_UNIT))]
        return torch.stack(columns, dim=-1).double() / NATS_PER_UNIT

    def shares(
        self,
        matches: Int64[Tensor, " W"],
        lengths: Int64[Tensor, " W"],
        log_weights: Float64[Tensor, "2 W"],
    ) -> Float64[Tensor, "2 W"]:
        """Shares of the terms without and with a template; they sum to 1.

        Args:
            matches: bases that agree with the template.
            lengths: bases that were scored.
            log_weights: see `pointer_weights`; -inf of a window that points nowhere.
        """
        weights = torch.tensor(self.coefficients, dtype=torch.float64)
        pointed = _logit(self.features(matches, lengths) @ weights, log_weights)
        return torch.stack([pointed.neg().sigmoid(), pointed.sigmoid()])


@dataclass(frozen=True)
class PointerFit:
    """What was chosen on a validation split.

    Attributes:
        pi: weight of the pointer.
        rule: its share in the bound of each window.
    """

    pi: float
    rule: PointerRule


def fit_pointer(
    nats: Float64[Tensor, "2 W"],
    pointers: Float64[Tensor, " W"],
    matches: Int64[Tensor, " W"],
    lengths: Int64[Tensor, " W"],
) -> PointerFit:
    """Choose the weight of the pointer and its rule, by the bound that is linear in `nats`.

    Args:
        nats: B(x | none) and B(x | T); the second of a window that points nowhere is not used.
        pointers: log u(e(x)), see `log_pointers`.
        matches: bases that agree with the template.
        lengths: bases that were scored.

    Raises:
        DataError: if no window points anywhere.

    Example: half of the windows are certain given their template, and there are two addresses.
        >>> nats = torch.tensor([[99.0] * 4, [0.0, 0.0, math.inf, math.inf]]).double()
        >>> pointers = log_pointers(torch.tensor([1, 1, 0, 0]), 2)
        >>> matches, lengths = torch.tensor([70, 70, 0, 0]), torch.full((4,), 70)
        >>> round(fit_pointer(nats, pointers, matches, lengths).pi, 3)
        0.5
    """
    pointed = (pointers > -torch.inf) & (lengths > 0)
    without = int((lengths > 0).sum()) - int(pointed.sum())
    if not bool(pointed.any()):
        raise DataError(
            "the weight of the pointer needs a window of the validation split that points into the "
            "training split, and none does; leave pointer=true out"
        )
    nats, pointers = nats[:, pointed], pointers[pointed]
    features = PointerRule.features(matches[pointed], lengths[pointed])

    def bound(place: Tensor) -> Tensor:
        pi = place[0].sigmoid()
        log_weights = pointer_weights(pi, pointers)
        logit = _logit(features @ place[1:], log_weights)
        total = linear_costs(-logit, nats, log_weights).sum()
        return (total - without * torch.log1p(-pi)) / (len(pointers) + without)

    slope = _RIDGE * torch.eye(features.shape[1], dtype=nats.dtype)
    gain = features.T @ (nats[0] - nats[1])
    start = torch.linalg.solve(features.T @ features + slope, gain)
    found = minimised(bound, torch.cat([torch.tensor([_FIRST_PI]).double().logit(), start]))
    pi = max(float(found[0].sigmoid()), _SMALLEST_PI)
    return PointerFit(pi, PointerRule(tuple(found[1:].tolist())))


def _logit(
    gain: Float64[Tensor, " W"], log_weights: Float64[Tensor, "2 W"]
) -> Float64[Tensor, " W"]:
    """Logit of the share of the pointer for what its template gains."""
    return gain + log_weights[1] - log_weights[0]
