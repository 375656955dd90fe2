"""The Triton scan in the interpreter against the definition in float64: outputs, all gradients."""

import dataclasses

import pytest
import torch

from tests.helpers.interpreted import (
    largest_differences,
    require_interpreter,
    skip_with_shape_checks,
)

require_interpreter()

from dnamdlm.ops.kernels import triton_scan_ops  # noqa: E402
from dnamdlm.ops.kernels.triton_slots import TRITON_SCAN  # noqa: E402
from dnamdlm.ops.scan import scan_both, selective_scan  # noqa: E402
from dnamdlm.ops.scan_inputs import ScanInputs  # noqa: E402
from dnamdlm.ops.selection import only  # noqa: E402

# the largest allowed difference, relative to the largest entry of each tensor.
ALLOWED = 1e-5
# several segments and chunks in a short sequence.
SMALL = dataclasses.replace(triton_scan_ops.TILES, segment=16, chunk=8, sub=2, channels=4)


def _inputs(batch, length, *, channels=5, states=16, seed=0, without=()):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs = ScanInputs(
        u=normal(batch, length, channels),
        delta=normal(batch, length, channels) - 1.0,
        A=-normal(channels, states).abs() - 0.1,
        B=normal(batch, length, states),
        C=normal(batch, length, states),
        D=normal(channels),
        z=normal(batch, length, channels),
        delta_bias=normal(channels),
    )
    return inputs._replace(**dict.fromkeys(without))


def _leaves(ways, dtype):
    return [
        ScanInputs._make(None if x is None else x.to(dtype).requires_grad_() for x in way)
        for way in ways
    ]


def _results(ways, dtype, run):
    """Outputs and gradients by name; the loss weighs the outputs at random."""
    ways = _leaves([way._make(None if x is None else x.detach().clone() for x in way)
                    for way in ways], dtype)  # fmt: skip
    outs = run(ways)
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outs]
    loss = sum((out * weight.to(dtype)).sum() for out, weight in zip(outs, weights, strict=True))
    named = {
        f"{name}{i}": x
        for i, way in enumerate(ways)
        for name, x in way._asdict().items()
        if x is not None
    }
    gradients = torch.autograd.grad(loss, list(named.values()))
    found = dict(zip(named, gradients, strict=True))
    return found | {f"out{i}": out.detach() for i, out in enumerate(outs)}


def _present(batch, length):
    """Gaps and a short row; something is left at every length."""
    present = torch.rand(batch, length, generator=torch.Generator().manual_seed(3)) > 0.2
    present[:, 0] = True
    if length > 2:
        present[-1, length // 2 :] = False
    return present


def _assert_equal_to_the_definition(ways, *, twice=False, **options):
    """One direction or both; `twice`: a second call gives the same bits."""
    reverse = options.pop("reverse", False)

    def by_definition(inputs):
        directions = (False, True) if len(inputs) == 2 else (reverse,)
        return [
            selective_scan(*way, reverse=backwards, mode="reference", **options)
            for way, backwards in zip(inputs, directions, strict=True)
        ]

    def by_kernel(inputs):
        with only(TRITON_SCAN):
            if len(inputs) == 2:
                return scan_both(*inputs, mode="fused", **options)
            return [selective_scan(*inputs[0], reverse=reverse, mode="fused", **options)]

    expected = _results(ways, torch.float64, by_definition)
    found = _results(ways, torch.float32, by_kernel)
    differences = largest_differences(found, expected)
    assert max(differences.values()) <= ALLOWED, differences
    if twice:
        again = _results(ways, torch.float32, by_kernel)
        assert all(torch.equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65])
def test_both_directions_with_gate_and_padding_equal_the_definition(length):
    ways = [_inputs(2, length, seed=seed) for seed in (0, 1)]
    _assert_equal_to_the_definition(ways, present=_present(2, length), twice=length == 65)


@pytest.mark.slow
def test_a_thousand_positions_in_two_directions_equal_the_definition():
    ways = [_inputs(1, 1000, channels=3, seed=seed) for seed in (0, 1)]
    _assert_equal_to_the_definition(ways, present=_present(1, 1000))


