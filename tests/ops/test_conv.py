import pytest
import torch

from dnamdlm.ops.conv import depthwise_conv


def _inputs(length, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    shapes = [(2, length, 4), (4, width), (4,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


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
    # float32 against float64: gradients of the taps sum over 128 positions.
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["reference", "portable"])
def test_padding_counts_as_zero_whatever_it_holds(mode):
    x, weight, bias = _inputs(8, 5)
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[0, 5:] = False
    poisoned = x.clone()
    poisoned[0, 5:] = torch.inf
    out = depthwise_conv(poisoned, weight, bias, valid=valid, mode=mode)
    short = depthwise_conv(x[:1, :5], weight, bias, mode=mode)
    torch.testing.assert_close(out[:1, :5], short)


def test_an_even_width_is_refused():
    x, weight, bias = _inputs(8, 4)
    with pytest.raises(ValueError, match="odd width, got 4"):
        depthwise_conv(x, weight, bias)
