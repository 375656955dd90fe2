"""The Triton convolutions in the interpreter against the definition in float64."""

import pytest
import torch

from tests.helpers.interpreted import (
    largest_differences,
    require_interpreter,
    skip_with_shape_checks,
)

require_interpreter()

from dnamdlm.ops.conv import causal_conv, causal_conv_both, depthwise_conv  # noqa: E402
from dnamdlm.ops.kernels import triton_conv_ops  # noqa: E402
from dnamdlm.ops.kernels.triton_slots import TRITON_CAUSAL_CONV, TRITON_DEPTHWISE  # noqa: E402
from dnamdlm.ops.selection import only  # noqa: E402

# the largest allowed difference, relative to the largest entry of each tensor.
ALLOWED = 1e-5


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    """Several tiles and programs in a short sequence."""
    monkeypatch.setattr(triton_conv_ops, "ROWS", 16)
    monkeypatch.setattr(triton_conv_ops, "BLOCK", 4)
    monkeypatch.setattr(triton_conv_ops, "SPAN", 2)


def _tensors(length, width, *, count=1, batch=2, channels=5):
    generator = torch.Generator().manual_seed(length)
    shapes = [(batch, length, channels), *[(channels, width)] * count, *[(channels,)] * count]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _present(length):
    present = torch.rand(2, length, generator=torch.Generator().manual_seed(3)) > 0.2
    present[:, 0] = True
    return present


def _results(tensors, dtype, run):
    leaves = [x.to(dtype).clone().requires_grad_() for x in tensors]
    outs = run(*leaves)
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outs]
    loss = sum((out * weight.to(dtype)).sum() for out, weight in zip(outs, weights, strict=True))
    gradients = torch.autograd.grad(loss, leaves)
    return dict(enumerate([*gradients, *(out.detach() for out in outs)]))


def _assert_equal_to_the_definition(tensors, run):
    """`run` takes the mode and the tensors."""
    expected = _results(tensors, torch.float64, lambda *x: run("reference", *x))
    found = _results(tensors, torch.float32, lambda *x: run("fused", *x))
    differences = largest_differences(found, expected)
    assert max(differences.values()) <= ALLOWED, differences
    again = _results(tensors, torch.float32, lambda *x: run("fused", *x))
    assert all(torch.equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65])
def test_both_causal_convolutions_with_padding_equal_the_definition(length):
    present = _present(length)

    def run(mode, x, ahead, back, ahead_bias, back_bias):
        with only(TRITON_CAUSAL_CONV):
            return causal_conv_both(
                x, (ahead, back), (ahead_bias, back_bias), present=present, mode=mode
            )

    _assert_equal_to_the_definition(_tensors(length, 4, count=2), run)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("width", [2, 3])
def test_one_causal_convolution_equals_the_definition(reverse, width):
    def run(mode, *tensors):
        with only(TRITON_CAUSAL_CONV):
            return [causal_conv(*tensors, reverse=reverse, mode=mode)]

    _assert_equal_to_the_definition(_tensors(33, width), run)


@pytest.mark.parametrize(("width", "length"), [(1, 9), (5, 3), (9, 65)])
def test_the_centred_convolution_equals_the_definition(width, length):
    present = _present(length)

    def run(mode, *tensors):
        with only(TRITON_DEPTHWISE):
            return [depthwise_conv(*tensors, present=present, mode=mode)]

    _assert_equal_to_the_definition(_tensors(length, width), run)


def test_a_thousand_positions_equal_the_definition(monkeypatch):
    monkeypatch.setattr(triton_conv_ops, "ROWS", 64)

    def run(mode, x, weight, _):
        with only(TRITON_DEPTHWISE):
            return [depthwise_conv(x, weight, mode=mode)]

    x, weight, bias = _tensors(1000, 5, channels=3)
    present = _present(1000)

    def causal(mode, *tensors):
        with only(TRITON_CAUSAL_CONV):
            return [causal_conv(*tensors, present=present, mode=mode)]

    _assert_equal_to_the_definition([x, weight[:, :4], bias], causal)
    expected = depthwise_conv(x, weight, mode="reference")
    (found,) = run("fused", x.float(), weight.float(), None)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=ALLOWED)


def test_padding_may_hold_anything_and_gets_nothing():
    x, weight, bias = (t.float() for t in _tensors(17, 4))
    present = _present(17)
    poisoned = torch.where(present[..., None], x, torch.inf).requires_grad_()
    with only(TRITON_CAUSAL_CONV):
        clean = causal_conv(x, weight, bias, present=present, mode="fused")
        found = causal_conv(poisoned, weight, bias, present=present, mode="fused")
    assert torch.equal(found, clean)
    (gradient,) = torch.autograd.grad(found.square().sum(), [poisoned])
    assert not gradient[~present].any()
    assert gradient[present].all()


def test_a_slice_of_a_wider_tensor_needs_no_copy_and_half_precision_stays():
    wide = torch.randn(2, 9, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    _, weight, bias = (t.float() for t in _tensors(9, 4))
    with only(TRITON_CAUSAL_CONV):
        found = causal_conv(wide[..., :5], weight, bias, mode="fused")
        assert torch.equal(found, causal_conv(wide[..., :5].clone(), weight, bias, mode="fused"))
    expected = causal_conv(wide[..., :5].double(), weight.double(), bias.double(), mode="reference")
    assert found.dtype == torch.bfloat16
    # one rounding to eight bits; the interpreter cuts off where a card rounds.
    torch.testing.assert_close(found.double(), expected, rtol=2.0**-7, atol=1e-5)


def test_the_operators_satisfy_the_rules_of_torch():
    skip_with_shape_checks(causal_conv)
    x, weight, bias = (t.float().requires_grad_() for t in _tensors(3, 3, batch=1, channels=2))
    torch.library.opcheck(
        torch.ops.dnamdlm.conv_forward.default, (x, [weight], [bias], None, 2, True, False)
    )


def test_a_compiler_of_graphs_sees_one_operator_and_no_break():
    skip_with_shape_checks(causal_conv)
    tensors = [x.float().requires_grad_() for x in _tensors(5, 3, batch=1, channels=2)]

    def run(*inputs):
        return causal_conv(*inputs, mode="fused").sum()

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    with only(TRITON_CAUSAL_CONV):
        expected = torch.autograd.grad(run(*tensors), tensors)
        found = torch.autograd.grad(compiled(*tensors), tensors)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
