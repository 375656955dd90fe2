"""The seam of rewards: what is checked, combined and counted."""

import numpy as np
import pytest
import torch

from dnamdlm.errors import DataError
from dnamdlm.rewards import (
    CountedReward,
    FunctionReward,
    MeanReward,
    Product,
    Reward,
    WeightedSum,
    rewards_of,
)
from dnamdlm.rewards.reward import gradient_of

SEQUENCES = ["ACGT", "GGGG", "A"]


def lengths(sequences):
    return [len(sequence) for sequence in sequences]


def strong(sequences):
    return np.array([text.count("G") + text.count("C") for text in sequences])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, np.nan, 2.0], "gave nan for 1 of 3 sequences, the first is GGGG"),
        ([np.inf, 1.0, -np.inf], "gave inf for 2 of 3 sequences, the first is ACGT"),
        ([1.0, -1e308, 2.0], "gave -1e.308 for 1 of 3 .*; every reward must be a number between"),
        ([1.0, 2.0], r"shape \(2,\) for 3 sequences"),
        (np.ones((3, 1)), r"shape \(3, 1\) for 3 sequences"),
        (1.0, r"shape \(\) for 3 sequences"),
        (None, r"shape \(\) for 3 sequences"),
        (["a", "b", "c"], "gave list in place of numbers"),
    ],
)
def test_what_is_not_one_finite_number_each_is_one_sentence(given, message):
    with pytest.raises(DataError, match=message) as found:
        rewards_of(FunctionReward(lambda _: given, "mine"), SEQUENCES)
    assert "reward=mine" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor], ids=["list", "numpy", "torch"])
def test_numbers_of_any_kind_become_float64(kind):
    found = rewards_of(FunctionReward(lambda texts: kind(lengths(texts)), "n"), SEQUENCES)
    assert found.dtype == np.float64
    assert found.tolist() == [4, 4, 1]


def test_a_tensor_with_a_gradient_is_taken_as_numbers():
    weight = torch.ones((), requires_grad=True)
    found = rewards_of(FunctionReward(lambda x: weight * torch.ones(len(x)), "n"), SEQUENCES)
    assert found.tolist() == [1, 1, 1]


def test_sums_means_and_products_are_those_of_their_terms():
    a, b = FunctionReward(lengths, "a"), FunctionReward(strong, "b")
    assert WeightedSum((a, b), (1.0, -0.5)).batch(SEQUENCES).tolist() == [3, 2, 1]
    assert MeanReward((a, b)).batch(SEQUENCES).tolist() == [3, 4, 0.5]
    assert Product((a, b)).batch(SEQUENCES).tolist() == [8, 16, 0]
    assert WeightedSum((a, b), (1.0, -0.5)).name == "a+-0.5*b"
    assert all(isinstance(item, Reward) for item in (a, MeanReward((a,)), Product((a, b))))


def test_caution_takes_off_what_the_members_disagree_on():
    a, b = FunctionReward(lengths, "a"), FunctionReward(strong, "b")
    # of two members with caution 1 the lower one: lengths are 4, 4, 1 and strong ones 2, 4, 0.
    assert MeanReward((a, b), caution=1.0).batch(SEQUENCES).tolist() == [2, 4, 0]
    three = MeanReward((a, b, b), caution=0.5)
    wanted = [np.mean(x) - 0.5 * np.std(x) for x in ([4, 2, 2], [4, 4, 4], [1, 0, 0])]
    np.testing.assert_allclose(three.batch(SEQUENCES), wanted, rtol=1e-14)
    assert three.name == "mean(a,b,b)-0.5*deviation"


class Bent:
    """tanh of a linear function of the bases, smooth also between them."""

    def __init__(self, seed):
        self.name = f"bent {seed}"
        self.weight = np.random.default_rng(seed).normal(size=(4, 4))

    def at(self, shares):
        return np.tanh((shares * self.weight).sum(axis=(-2, -1)))

    def batch(self, sequences):
        return self.at(one_hot(sequences))

    def gradient(self, sequences):
        value = self.batch(sequences)
        return value, (1 - value**2)[:, None, None] * self.weight


def one_hot(sequences):
    return np.array([[np.array(list("ACGT")) == base for base in text] for text in sequences]) * 1.0


def test_the_derivative_of_a_cautious_mean_is_that_of_its_value():
    members = [Bent(seed) for seed in range(3)]
    texts = ["ACGT", "GGTA"]
    value, slope = gradient_of(MeanReward(tuple(members), caution=0.7), texts)

    def at(shares):
        values = np.array([member.at(shares) for member in members])
        return values.mean(axis=0) - 0.7 * values.std(axis=0)

    shares, step = one_hot(texts), 1e-6
    np.testing.assert_allclose(value, at(shares), rtol=1e-14)
    for place in range(4):
        for base in range(4):
            change = np.zeros_like(shares)
            change[:, place, base] = step
            wanted = (at(shares + change) - at(shares - change)) / (2 * step)
            # central differences: an error of order step squared, and rounding / step.
            np.testing.assert_allclose(slope[:, place, base], wanted, atol=1e-9)
    alike = MeanReward((members[0], members[0]), caution=0.7)
    np.testing.assert_array_equal(gradient_of(alike, texts)[1], members[0].gradient(texts)[1])


def test_a_term_that_fails_is_named_itself():
    bad = FunctionReward(lambda texts: [np.nan] * len(texts), "broken")
    with pytest.raises(DataError, match="reward=broken gave nan"):
        WeightedSum((FunctionReward(lengths, "a"), bad), (1.0, 1.0)).batch(SEQUENCES)


def test_a_counted_reward_reads_batches_and_counts_them():
    sizes = []

    def seen(sequences):
        sizes.append(len(sequences))
        return lengths(sequences)

    counted = CountedReward(FunctionReward(seen, "n"), batch_size=4)
    assert counted.batch(["ACG"] * 10).tolist() == [3] * 10
    assert (sizes, counted.calls, counted.sequences) == ([4, 4, 2], 3, 10)
    assert counted.batch([]).shape == (0,)


@pytest.mark.parametrize(
    ("value", "slope", "message"),
    [
        (np.nan, 0.0, "every value must be a number between"),
        (-1e308, 0.0, "every value must be a number between"),
        (1.0, np.inf, "every derivative must be a number between"),
        (1.0, 1e200, "every derivative must be a number between"),
    ],
)
def test_derivatives_that_cannot_be_used_are_one_sentence(value, slope, message):
    class Steep:
        name = "steep"

        def batch(self, sequences):
            return [value] * len(sequences)

        def gradient(self, sequences):
            return self.batch(sequences), np.full((len(sequences), len(sequences[0]), 4), slope)

    with pytest.raises(DataError, match=f"method gradient of reward=steep: {message}"):
        gradient_of(Steep(), ["ACGT"])