@pytest.mark.parametrize("length", [1, 16, 17, 33])
def test_the_segments_of_a_long_sequence_are_combined(monkeypatch, length):
    monkeypatch.setattr(triton_scan_ops, "TILES", SMALL)
    ways = [_inputs(2, length, channels=6, seed=seed) for seed in (0, 1)]
    _assert_equal_to_the_definition(ways, present=_present(2, length), twice=length == 17)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("softplus", "without"), [(True, ("z", "D")), (False, ("delta_bias",))], ids=["bare", "plain"]
)
def test_one_direction_without_some_parts_equals_the_definition(reverse, softplus, without):
    inputs = _inputs(2, 17, states=3, without=without)
    if not softplus:
        inputs = inputs._replace(delta=inputs.delta.exp())
    _assert_equal_to_the_definition([inputs], reverse=reverse, softplus=softplus)


def test_small_steps_keep_their_digits():
    # steps of 1e-5: log(1 + x) in float32 would be off by a percent.
    inputs = _inputs(1, 9, without=("D", "z"))
    inputs = inputs._replace(
        delta=torch.full_like(inputs.delta, -11.5), delta_bias=torch.zeros(5).double()
    )
    _assert_equal_to_the_definition([inputs])


def test_large_steps_pass_through_the_softplus():
    inputs = _inputs(1, 9)
    inputs = inputs._replace(delta=inputs.delta + 21.0, A=inputs.A * 1e-2)
    _assert_equal_to_the_definition([inputs])


def test_padding_may_hold_anything_and_gets_nothing():
    present = _present(2, 17)
    inputs = _inputs(2, 17)
    poisoned = inputs._replace(
        **{
            name: torch.where(present[..., None], getattr(inputs, name), torch.inf)
            for name in ("u", "delta", "B", "C", "z")
        }
    )

    def by_kernel(ways):
        with only(TRITON_SCAN):
            return [selective_scan(*ways[0], present=present, mode="fused")]

    clean, found = (_results([x], torch.float32, by_kernel) for x in (inputs, poisoned))
    assert all(torch.equal(clean[name], found[name]) for name in clean)
    for name in ("out0", "u0", "delta0", "B0", "C0", "z0"):
        assert not found[name][~present].any()
        assert found[name][present].any()


def test_slices_of_wider_tensors_need_no_copy():
    inputs = _inputs(2, 9, channels=4)
    wide = torch.cat([inputs.B, inputs.C, inputs.u, inputs.z], dim=-1).float()
    write, read, u, z = wide.split((16, 16, 4, 4), dim=-1)
    whole = [None if x is None else x.float() for x in inputs]
    with only(TRITON_SCAN):
        expected = selective_scan(*whole, mode="fused")
        cut = ScanInputs(*whole)._replace(B=write, C=read, u=u, z=z)
        assert torch.equal(selective_scan(*cut, mode="fused"), expected)


def test_half_precision_is_widened_inside():
    inputs = [x if x.ndim < 3 else x.bfloat16() for x in _inputs(2, 9)]
    inputs = [x.float() if x.dtype == torch.float64 else x for x in inputs]
    with only(TRITON_SCAN):
        out = selective_scan(*inputs, mode="fused")
    expected = selective_scan(*(x.double() for x in inputs), mode="reference")
    assert out.dtype == torch.bfloat16
    # one rounding to eight bits; the interpreter cuts off where a card rounds.
    torch.testing.assert_close(out.double(), expected, rtol=2.0**-7, atol=1e-5)


def test_the_operators_satisfy_the_rules_of_torch():
    skip_with_shape_checks(selective_scan)
    ways = [[x.float().requires_grad_() for x in _inputs(1, 3, channels=2, states=2)]]
    way = ScanInputs(*ways[0])
    tensors = [way.u, way.delta, way.A, way.B, way.C, way.D, way.delta_bias, way.z]
    torch.library.opcheck(
        torch.ops.dnamdlm.scan_forward.default, (tensors, None, True, True, False, True, 1)
    )


def test_a_compiler_of_graphs_sees_one_operator_and_no_break():
    skip_with_shape_checks(selective_scan)
    inputs = [x.float().requires_grad_() for x in _inputs(1, 5, channels=2, states=2)]

    def run(*tensors):
        return selective_scan(*tensors, mode="fused").sum()

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    with only(TRITON_SCAN):
        expected = torch.autograd.grad(run(*inputs), inputs)
        found = torch.autograd.grad(compiled(*inputs), inputs)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
