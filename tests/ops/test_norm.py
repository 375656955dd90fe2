"""Norms against their formulas."""

import pytest
import torch

from dnamdlm.ops.norm import layer_norm, rms_norm


def _random(dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 4, 16, generator=generator, dtype=torch.float64) * 3 + 1
    return x.to(dtype), torch.linspace(0.5, 2.0, 16, dtype=dtype)


def test_layer_norm_equals_its_definition():
    x, gain = _random()
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain
    torch.testing.assert_close(layer_norm(x, gain), expected)


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
