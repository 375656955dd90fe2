"""Time grids: exact ends, falling, refused when empty."""

import pytest
import torch

from dnamdlm.diffusion.grids import check_times, cosine_grid, custom_grid, holding_grid, linear_grid
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


def test_a_custom_grid_is_what_was_given_with_a_zero_at_its_end():
    assert custom_grid([1.0, 0.3]).tolist() == [1.0, 0.3, 0.0]
    assert custom_grid([0.5, 0.0]).tolist() == [0.5, 0.0]
    for wrong in ([], [0.0], [1.0, 1.0], [0.2, 0.4], [1.5]):
        with pytest.raises(ConfigError, match="fall strictly from at most 1 to exactly 0"):
            custom_grid(wrong)


def test_a_holding_grid_falls_waits_and_falls():
    times = holding_grid(20, begin=0.5, end=0.25, hold=0.1)
    assert times[0] == 1
    assert times[-1] == 0
    torch.testing.assert_close(times[10:16], torch.full((6,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(times[:11].diff(), torch.full((10,), -0.09, dtype=torch.float64))
    torch.testing.assert_close(times[15:].diff(), torch.full((5,), -0.02, dtype=torch.float64))
    check_times(times, may_wait=True)
    with pytest.raises(ConfigError, match="fall strictly"):
        check_times(times)


@pytest.mark.parametrize("settings", [{"begin": 1.0}, {"end": 0.6}, {"end": 0.0}, {"hold": 1.0}])
def test_a_holding_grid_out_of_order_is_refused(settings):
    with pytest.raises(ConfigError, match="0 < end <= begin < 1"):
        holding_grid(20, **settings)
