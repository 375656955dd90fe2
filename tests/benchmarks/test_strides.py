"""Scores of exchanges with one and with several bases hidden at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.quality.strides import compared, exchange_scores
from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LAW = TabulatedLaw(length=4, num_symbols=3, seed=5)
TOKENS = [0, 2, 1, 0]


def window():
    ids = torch.tensor([TOKENS])
    seen, zero = torch.ones_like(ids, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    return Batch(ids, seen, seen, None, key=zero, row=zero, global_size=1)


def wanted(hidden_with):
    """Log ratios of the exact distribution, summed over what else is hidden with each place."""
    found = []
    for place, other in enumerate(hidden_with):
        sums = torch.zeros(3, dtype=torch.float64)
        for symbol in range(3):
            for at_other in range(3) if other is not None else [None]:
                tokens = torch.tensor(TOKENS)
                tokens[place] = symbol
                if other is not None:
                    tokens[other] = at_other
                sums[symbol] += LAW.probs[LAW.index_of(tokens[None])].item()
        logs = sums.log()
        found.append([logs[s] - logs[TOKENS[place]] for s in range(3) if s != TOKENS[place]])
    return np.array(found)


def test_scores_are_the_conditionals_given_what_is_not_hidden():
    loaded = SimpleNamespace(lm=MaskedDiffusionLM(OracleBackbone(LAW), LAW.vocabulary))
    exact = exchange_scores(loaded, [window()], 4)
    # float64 throughout, sums of at most nine terms.
    np.testing.assert_allclose(exact, wanted([None] * 4), atol=1e-12)
    pairs = exchange_scores(loaded, [window()], 2)
    np.testing.assert_allclose(pairs, wanted([2, 3, 0, 1]), atol=1e-12)
    assert np.abs(pairs - exact).max() > 1e-2
    with pytest.raises(ConfigError, match="no masked diffusion model"):
        exchange_scores(SimpleNamespace(lm=None, folder="x"), [], 2)


def test_a_row_holds_the_correlation_and_the_differences():
    exact = np.array([[0.0, 1.0], [2.0, 3.0]])
    row = compared("a", 2, exact + np.array([[0.0, 0.0], [0.0, 2.0]]), exact)
    assert row[:2] == ("a", 2)
    assert row[2] == pytest.approx(np.corrcoef([0, 1, 2, 5], [0, 1, 2, 3])[0, 1])
    assert row[3:] == (1.0, 2.0)
