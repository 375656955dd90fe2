"""Exact categorical draws: edges of the inverse CDF, temperature and nucleus."""

import pytest
import torch

from dnamdlm.diffusion.categorical import Choice, inverse_cdf, sharpened
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.errors import ConfigError


def test_a_token_is_drawn_where_the_cumulative_probability_passes_the_uniform():
    probs = torch.tensor([0.25, 0.0, 0.5, 0.25, 0.0], dtype=torch.float64)
    uniforms = torch.tensor([1e-16, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-53]).double()
    uniforms[-1] = 1 - 2**-53
    tokens = inverse_cdf(probs.expand(6, 5), uniforms)
    assert tokens.tolist() == [0, 0, 2, 2, 3, 3]


def test_impossible_tokens_are_never_drawn_at_the_extremes_of_the_uniforms():
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(2_000, 9, generator=generator, dtype=torch.float64)
    probs[:, [0, 4, 7, 8]] = 0.0
    for uniform in (2.0**-53, 1 - 2.0**-53):
        tokens = inverse_cdf(probs, torch.full((2_000,), uniform, dtype=torch.float64))
        assert set(tokens.tolist()) == {1 if uniform < 0.5 else 6}


def test_rare_tokens_are_drawn_at_their_rate():
    probs = torch.tensor([1e-4, 1 - 1e-4], dtype=torch.float64)
    uniforms = RowNoise(row_keys(0, torch.arange(1_000))).uniform(0, 0, 2_000)
    count = (inverse_cdf(probs.expand(*uniforms.shape, 2), uniforms) == 0).sum().item()
    # a Poisson count of mean 200: four standard errors
    assert abs(count - 200) < 57


def test_temperature_divides_the_log_probabilities():
    probs = torch.tensor([0.7, 0.2, 0.1, 0.0], dtype=torch.float64)
    powered = probs**2 / (probs**2).sum()
    torch.testing.assert_close(sharpened(probs.log(), temperature=0.5), powered)
    assert sharpened(probs.float().log()).dtype == torch.float64


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1.0, [0.1, 0.5, 0.15, 0.25]),
        (0.9, [0.0, 5 / 9, 1.5 / 9, 2.5 / 9]),
        (0.75, [0.0, 2 / 3, 0.0, 1 / 3]),
        (0.5, [0.0, 1.0, 0.0, 0.0]),
        (1e-9, [0.0, 1.0, 0.0, 0.0]),
    ],
)
def test_the_nucleus_is_the_smallest_likely_set_that_reaches_top_p(top_p, expected):
    # halves and quarters are exact, so the edges of the nucleus are met exactly.
    probs = torch.tensor([[0.1, 0.5, 0.15, 0.25]], dtype=torch.float64)
    kept = sharpened(probs.log(), top_p=top_p - 1e-12 if top_p < 1 else top_p)
    torch.testing.assert_close(kept, torch.tensor([expected], dtype=torch.float64))


def test_ties_in_the_nucleus_favour_the_smaller_id():
    even = torch.zeros(1, 4, dtype=torch.float64)
    torch.testing.assert_close(
        sharpened(even, top_p=0.3), torch.tensor([[0.5, 0.5, 0.0, 0.0]], dtype=torch.float64)
    )


def test_top_k_keeps_the_most_likely_and_the_nucleus_is_taken_among_them():
    log_probs = torch.tensor([0.4, 0.1, 0.3, 0.2], dtype=torch.float64).log()
    kept = sharpened(log_probs, top_k=2)
    torch.testing.assert_close(kept, torch.tensor([4 / 7, 0, 3 / 7, 0], dtype=torch.float64))
    # of 0.4 and 0.3, the first has 57 % of what is left
    assert sharpened(log_probs, top_k=2, top_p=0.55).tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(sharpened(log_probs, top_k=9), log_probs.exp())
    # the temperature changes no order, and ties go to the smaller id
    assert sharpened(torch.zeros(4).double(), top_k=1, temperature=3.0).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": 0}, "top_k must be at least 1"),
    ],
)
def test_impossible_choices_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Choice(**settings)
