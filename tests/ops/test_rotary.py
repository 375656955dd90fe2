"""Rotary positions: relative, norm-preserving, exact in float64."""

import cmath

import pytest
import torch

from dnamdlm.ops.rotary import apply_rotary, rotary_angles


def _random(length, heads=3, size=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, length, heads, size, generator=generator, dtype=torch.float64).to(dtype)


def test_each_pair_is_a_complex_number_turned_by_its_position():
    x = _random(5)
    cos, sin = rotary_angles(5, 8, dtype=torch.float64)
    out = apply_rotary(x, cos, sin)
    for position in range(5):
        for i in range(4):
            turn = cmath.exp(1j * position * 10000.0 ** (-2 * i / 8))
            before = complex(x[1, position, 2, i], x[1, position, 2, i + 4])
            after = complex(out[1, position, 2, i], out[1, position, 2, i + 4])
            assert after == pytest.approx(before * turn, abs=1e-12)


def test_products_of_queries_and_keys_depend_on_the_distance_alone():
    x = _random(1).expand(2, 9, 3, 8)
    turned = apply_rotary(x, *rotary_angles(9, 8, dtype=torch.float64))
    products = torch.einsum("bihe,bjhe->bhij", turned, turned)
    torch.testing.assert_close(products[..., :-1, :-1], products[..., 1:, 1:])


def test_half_precision_is_turned_in_float32():
    x = _random(6, dtype=torch.bfloat16)
    cos, sin = rotary_angles(6, 8)
    out = apply_rotary(x, cos, sin)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, apply_rotary(x.float(), cos, sin).bfloat16())
