"""Times that are drawn where they are wanted: expectation, constant weight, the original code."""

import math

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.schedules import Cosine, Linear, LogLinear, nelbo_weight
from dnamdlm.diffusion.times import (
    Clipped,
    Importance,
    Stratified,
    Uniform,
    draw_times,
    log_uniform,
)
from dnamdlm.errors import ConfigError
from tests.diffusion.cases import EXACT, ORIGINAL


def _places(count):
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def _drawn(sampler, schedule, count=400_000):
    u = torch.full((count,), 0.5, dtype=torch.float64)
    return draw_times(sampler, schedule, u, torch.arange(count), count)


@pytest.mark.parametrize("schedule", EXACT + ORIGINAL, ids=repr)
def test_importance_times_keep_the_mean_of_any_loss(schedule):
    t, density = _drawn(Importance(), schedule)
    assert bool((density > 0).all())
    # the integral over t of -alpha' (1 - alpha) is half the difference of the squared ends.
    loss = -schedule.alpha_rate(t) * (1 - schedule.alpha(t))
    ends = 1 - schedule.alpha(torch.tensor([0.0, 1.0], dtype=torch.float64))
    expected = (ends[1] ** 2 - ends[0] ** 2) / 2
    # the midpoint rule misses the kink between the two parts by about 1e-6.
    torch.testing.assert_close((loss / density).mean(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("schedule", EXACT + ORIGINAL, ids=repr)
def test_importance_times_keep_the_mean_of_a_loss_that_does_not_vanish_early(schedule):
    t, density = _drawn(Importance(), schedule)
    # the integral over t of -alpha' alone; where the schedule begins below the lowest mask
    # probability, up to 1e-3 of it lies there, a hundred times the tolerance.
    expected = -schedule.alpha(torch.tensor([0.0, 1.0], dtype=torch.float64)).diff().squeeze()
    mean = (-schedule.alpha_rate(t) / density).mean()
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=0)


def test_importance_times_make_the_weight_constant_above_the_lowest_probability():
    for schedule in (LogLinear(), Cosine(), Linear(sigma_max=45.0)):
        t, density = _drawn(Importance(lowest=0.01), schedule, 1000)
        weight = (nelbo_weight(schedule, t) / density)[1 - schedule.alpha(t) > 0.01]
        torch.testing.assert_close(weight, torch.full_like(weight, 1 + math.log(100)))


def test_importance_times_without_tail_stop_at_the_lowest_probability():
    t, _ = _drawn(Importance(lowest=0.01, tail=False), LogLinear())
    assert t.min().item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("schedule", [LogLinear(), Cosine(), LogLinear(floor=1e-3)], ids=repr)
def test_clipped_times_have_uniform_mask_probabilities(schedule):
    t, density = _drawn(Clipped(0.2, 0.6), schedule, 1000)
    torch.testing.assert_close(1 - schedule.alpha(t), 0.2 + 0.4 * _places(1000))
    torch.testing.assert_close(nelbo_weight(schedule, t) / density, 1 / (1 - schedule.alpha(t)))


@pytest.mark.parametrize("sampler", [Uniform(), Stratified()], ids=repr)
def test_plain_samplers_have_density_one(sampler):
    u = torch.tensor([0.25, 0.75], dtype=torch.float64)
    t, density = draw_times(sampler, LogLinear(), u, torch.arange(2), 2)
    assert torch.equal(t, sampler(u, torch.arange(2), 2))
    assert density.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Importance(lowest=0.0),
        lambda: Importance(lowest=1.0),
        lambda: Clipped(0.5, 0.5),
        lambda: Clipped(-0.1, 0.5),
        lambda: Clipped(0.5, 1.1),
    ],
)
def test_impossible_ranges_are_refused(make):
    with pytest.raises(ConfigError, match=r"times\.lowest"):
        make()


LOWEST = 1 - math.exp(-1e-3)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "schedule"),
    [("loglinear", LogLinear(floor=1e-3)), ("linear", Linear(sigma_min=1e-3, sigma_max=7.0))],
)
def test_the_map_of_times_equals_the_original_code(shared, name, schedule):
    golden = load_file(shared / "parity" / "noise.safetensors")
    t, _ = Importance(lowest=LOWEST, tail=False).warp(golden["t"].double(), schedule)
    # ours in float64; the original in float32 is good to 5e-5 near t = 1.
    torch.testing.assert_close(t.float(), golden[f"{name}.importance_t"], rtol=1e-4, atol=5e-6)


@pytest.mark.parity
def test_stratified_importance_times_equal_the_original_code(shared):
    golden = load_file(shared / "parity" / "noise.safetensors")
    u, size = golden["sample_t.u"].double(), len(golden["sample_t.u"])
    row = torch.arange(size)
    # the original squeezes uniform numbers into [1e-3, 1] first; ours reach down to 0. Ours are
    # float64, and the tolerances are those of the original in float32.
    squeezed = Stratified()(u, row, size) * (1 - 1e-3) + 1e-3
    torch.testing.assert_close(
        squeezed.float(), golden["sample_t.antithetic"], rtol=1e-5, atol=1e-6
    )
    t, _ = Importance(lowest=LOWEST, tail=False).warp(squeezed, LogLinear(floor=1e-3))
    torch.testing.assert_close(
        t.float(), golden["sample_t.antithetic_importance"], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parity
@pytest.mark.parametrize("case", ["dit", "last", "inner"])
def test_the_importance_weight_equals_the_original_code(shared, case):
    golden = load_file(shared / "parity" / "objectives.safetensors")
    schedule = LogLinear(floor=1e-3)
    t, density = Importance(lowest=LOWEST, tail=False).warp(golden[f"{case}.t"].double(), schedule)
    weight = nelbo_weight(schedule, t) / density
    mask_id = 3 if case == "inner" else 12
    hidden = golden[f"{case}.xt"] == mask_id
    clean = golden[f"{case}.subs_log_probs"].gather(-1, golden[f"{case}.x0"][..., None])[..., 0]
    loss = -clean.double() * weight[:, None]
    # the original drops the upper end of the range, log(1 - 1e-3), from the constant. Ours in
    # float64, the original in float32.
    original = -math.log1p(-math.exp(-1e-3)) / (math.log(1 - 1e-3) - math.log(LOWEST))
    torch.testing.assert_close(
        (loss * original)[hidden].float(), golden[f"{case}.subs_importance_loss"][hidden],
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("case", ["dit", "last", "inner"])
def test_the_change_of_variables_equals_the_original_code(shared, case):
    golden = load_file(shared / "parity" / "objectives.safetensors")
    hidden, length = log_uniform(golden[f"{case}.t"].double(), LOWEST, 1 - 1e-3)
    torch.testing.assert_close(
        hidden.float(), golden[f"{case}.subs_cov_move_chance"].reshape(hidden.shape),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    x0, xt = golden[f"{case}.x0"], golden[f"{case}.xt"]
    mask_id = 3 if case == "inner" else 12
    # the original drops the upper end of the range, log(1 - 1e-3), from the constant. Ours in
    # float64, the original in float32.
    weight = torch.full((len(x0),), length - math.log(1 - 1e-3), dtype=torch.float64)
    loss = masked_nll(
        golden[f"{case}.subs_log_probs"].double(), x0, xt, weight, mask_id=mask_id
    ).float()
    expected = golden[f"{case}.subs_cov_loss"]
    is_hidden = xt == mask_id
    torch.testing.assert_close(loss[is_hidden], expected[is_hidden], rtol=1e-5, atol=1e-6)
    assert (expected[~is_hidden] == 0).all()
    assert (loss[~is_hidden] == 0).all()
