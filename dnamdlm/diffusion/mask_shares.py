"""How the share of hidden tokens is drawn in training, with weights that keep the mean of the loss.

The loss aims at a share that is uniform over (lowest, highest]; it may be drawn from another
density, by which it is then divided. With n tokens the share s hides k = 1 + floor(n s) of them, so
that the count k stands for the shares from (k - 1) / n to k / n.

Shapes: B rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from dnamdlm.errors import ConfigError


@dataclass(frozen=True)
class MaskShares:
    """A distribution of the share of hidden tokens.

    Attributes:
        lowest: smallest share, in [0, highest).
        highest: largest share, at most 1.
        power: the share is lowest + (highest - lowest) u^power for uniform u.
        density: relative densities of equal intervals of (0, 1], in place of `power`, or None.

    Example: shares below one half are drawn three times as often as those above.
        >>> shares = MaskShares(density=(3.0, 1.0))
        >>> place = torch.tensor([0.5, 0.75, 0.875]).double()
        >>> [part.round(decimals=4).tolist() for part in shares.drawn(place)]
        [[0.3333, 0.5, 0.75], [0.6667, 2.0, 2.0]]
    """

    lowest: float = 0.0
    highest: float = 1.0
    power: float = 1.0
    density: tuple[float, ...] | None = None

    def drawn(
        self, place: Float64[Tensor, " B"]
    ) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
        """Shares, and the factors that the loss is multiplied by.

        Args:
            place: numbers in (0, 1) that are uniform on average over the batch.
        """
        if self.density is None:
            share = self.lowest + (self.highest - self.lowest) * place**self.power
            return share, self.power * place ** (self.power - 1)
        heights, below = _heights(self.density, place)
        ends = torch.full_like(place[:1], self.lowest), torch.full_like(place[:1], self.highest)
        first, last = (_integral(heights, below, end) for end in ends)
        target = first + (last - first) * place
        number = torch.searchsorted(below, target, right=True) - 1
        number = number.clamp(0, len(heights) - 1)
        share = number / len(heights) + (target - below[number]) / heights[number]
        weight = (last - first) / ((self.highest - self.lowest) * heights[number])
        return share.clamp(self.lowest, self.highest), weight

    def below(self, share: Float64[Tensor, " B"]) -> Float64[Tensor, " B"]:
        """Probability of a smaller share."""
        if self.density is None:
            return self._target_below(share) ** (1 / self.power)
        heights, sums = _heights(self.density, share)
        ends = share.new_tensor([self.lowest, self.highest])
        first, last = _integral(heights, sums, ends)
        inside = share.clamp(self.lowest, self.highest)
        return (_integral(heights, sums, inside) - first) / (last - first)

    def pair_weights(
        self, count: Int[Tensor, " B"], total: Int[Tensor, " B"]
    ) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
        """Factors of the loss of k hidden tokens, and of the loss of the other n - k hidden.

        Each count has a uniform share of the total, whether it is drawn or is the rest of one that
        is: the factor of k is m(k) / (q(k) + q(n - k)), for the probability q of drawing a count
        and its probability m under the uniform distribution.

        Args:
            count: k, which was drawn.
            total: n.

        Source: Veach and Guibas 1995, the balance heuristic.
        """
        n = total.double().clamp(min=1)

        def mass(k: Tensor, *, drawn: bool) -> Tensor:
            of = self.below if drawn else self._target_below
            return torch.where(k > 0, of(k / n) - of((k - 1).clamp(min=0) / n), 0.0)

        rest = total - count
        either = mass(count, drawn=True) + mass(rest, drawn=True)
        wanted = mass(count, drawn=False), mass(rest, drawn=False)
        first, second = (torch.where(either > 0, part / either, 0.0) for part in wanted)
        return first, second

    def _target_below(self, share: Float64[Tensor, " B"]) -> Float64[Tensor, " B"]:
        """Probability of a smaller share under the uniform distribution."""
        return ((share - self.lowest) / (self.highest - self.lowest)).clamp(0, 1)


def checked_density(density: Sequence[float | int], power: float) -> tuple[float, ...]:
    """The densities of `lm.objective.density` as a tuple.

    Raises:
        ConfigError: if one of them is not positive, or a power says as well how shares are drawn.
    """
    if not density or not all(0.0 < value < math.inf for value in density):
        raise ConfigError(
            f"lm.objective.density={list(density)} must be positive numbers, one for each of equal "
            "intervals of the share of masked tokens"
        )
    if power != 1.0:
        raise ConfigError(
            f"lm.objective.density and lm.objective.power={power:g} both say how the share of "
            "masked tokens is drawn; set power=1, or leave density out"
        )
    return tuple(map(float, density))


def variance_optimal_density(deviations: Sequence[float]) -> tuple[float, ...]:
    """Relative densities of the share of hidden tokens that make the variance of the loss smallest.

    Shares are stratified over a batch, so that only the variance within an interval of shares
    counts, and the best density is proportional to the standard deviation of the loss there.

    Args:
        deviations: standard deviation of the loss of a window in equal intervals of the share.

    Returns:
        Densities of mean 1; empty where a deviation is missing or nothing varies.

    Source: Neyman 1934 on the optimal allocation to strata.

    Example:
        >>> variance_optimal_density([3.0, 1.0])
        (1.5, 0.5)
    """
    total = math.fsum(deviations)
    if not (all(value > 0.0 for value in deviations) and 0.0 < total < math.inf):
        return ()
    return tuple(value * len(deviations) / total for value in deviations)


def _heights(
    density: Sequence[float], like: Float64[Tensor, " B"]
) -> tuple[Float64[Tensor, " M"], Float64[Tensor, " M1"]]:
    """The density of each interval, and its integral up to the ends of the intervals."""
    total = math.fsum(density)
    heights = torch.tensor([value * len(density) / total for value in density], dtype=like.dtype)
    heights = heights.to(like.device, non_blocking=True)
    below = torch.cat([torch.zeros_like(heights[:1]), heights.cumsum(0) / len(density)])
    return heights, below


def _integral(
    heights: Float64[Tensor, " M"],
    below: Float64[Tensor, " M1"],
    share: Float64[Tensor, " B"],
) -> Float64[Tensor, " B"]:
    """The integral of the density up to a share."""
    number = (share * len(heights)).floor().long().clamp(0, len(heights) - 1)
    return below[number] + (share - number / len(heights)) * heights[number]
