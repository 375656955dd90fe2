"""Shares of hidden tokens against enumerated counts, in float64."""

import itertools

import pytest
import torch

from dnamdlm.diffusion.mask_shares import MaskShares, checked_density, variance_optimal_density
from dnamdlm.errors import ConfigError

N = 7
LAWS = [
    MaskShares(),
    MaskShares(power=2.0),
    MaskShares(lowest=0.1, power=2.0),
    MaskShares(lowest=0.2, highest=0.75),
    MaskShares(density=(4.0, 1.0, 2.0)),
    MaskShares(lowest=0.1, highest=0.9, density=(0.5, 3.0, 1.0, 1.0, 1.0)),
]


def _aimed_at(shares):
    """The probability of each count 1 .. N under a uniform share, by hand."""
    found = []
    for k in range(1, N + 1):
        low, high = max((k - 1) / N, shares.lowest), min(k / N, shares.highest)
        found.append(max(high - low, 0.0) / (shares.highest - shares.lowest))
    return torch.tensor(found, dtype=torch.float64)


def _grid(size=200_000):
    """The middles of many equal intervals: their mean is an integral."""
    return (torch.arange(size, dtype=torch.float64) + 0.5) / size


def _totals(weights, counts):
    return torch.zeros(N + 1, dtype=torch.float64).index_add(0, counts, weights) / len(counts)


@pytest.mark.parametrize("shares", LAWS, ids=repr)
def test_each_count_has_its_uniform_weight_whatever_density_it_is_drawn_from(shares):
    share, weight = shares.drawn(_grid())
    counts = (share * N).floor().long() + 1
    assert counts.max() <= N
    # a step of the integrand costs at most its height over the size of the grid.
    torch.testing.assert_close(_totals(weight, counts)[1:], _aimed_at(shares), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shares", LAWS, ids=repr)
def test_the_probability_below_a_share_is_that_of_the_draws(shares):
    share, _ = shares.drawn(_grid())
    at = torch.tensor([0.0, 0.15, 0.34, 0.5, 0.8, 1.0], dtype=torch.float64)
    expected = (share[:, None] <= at).double().mean(dim=0)
    torch.testing.assert_close(shares.below(at), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shares", LAWS, ids=repr)
def test_complementary_counts_keep_their_total_weights_exactly(shares):
    counts = torch.arange(1, N + 1)
    ends = shares.below(torch.arange(N + 1, dtype=torch.float64) / N)
    drawn = ends.diff()
    assert drawn.sum().item() == pytest.approx(1.0, abs=1e-12)
    first, second = shares.pair_weights(counts, torch.full_like(counts, N))
    total = torch.zeros(N + 1, dtype=torch.float64)
    for k, own, rest in zip(counts.tolist(), drawn * first, drawn * second, strict=True):
        total[k] += own
        total[N - k] += rest
    torch.testing.assert_close(total[1:], _aimed_at(shares), rtol=0, atol=1e-12)
    assert total[0] == 0.0


def test_the_mean_of_both_subsets_is_the_mean_over_all_subsets():
    """The loss itself, with an arbitrary loss for every subset of five tokens."""
    size = 5
    shares = MaskShares(lowest=0.1, power=2.0)
    generator = torch.Generator().manual_seed(0)
    loss = torch.rand(2**size, generator=generator, dtype=torch.float64)
    by_count = [[] for _ in range(size + 1)]
    for mask in range(2**size):
        by_count[mask.bit_count()].append(mask)
    ends = shares.below(torch.arange(size + 1, dtype=torch.float64) / size)
    found = expected = 0.0
    for k in range(1, size + 1):
        pair = shares.pair_weights(torch.tensor([k]), torch.tensor([size]))
        first, second = (float(part) for part in pair)
        for mask in by_count[k]:
            rest = 2**size - 1 - mask
            both = first * size / k * loss[mask]
            if k < size:
                both += second * size / (size - k) * loss[rest]
            found += float(ends[k] - ends[k - 1]) / len(by_count[k]) * float(both)
        aimed = max(k / size - max((k - 1) / size, 0.1), 0.0) / 0.9
        expected += aimed * size / k * float(loss[by_count[k]].mean())
    assert found == pytest.approx(expected, abs=1e-12)


def test_complementary_subsets_have_a_smaller_variance_than_independent_ones():
    """For a loss that is a sum over the hidden tokens, the two halves share nothing."""
    value = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0], dtype=torch.float64)
    subsets = [set(part) for part in itertools.combinations(range(6), 3)]

    def mean(part):
        return value[list(part)].mean()

    pairs = torch.stack([(mean(a) + mean(set(range(6)) - a)) / 2 for a in subsets])
    apart = torch.stack([(mean(a) + mean(b)) / 2 for a in subsets for b in subsets])
    torch.testing.assert_close(pairs.mean(), apart.mean())
    assert pairs.var() < 1e-20
    assert apart.var() > 0.1


def test_the_optimal_density_beats_every_other_one_nearby():
    deviations = [3.0, 1.0, 0.5]

    def variance(density):
        """Of a mean over strata, drawn in proportion to the density: sum of s^2 / density."""
        scaled = [value * 3 / sum(density) for value in density]
        return sum(s**2 / d for s, d in zip(deviations, scaled, strict=True))

    best = variance_optimal_density(deviations)
    assert sum(best) == pytest.approx(3.0)
    for number, step in itertools.product(range(3), (0.95, 1.05)):
        moved = [d * step if i == number else d for i, d in enumerate(best)]
        assert variance(moved) > variance(best)
    assert variance([1.0, 1.0, 1.0]) > variance(best)


@pytest.mark.parametrize("deviations", [[], [0.0, 0.0], [1.0, float("nan")], [1.0, 0.0]])
def test_there_is_no_optimal_density_without_deviations(deviations):
    assert variance_optimal_density(deviations) == ()


@pytest.mark.parametrize("density", [(), (1.0, 0.0), (1.0, -1.0), (1.0, float("inf"))])
def test_a_density_that_cannot_be_is_refused(density):
    with pytest.raises(ConfigError, match=r"lm\.objective\.density=.* must be positive numbers"):
        checked_density(density, 1.0)
