"""Norms against their formulas."""

import logging
import sys
import types

import pytest
import torch

from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops import norm, selection, selfcheck
from dnamdlm.ops.norm import add_layer_norm, layer_norm, modulate, rms_norm
from dnamdlm.ops.selection import FusedKernel

CPU = torch.device("cpu")


def _random(dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 4, 16, generator=generator, dtype=torch.float64) * 3 + 1
    return x.to(dtype), torch.linspace(0.5, 2.0, 16, dtype=dtype)


def test_layer_norm_equals_its_definition():
    x, gain = _random()
    torch.testing.assert_close(layer_norm(x, gain), _layer_norm_by_hand(x, gain))


def test_rms_norm_equals_its_definition():
    x, gain = _random()
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain
    torch.testing.assert_close(rms_norm(x, gain), expected)


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_half_precision_is_normalised_in_float32(norm):
    x, gain = _random(torch.bfloat16)
    out = norm(x, gain)
    assert out.dtype == torch.float32
    assert torch.equal(out, norm(x.float(), gain.float()))


def _layer_norm_by_hand(x, gain):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain


@pytest.mark.parametrize("positions", [1, 4], ids=["by sequence", "by position"])
def test_the_sum_is_gated_and_its_norm_is_modulated(positions):
    x, gain = _random()
    generator = torch.Generator().manual_seed(4)
    branch = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    shape = (4, 3, positions, 16)
    gate, shift, scale, bias = torch.randn(shape, generator=generator, dtype=torch.float64)
    bias = bias[0, 0]
    total, out = add_layer_norm(
        x, branch, gain, bias, gate=gate, modulation=(shift, scale), eps=1e-5
    )
    torch.testing.assert_close(total, x + gate * branch)
    expected = (_layer_norm_by_hand(total, gain) + bias) * (1 + scale) + shift
    torch.testing.assert_close(out, expected)
    plain_total, plain_out = add_layer_norm(x, branch, gain)
    assert torch.equal(plain_total, x + branch)
    assert torch.equal(plain_out, layer_norm(x + branch, gain))
    for function in (layer_norm, rms_norm):
        found = function(x, gain, modulation=(shift, scale))
        assert torch.equal(found, modulate(function(x, gain), shift, scale))


def _plain(x, gain, bias, *, centred, eps, branch, gate, modulation):
    return norm._normalise(
        x, gain, bias, branch=branch, gate=gate, modulation=modulation, centred=centred, eps=eps,
        mode="portable",
    )  # fmt: skip


@pytest.fixture
def installed(monkeypatch):
    """Puts a function in the place of the kernel, as if it ran on this device."""

    def install(triton_norm):
        stub = types.ModuleType("triton_norm_ops")
        stub.triton_norm = triton_norm
        monkeypatch.setitem(sys.modules, "dnamdlm.ops.kernels.triton_norm_ops", stub)
        kernel = FusedKernel("normalisation", "Triton norm", lambda: triton_norm,
                             lambda _, dtype: "no" if dtype == torch.float64 else None)  # fmt: skip
        monkeypatch.setattr(selection, "_distrusted", {})
        for module in (norm, selfcheck):
            monkeypatch.setattr(module, "norm_kernels", lambda _: [kernel])

    return install


def test_a_norm_that_fails_when_it_runs_is_computed_by_torch_and_said_once(installed, caplog):
    def fails(*_, **__):
        raise RuntimeError("no kernel image is available")

    installed(fails)
    x, gain = _random(torch.float32)
    with pytest.raises(KernelUnavailable, match="no kernel image is available"):
        layer_norm(x, gain, mode="fused")
    for _ in range(2):
        assert torch.equal(layer_norm(x, gain), layer_norm(x, gain, mode="portable"))
    said = [message for message in caplog.messages if "Triton norm" in message]
    assert said == ["Triton norm is not used: it fails when it runs (no kernel image is available)"]


@pytest.mark.parametrize(
    ("of_sum", "of_norm", "of_gradient"), [(1.02, 1.0, 1.0), (1.0, 1.02, 1.0), (1.0, 1.0, 1.1)]
)
def test_a_wrong_kernel_is_refused_with_the_reason(installed, caplog, of_sum, of_norm, of_gradient):
    def wrong(*args, **settings):
        total, out = _plain(*args, **{"branch": None, "gate": None, "modulation": None} | settings)
        scaled = out * of_norm
        return total * of_sum, of_gradient * scaled + ((1 - of_gradient) * scaled).detach()

    installed(wrong)
    with caplog.at_level(logging.WARNING, logger=selfcheck.__name__):
        (sentence,) = selfcheck.check_kernels(CPU, [torch.float32])
    assert "Triton norm is not used: it differs from the reference by" in sentence
    assert caplog.messages == [sentence]
    x, gain = _random(torch.float32)
    assert torch.equal(layer_norm(x, gain), layer_norm(x, gain, mode="portable"))
    with pytest.raises(KernelUnavailable, match="differs from the reference"):
        layer_norm(x, gain, mode="fused")


def test_the_kernel_serves_what_it_can(installed):
    calls = []

    def counted(*args, **settings):
        calls.append(settings)
        return _plain(*args, **settings)

    installed(counted)
    assert selfcheck.check_kernels(CPU, [torch.float32]) == []
    calls.clear()
    x, gain = _random(torch.float32)
    by_sequence, by_position = torch.ones(3, 1, 16), torch.ones(3, 4, 16)
    add_layer_norm(x, x, gain, gate=by_sequence, modulation=(by_sequence, by_sequence))
    add_layer_norm(x, x, gain, gate=by_position, modulation=(by_position, by_position))
    given = [(c["branch"] is None, c["gate"] is None, c["modulation"] is None) for c in calls]
    assert given == [(False, False, False), (True, True, True)]
    calls.clear()
    # float64 in any place, too many channels, and nothing at all.
    layer_norm(x.double(), gain)
    layer_norm(torch.ones(1, 4097), torch.ones(4097))
    layer_norm(x[:0], gain)
    assert calls == []
    layer_norm(torch.ones(1, 4096), torch.ones(4096))
    assert len(calls) == 1
