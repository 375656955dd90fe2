"""Short convolutions, centred and causal, against loops over taps."""

import sys
import types

import pytest
import torch

from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops import conv, selection
from dnamdlm.ops.conv import causal_conv, causal_conv_both, depthwise_conv
from dnamdlm.ops.kernels import mamba_kernels as mamba
from dnamdlm.ops.selection import FusedKernel
from tests.helpers.rounding import rounding


def _inputs(length, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    shapes = [(2, length, 4), (4, width), (4,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


def _assert_close_in_float32(found, expected, *, terms):
    """Equal up to the sums over taps and, in the gradients of the taps, over positions."""
    for one, other in zip(found, expected, strict=True):
        # five more for the bias, the activation and the square.
        allowed = rounding(terms + 5, other.abs().max().item())
        torch.testing.assert_close(one, other, rtol=0, atol=allowed)


@pytest.mark.parametrize("mode", ["reference", "portable"])
def test_convolution_equals_a_loop_over_taps(mode):
    x, weight, bias = _inputs(7, 5)
    expected = bias.expand(2, 7, 4).clone()
    for i in range(7):
        for j in range(5):
            if 0 <= i + j - 2 < 7:
                expected[:, i] += weight[:, j] * x[:, i + j - 2]
    torch.testing.assert_close(depthwise_conv(x, weight, bias, mode=mode), expected)


@pytest.mark.parametrize("length", [1, 2, 63, 64])
@pytest.mark.parametrize("width", [1, 3, 9])
def test_portable_equals_reference_with_gradients(length, width):
    results = []
    for mode, dtype in (("reference", torch.float64), ("portable", torch.float32)):
        inputs = [x.requires_grad_() for x in _inputs(length, width, dtype)]
        out = depthwise_conv(*inputs, mode=mode)
        gradients = torch.autograd.grad(out.square().sum(), inputs)
        results.append([x.double() for x in (out, *gradients)])
    _assert_close_in_float32(results[1], results[0], terms=width + 2 * length)


@pytest.mark.parametrize("mode", ["reference", "portable"])
def test_padding_counts_as_zero_whatever_it_holds(mode):
    x, weight, bias = _inputs(8, 5)
    present = torch.ones(2, 8, dtype=torch.bool)
    present[0, 5:] = False
    poisoned = x.clone()
    poisoned[0, 5:] = torch.inf
    out = depthwise_conv(poisoned, weight, bias, present=present, mode=mode)
    short = depthwise_conv(x[:1, :5], weight, bias, mode=mode)
    torch.testing.assert_close(out[:1, :5], short)


def test_an_even_width_is_refused():
    x, weight, bias = _inputs(8, 4)
    with pytest.raises(ValueError, match="odd width, got 4"):
        depthwise_conv(x, weight, bias)


def _causal_by_loop(x, weight, bias, *, reverse=False):
    """One position and tap at a time, then x / (1 + exp(-x))."""
    out = bias.expand(x.shape).clone()
    length, width = x.shape[1], weight.shape[1]
    for i in range(length):
        for back in range(width):
            source = i + back if reverse else i - back
            if 0 <= source < length:
                out[:, i] += weight[:, width - 1 - back] * x[:, source]
    return out / (1 + torch.exp(-out))


@pytest.mark.parametrize("mode", ["reference", "portable"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(("length", "width"), [(7, 4), (2, 4), (1, 4), (7, 1), (7, 3)])
def test_the_causal_convolution_equals_a_loop_over_taps(mode, reverse, length, width):
    inputs = _inputs(length, width)
    found = causal_conv(*inputs, reverse=reverse, mode=mode)
    torch.testing.assert_close(found, _causal_by_loop(*inputs, reverse=reverse))


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("length", [1, 2, 63, 64])
def test_the_portable_causal_convolution_equals_the_reference_with_gradients(length, reverse):
    results = []
    for mode, dtype in (("reference", torch.float64), ("portable", torch.float32)):
        inputs = [x.requires_grad_() for x in _inputs(length, 4, dtype)]
        out = causal_conv(*inputs, reverse=reverse, mode=mode)
        gradients = torch.autograd.grad(out.square().sum(), inputs)
        results.append([x.double() for x in (out, *gradients)])
    _assert_close_in_float32(results[1], results[0], terms=4 + 2 * length)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_padding_counts_as_zero_in_the_causal_convolution(reverse):
    x, weight, bias = _inputs(8, 4)
    present = torch.ones(2, 8, dtype=torch.bool)
    present[0, 5:] = False
    poisoned = torch.where(present[..., None], x, torch.inf)
    out = causal_conv(poisoned, weight, bias, present=present, reverse=reverse)
    expected = causal_conv(x[:1, :5], weight, bias, reverse=reverse)
    torch.testing.assert_close(out[:1, :5], expected)


def test_both_causal_convolutions_together_are_two():
    (x, weight, bias), (_, other, other_bias) = _inputs(8, 4), _inputs(9, 4)
    present = torch.arange(8) < torch.tensor([[8], [5]])
    found = causal_conv_both(x, (weight, other.flip(0)), (bias, other_bias), present=present)
    ahead = causal_conv(x, weight, bias, present=present)
    back = causal_conv(x, other.flip(0), other_bias, reverse=True, present=present)
    assert torch.equal(found[0], ahead)
    assert torch.equal(found[1], back)


def test_a_convolution_that_fails_when_it_runs_is_done_by_another(monkeypatch, caplog):
    def fails(*_, **__):
        raise RuntimeError("no kernel image is available")

    stub = types.ModuleType("triton_conv_ops")
    stub.triton_conv = fails
    monkeypatch.setitem(sys.modules, "dnamdlm.ops.kernels.triton_conv_ops", stub)
    kernel = FusedKernel("depthwise convolution", "Triton convolution", lambda: fails,
                         lambda *_: None)  # fmt: skip
    monkeypatch.setattr(conv, "TRITON_DEPTHWISE", kernel)
    monkeypatch.setattr(conv, "depthwise_kernels", lambda _: [kernel])
    monkeypatch.setattr(selection, "_distrusted", {})
    inputs = _inputs(8, 5)
    expected = depthwise_conv(*inputs, mode="portable")
    for _ in range(2):
        assert torch.equal(depthwise_conv(*inputs), expected)
    assert len([message for message in caplog.messages if "Triton convolution" in message]) == 1


def _stub_of_causal_conv1d(
    x, weight, bias=None, seq_idx=None, initial_states=None, return_final_states=False,
    final_states_out=None, activation=None,
):  # fmt: skip
    """The signature of causal-conv1d 1.7, channels first."""
    assert x.is_contiguous()
    assert (seq_idx, initial_states, return_final_states, final_states_out) == (None,) * 2 + (
        False,
        None,
    )
    assert activation == "silu"
    return _causal_by_loop(x.transpose(1, 2), weight, bias).transpose(1, 2)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_causal_conv1d_is_called_with_its_signature(monkeypatch, reverse):
    monkeypatch.setattr(mamba, "load_conv", lambda: _stub_of_causal_conv1d)
    inputs = _inputs(9, 4)
    found = mamba.fused_causal_conv(*inputs, reverse=reverse)
    torch.testing.assert_close(found, _causal_by_loop(*inputs, reverse=reverse))


def test_the_fused_causal_convolution_says_why_it_cannot_run():
    with pytest.raises(KernelUnavailable, match="CUDA devices, not on cpu"):
        causal_conv(*_inputs(8, 4), mode="fused")
    with pytest.raises(KernelUnavailable, match="2 to 4 taps, not 5"):
        causal_conv(*_inputs(8, 5), mode="fused")


@pytest.mark.gpu
@pytest.mark.kernels
@pytest.mark.parametrize("length", [1, 63, 1000])
def test_causal_conv1d_equals_the_reference(length):
    pytest.importorskip("causal_conv1d")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    inputs = [x.float() for x in _inputs(length, 4)]
    expected = causal_conv(*inputs, mode="reference")
    found = causal_conv(*(x.cuda() for x in inputs), mode="fused").cpu()
    _assert_close_in_float32([found], [expected], terms=4)
