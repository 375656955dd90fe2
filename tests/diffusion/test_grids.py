"""Time grids: exact ends, falling, refused when empty."""

import pytest
import torch

from dnamdlm.diffusion.grids import cosine_grid, linear_grid
from dnamdlm.errors import ConfigError


@pytest.mark.parametrize("grid", [linear_grid, cosine_grid])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 1000])
def test_a_grid_falls_from_exactly_one_to_exactly_zero(grid, num_steps):
    times = grid(num_steps)
    assert times.dtype == torch.float64
    assert len(times) == num_steps + 1
    assert times[0] == 1
    assert times[-1] == 0
    assert bool((times.diff() < 0).all())


def test_linear_steps_are_equal_and_cosine_steps_grow():
    torch.testing.assert_close(linear_grid(8).diff(), torch.full((8,), -1 / 8, dtype=torch.float64))
    assert bool((cosine_grid(8).diff().diff() < 0).all())
    torch.testing.assert_close(cosine_grid(2)[1].item(), 0.5**0.5)


@pytest.mark.parametrize("grid", [linear_grid, cosine_grid])
def test_a_grid_without_steps_is_refused(grid):
    with pytest.raises(ConfigError, match=r"sampler.num_steps must be at least 1, got 0"):
        grid(0)
