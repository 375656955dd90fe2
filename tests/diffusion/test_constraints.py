"""Allowed tokens: conditioning, what stays, and what is refused."""

import pytest
import torch

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.errors import ConfigError

PROBS = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]], dtype=torch.float64)
MASKED = torch.tensor([[True, False]])


def test_masked_positions_are_conditioned_and_visible_ones_pass():
    allowed = torch.tensor([False, True, True])
    result = Constraints(allowed).apply(PROBS.log(), MASKED).exp()
    torch.testing.assert_close(result[0, 0], torch.tensor([0.0, 0.6, 0.4], dtype=torch.float64))
    torch.testing.assert_close(result[0, 1], PROBS[0, 1])


def test_each_position_may_have_its_own_set():
    allowed = torch.tensor([[[True, False, True], [False, False, True]]])
    result = Constraints(allowed).apply(PROBS.log(), torch.ones_like(MASKED)).exp()
    torch.testing.assert_close(
        result[0], torch.tensor([[5 / 7, 0.0, 2 / 7], [0.0, 0.0, 1.0]], dtype=torch.float64)
    )


def test_allowed_tokens_that_the_model_excludes_become_equally_likely():
    log_probs = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]).log()
    result = Constraints(torch.tensor([False, True, True])).apply(log_probs, MASKED).exp()
    assert result.tolist() == [[[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]]


def test_the_total_of_a_measure_stays():
    measure = 3 * PROBS
    result = Constraints(torch.tensor([False, True, True])).apply(measure.log(), MASKED).exp()
    torch.testing.assert_close(result[0, 0], torch.tensor([0.0, 1.8, 1.2], dtype=torch.float64))
    torch.testing.assert_close(result[0, 1], measure[0, 1])


def test_rows_are_selected_only_where_the_sets_differ_by_row():
    shared = Constraints(torch.tensor([True, False]))
    assert shared.select(torch.tensor([1])) is shared
    allowed = torch.tensor([[[True, False]], [[False, True]]])
    assert torch.equal(Constraints(allowed).select(torch.tensor([1])).allowed, allowed[1:])


def test_no_constraint_changes_nothing():
    log_probs = PROBS.log()
    assert Constraints().select(torch.tensor([0])).apply(log_probs, MASKED) is log_probs


def test_a_position_that_could_become_nothing_is_refused():
    with pytest.raises(ConfigError, match="allow no token"):
        Constraints(torch.tensor([[[True, False], [False, False]]]))
