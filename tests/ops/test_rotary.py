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


def test_the_gradient_is_that_of_the_formula_once_and_twice():
    x = _random(4, heads=2, size=4).requires_grad_()
    angles = rotary_angles(4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: apply_rotary(x, *angles), x)
    assert torch.autograd.gradgradcheck(lambda x: apply_rotary(x, *angles), x)


def test_gradients_equal_those_of_autograd_to_the_last_bit():
    results = []
    for turned in (apply_rotary, _by_autograd):
        x = _random(7, dtype=torch.float32).requires_grad_()
        out = turned(x, *rotary_angles(7, 8))
        results.append((out, *torch.autograd.grad((out * out.detach().cos()).sum(), x)))
    for ours, expected in zip(*results, strict=True):
        assert torch.equal(ours, expected)


def test_rotation_can_be_vectorised_over_batches():
    x = _random(5)
    angles = rotary_angles(5, 8, dtype=torch.float64)
    mapped = torch.func.vmap(lambda row: apply_rotary(row[None], *angles)[0])(x)
    assert torch.equal(mapped, apply_rotary(x, *angles))


def _by_autograd(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
