"""What a command does at its start about kernels."""

import pytest
import torch

from dnamdlm.assembly import operations
from dnamdlm.diffusion import randomness
from dnamdlm.diffusion.randomness import RowNoise, make_uniforms_by
from dnamdlm.ops import selection
from dnamdlm.ops.selection import FusedKernel


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    kernel = FusedKernel("uniform numbers", "fancy", lambda: print, lambda device, dtype: None)
    monkeypatch.setattr(operations, "uniform_kernels", lambda device: [kernel])
    monkeypatch.setattr(selection, "_distrusted", {})
    yield
    make_uniforms_by(None)


def exact(keys, stream, draw, count):
    return RowNoise(keys).uniform(stream, draw, count)


def test_a_kernel_with_the_bits_of_torch_makes_uniform_numbers(monkeypatch):
    monkeypatch.setattr(operations, "fused_uniforms", exact)
    assert operations.start_ops("auto", "cpu") == []
    assert randomness._setting.kernel is exact
    operations.start_ops("portable", "cpu")
    assert randomness._setting.kernel is None
    operations.start_ops("auto", "cpu")


def test_a_kernel_with_one_other_bit_or_an_error_is_not_used(monkeypatch):
    def rounded(*address):
        return exact(*address).float().double()

    def failing(*address):
        raise RuntimeError("no kernel image")

    for kernel, reason in ((rounded, "other bits"), (failing, r"RuntimeError (no kernel image)")):
        selection._distrusted.clear()
        monkeypatch.setattr(operations, "fused_uniforms", kernel)
        (sentence,) = operations.start_ops("auto", "cpu")
        assert reason in sentence
        assert randomness._setting.kernel is None
        assert "fancy" in selection._distrusted


def test_on_a_cpu_numbers_are_made_by_torch_whatever_is_set():
    make_uniforms_by(lambda *address: pytest.fail("a CPU has no use for it"))
    assert RowNoise(torch.arange(2)).uniform(1, 0, 3).shape == (2, 3)
