"""Interpolated counts of short contexts, against sums by hand."""

import itertools

import numpy as np
import pytest

from benchmarks.count_models import CountModel
from dnamdlm.tokens.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("a", "b", "c", "[MASK]", "[PAD]"), 3, 4, (0, 1, 2))
TOKENS = np.array([0, 1, 0, 1, 2, 0, 0, 1])


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_probabilities_after_every_context_sum_to_one(order):
    model = CountModel(TOKENS, VOCABULARY, order)
    for context in itertools.product(range(3), repeat=3):
        rows = [np.array([*context, token]) for token in range(3)]
        assert sum(model.probabilities(row)[-1] for row in rows) == pytest.approx(1)


def test_a_bigram_is_what_the_formula_says():
    model = CountModel(TOKENS, VOCABULARY, 1)
    empty = (4 + 3 * (1 / 3)) / (8 + 3), (3 + 1) / 11
    # after a: a once, b three times, two kinds
    b_after_a = (3 + 2 * empty[1]) / (4 + 2)
    a_after_a = (1 + 2 * empty[0]) / (4 + 2)
    found = model.probabilities(np.array([0, 1]))
    assert found == pytest.approx([empty[0], b_after_a])
    assert model.probabilities(np.array([0, 0]))[1] == pytest.approx(a_after_a)
