"""Populations of weighted sequences: sequential Monte Carlo without a model.

A population of K members draws from a distribution whose density is known up to a factor, as a
product of the distribution that the members are drawn from and a weight. Each step changes the
members, and `Population` keeps their weights:

    log w += V(after) - V(before) + log p(after | before) - log q(after | before),

where V is any value of a partly masked sequence, p the step of the sampler and q the step that was
taken. The values telescope: with V = r / a at finished sequences, a member's weight times the
probability of its path under q is its probability under p times exp(r / a), whatever V was before.
The value that is subtracted is the one that was added: it is stored with the member, so that V may
be a random estimate, and no weight is lost where the population is not resampled. So the mean
weight is an estimate of Z = sum over x of p(x) exp(r(x) / a) without bias.

Shapes: P populations, K members (slots) of each.

Source: Del Moral et al. 2006 (sequential Monte Carlo samplers); Wu et al. 2023 (arXiv:2306.17775)
for twisted proposals of diffusion models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64, Int, Int64
from torch import Tensor

from dnamdlm.diffusion.randomness import Stream, child_keys

# the largest number below 1: u times a total is then below the total even after rounding.
_BELOW_ONE = 1 - 2.0**-53


def slot_keys(keys: Int64[Tensor, " P"], size: int) -> Int64[Tensor, "P K"]:
    """Noise keys of the slots of each population.

    Noise belongs to the slot, not to its member: two copies of a member go different ways. Slot 0
    has the key of the population, so that a population of one draws what a single row draws.

    Args:
        keys: one key per population.
        size: K.
    """
    numbers = torch.arange(1, size, device=keys.device).repeat(len(keys))
    others = child_keys(keys.repeat_interleave(size - 1), numbers, Stream.SLOTS)
    return torch.cat([keys[:, None], others.view(len(keys), size - 1)], dim=1)


def systematic_ancestors(
    log_weights: Float64[Tensor, "P K"], uniforms: Float64[Tensor, " P"], count: int | None = None
) -> Int64[Tensor, "P C"]:
    """The member that each of C slots copies, by systematic resampling.

    Slot j copies the member at which the cumulative weight exceeds (j + u) / C of the total, so
    that a member of weight share s has floor(C s) or ceil(C s) copies, and C s in expectation.

    Args:
        log_weights: of the members, at least one of them above -inf.
        uniforms: one number in (0, 1) per population.
        count: C; None is K.

    Source: Kitagawa 1996, Journal of Computational and Graphical Statistics 5:1.

    Example: three quarters of the weight have three of four slots.
        >>> weights = torch.tensor([[1.0, 6.0, 0.0, 1.0]]).double().log()
        >>> systematic_ancestors(weights, torch.tensor([0.3]).double())
        tensor([[0, 1, 1, 1]])
    """
    size = log_weights.shape[1] if count is None else count
    cumulative = (log_weights - log_weights.amax(dim=1, keepdim=True)).exp().cumsum(dim=1)
    slots = torch.arange(size, dtype=torch.float64, device=log_weights.device)
    points = ((slots + uniforms[:, None]) / size).clamp(max=_BELOW_ONE) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points, right=True)


@dataclass(frozen=True)
class Population:
    """Weights of P populations of K members, and the values that they count.

    Attributes:
        log_weights: log of the weight of each member; the mean weight of a population estimates Z.
        stored: value of each member that its weight counts, less what a proposal left to be added.

    Example: two members, of which the second is worth more.
        >>> population = Population.of_size(1, 2).valued(torch.tensor([[0.0, 1.0]]).double())
        >>> [round(x, 4) for x in population.log_z.exp().tolist()]
        [1.8591]
        >>> [round(x, 4) for x in population.effective_size.tolist()]
        [1.6481]
    """

    log_weights: Float64[Tensor, "P K"]
    stored: Float64[Tensor, "P K"]

    @classmethod
    def of_size(
        cls, num_populations: int, size: int, device: torch.device | None = None
    ) -> Population:
        """Equal weights, and the value 0."""
        zeros = torch.zeros((num_populations, size), dtype=torch.float64, device=device)
        return cls(zeros, zeros)

    @property
    def size(self) -> int:
        """Number of members, K."""
        return self.log_weights.shape[1]

    @property
    def log_z(self) -> Float64[Tensor, " P"]:
        """Log of the mean weight; its exponential has expectation Z at the end."""
        return self.log_weights.logsumexp(dim=1) - math.log(self.size)

    @property
    def effective_size(self) -> Float64[Tensor, " P"]:
        """(sum w)^2 / sum w^2: K for equal weights, 1 if one member has all, 0 if none has any."""
        total = self.log_weights.logsumexp(dim=1)
        size = (2 * total - (2 * self.log_weights).logsumexp(dim=1)).exp()
        return torch.where(total.isneginf(), 0.0, size)

    def proposed(self, log_ratios: Float64[Tensor, "P K"]) -> Population:
        """Owe each member log p - log q of the step that it took.

        The weight counts it with the next value, since a proposal that looks ahead is paid back by
        the value of what it led to.
        """
        return replace(self, stored=self.stored - log_ratios)

    def valued(
        self, values: Float64[Tensor, "P K"], changed: Bool[Tensor, "P K"] | None = None
    ) -> Population:
        """Replace the value of each member, and count the difference.

        Args:
            values: V of the members as they are.
            changed: members with a new value; None is all.
        """
        log_weights = self.log_weights + (values - self.stored)
        if changed is None:
            return Population(log_weights, values)
        return Population(
            torch.where(changed, log_weights, self.log_weights),
            torch.where(changed, values, self.stored),
        )

    def resampled(
        self,
        uniforms: Float64[Tensor, " P"],
        *,
        threshold: float,
        may: Bool[Tensor, " P"] | None = None,
    ) -> tuple[Population, Int64[Tensor, "P K"]]:
        """Copy members in proportion to their weights, where few members have most of the weight.

        All members of a population that was resampled have its mean weight, so that `log_z` does
        not change. The others keep their members, weights and values.

        Args:
            uniforms: one number in (0, 1) per population.
            threshold: resample below this share of the effective size in K.
            may: populations that may be resampled; None is all.

        Returns:
            The population, and the member that each slot now holds.
        """
        few = self.effective_size < threshold * self.size
        few = few & ~self.log_z.isneginf()
        few = few if may is None else few & may
        slots = torch.arange(self.size, device=few.device).expand_as(self.log_weights)
        # a population without any weight left has nothing to copy.
        safe = torch.where(few[:, None], self.log_weights, 0.0)
        ancestors = torch.where(few[:, None], systematic_ancestors(safe, uniforms), slots)
        mean = self.log_z[:, None].expand_as(self.log_weights)
        return (
            Population(
                torch.where(few[:, None], mean, self.log_weights),
                self.stored.gather(1, ancestors),
            ),
            ancestors,
        )

    def chosen(self, uniforms: Float64[Tensor, " P"]) -> Int[Tensor, " P"]:
        """One member of each population, drawn in proportion to the weights."""
        cumulative = (self.log_weights - self.log_weights.amax(dim=1, keepdim=True)).exp()
        cumulative = cumulative.cumsum(dim=1)
        points = uniforms[:, None].clamp(max=_BELOW_ONE) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, points, right=True)[:, 0]
