"""The plan of `benchmarks/scaling_plan.md`: its simulation, and that it is what the page shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import scaling
from benchmarks.model_flops import dit_flops, mamba_flops
from benchmarks.scaling import H100, LENGTH, TOKENS, Work, device_seconds, simulated_step
from dnamdlm.backbones.dit import DiT

SLOW = Work("slow kernels", 1000, 6e6, 1e6, 1e4, launches=100, update_launches=10)
QUICK = replace(SLOW, name="quick kernels", flops=1.0, bytes=1.0, product_bytes=1.0)


def test_a_step_of_slow_kernels_takes_as_long_as_the_kernels():
    kernels = device_seconds(SLOW, TOKENS, H100)
    # the card waits for the first launch alone.
    assert simulated_step(SLOW, 1) == pytest.approx(kernels + H100.launch, rel=1e-9)


def test_a_step_of_quick_kernels_takes_as_long_as_the_launches():
    started = (8 * QUICK.launches + QUICK.update_launches) * H100.launch
    assert simulated_step(QUICK, 1) == pytest.approx(started, rel=1e-9)


def test_what_the_backward_pass_does_not_hide_of_the_exchange_is_added():
    alone = simulated_step(replace(SLOW, parameters=0), 8)
    exchange = scaling.all_reduce_seconds(replace(SLOW, parameters=10**9), 8, H100)
    one_pass = device_seconds(SLOW, TOKENS // 8, H100)
    together = simulated_step(replace(SLOW, parameters=10**9), 8)
    least = exchange - min(2 / 3 * exchange, one_pass)
    # without weights a latency of 30 us is left, of which a third shows.
    assert together == pytest.approx(alone - 10e-6 + least, abs=2e-6)


@pytest.mark.parametrize("work", scaling.works(), ids=lambda work: work.name)
def test_no_number_of_devices_beats_the_launches_of_one_micro_batch(work):
    # but for the rounding of a sum of some thousand terms.
    floor = (work.launches + work.update_launches) * H100.launch * (1 - 1e-9)
    for devices in (1, 8, 64, 512):
        assert simulated_step(work, devices) >= floor


def test_the_counts_of_sizes_are_those_of_the_network():
    network = DiT(12, 32, 2, 2)
    linear = sum(
        weight.numel()
        for name, weight in network.named_parameters()
        if weight.ndim == 2 and "embedding" not in name
    )
    assert dit_flops(32, 2, 64) == 6 * linear + 12 * 64 * 32 * 2
    assert mamba_flops(118, 4) * TOKENS == pytest.approx(5.6e12, rel=0.01)
    assert dit_flops(768, 12, LENGTH) * TOKENS == pytest.approx(653e12, rel=0.01)


def test_the_page_shows_the_table_of_the_simulation():
    page = (Path(scaling.__file__).parent / "scaling_plan.md").read_text(encoding="utf-8")
    assert scaling.table() in page
