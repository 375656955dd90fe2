"""Noise schedules: slope, inverse, end points and equality with the original code."""

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.schedules import (
    Cosine,
    CosineSquared,
    Geometric,
    Linear,
    LogLinear,
    nelbo_weight,
)
from dnamdlm.errors import ConfigError
from tests.diffusion.cases import SCHEDULES

ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_alpha_rate_is_the_derivative_of_alpha(schedule):
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(schedule.alpha(t).sum(), t)
    torch.testing.assert_close(schedule.alpha_rate(t), slope, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_time_of_is_the_inverse_of_alpha(schedule):
    t = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
    alpha = schedule.alpha(t)
    assert bool((alpha.diff() <= 0).all())
    # time is ill-determined where alpha is flat, so the round trip is judged in alpha.
    torch.testing.assert_close(schedule.alpha(schedule.time_of(alpha)), alpha, atol=1e-12, rtol=0)
    steep = schedule.alpha_rate(t).abs() > 1e-2
    torch.testing.assert_close(schedule.time_of(alpha)[steep], t[steep], atol=1e-12, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_time_is_kept(schedule, dtype):
    t = torch.linspace(0.1, 0.9, 3, dtype=dtype)
    assert schedule.alpha(t).dtype == dtype
    assert schedule.alpha_rate(t).dtype == dtype
    assert schedule.time_of(schedule.alpha(t)).dtype == dtype
    assert nelbo_weight(schedule, t).dtype == dtype


@pytest.mark.parametrize("schedule", [LogLinear(), Cosine(), CosineSquared()], ids=repr)
def test_default_end_points_are_exact(schedule):
    assert schedule.alpha(ENDS).tolist() == [1.0, 0.0]
    assert schedule.time_of(torch.tensor([1.0, 0.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (LogLinear(floor=0.25), 0.0, 1.3862943611198906),
        (Linear(sigma_min=0.5, sigma_max=2.0), 0.5, 2.0),
        (Geometric(sigma_min=0.5, sigma_max=2.0), 0.5, 2.0),
    ],
    ids=repr,
)
def test_end_points_are_those_of_the_settings(schedule, first, last):
    torch.testing.assert_close(
        -schedule.alpha(ENDS).log(), torch.tensor([first, last], dtype=torch.float64)
    )


def test_weight_of_the_log_linear_schedule_is_one_over_t():
    t = torch.tensor([1e-3, 0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(nelbo_weight(LogLinear(), t), 1 / t)
    torch.testing.assert_close(nelbo_weight(LogLinear(floor=0.1), t), 1 / t)


def test_weight_is_zero_where_nothing_can_be_masked():
    t = torch.tensor([0.0, 2.0**-60], dtype=torch.float64)
    assert nelbo_weight(LogLinear(), t).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogLinear(floor=1.0), r"noise.floor must lie in \[0, 1\), got 1.0"),
        (lambda: Cosine(floor=-0.1), "got -0.1"),
        (lambda: CosineSquared(floor=float("nan")), "got nan"),
        (lambda: Linear(sigma_min=2.0, sigma_max=1.0), "got 2.0 and 1.0"),
        (lambda: Geometric(sigma_min=0.0), "0 < sigma_min"),
    ],
)
def test_impossible_settings_are_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("loglinear", LogLinear(floor=1e-3)),
        ("cosine", Cosine(floor=1e-3)),
        ("cosinesqr", CosineSquared(floor=1e-3)),
        # the reference keeps its limits in float32
        ("geometric", Geometric(sigma_min=float(torch.tensor(1e-3)), sigma_max=1.0)),
        ("linear", Linear(sigma_min=1e-3, sigma_max=7.0)),
        ("linear_default", Linear(sigma_min=0.0, sigma_max=10.0)),
    ],
)
def test_total_noise_and_rate_equal_the_original_code(shared, name, schedule):
    golden = load_file(shared / "parity" / "noise.safetensors")
    t = golden["t_f64"]
    alpha = schedule.alpha(t)
    torch.testing.assert_close(-alpha.log(), golden[f"{name}.total_noise_f64"], atol=1e-12, rtol=0)
    rate = -schedule.alpha_rate(t) / alpha
    # the reference takes the logarithm of the geometric limits in float32
    rtol = 1e-7 if name == "geometric" else 1e-10
    torch.testing.assert_close(rate, golden[f"{name}.rate_noise_f64"], rtol=rtol, atol=1e-10)
    # ours in float64; the reference in float32 is good to 5e-5 near t = 1.
    total_noise = -schedule.alpha(golden["t"].double()).log()
    expected = golden[f"{name}.total_noise"]
    torch.testing.assert_close(total_noise.float(), expected, atol=1e-4, rtol=1e-5)
