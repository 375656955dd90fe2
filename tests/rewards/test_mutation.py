"""Mutation with selection: what it reads, and that it improves."""

import pytest

from dnamdlm.rewards import CountedReward, FunctionReward
from dnamdlm.rewards.mutation import mutated

PARENTS = ["ACGTACGTAC", "AAAAAAAAAA", "TTTTTTTTTT"]


def strong(sequences):
    return [float(text.count("G") + text.count("C")) for text in sequences]


@pytest.mark.parametrize("calls", [3, 10, 31])
def test_it_reads_no_more_than_it_may(calls):
    reward = CountedReward(FunctionReward(strong, "n"))
    found, values = mutated(PARENTS, reward, calls=calls, seed=1)
    assert reward.sequences <= calls
    assert len(found) == 3
    assert values.tolist() == strong(found) == sorted(values, reverse=True)


def test_selection_never_lowers_a_rank_and_reaches_the_optimum():
    few = mutated(PARENTS, FunctionReward(strong, "n"), calls=30, seed=1)[1]
    many = mutated(PARENTS, FunctionReward(strong, "n"), calls=2000, seed=1)[1]
    assert (few >= sorted(strong(PARENTS), reverse=True)).all()
    assert (many >= few).all()
    assert many.tolist() == [10, 10, 10]
