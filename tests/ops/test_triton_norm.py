"""The Triton norms in the interpreter against the operators of torch in float64."""

import itertools

import pytest
import torch

from tests.helpers.interpreted import require_interpreter, skip_with_shape_checks

require_interpreter()

from dnamdlm.ops import norm, selection, selfcheck  # noqa: E402
from dnamdlm.ops.kernels import triton_norm_ops  # noqa: E402
from dnamdlm.ops.kernels.programs import triton_norm as programs  # noqa: E402
from dnamdlm.ops.kernels.triton_slots import TRITON_NORM  # noqa: E402
from dnamdlm.ops.norm import add_layer_norm, layer_norm, rms_norm  # noqa: E402
from dnamdlm.ops.selection import only  # noqa: E402

# the largest allowed difference, relative to the largest entry of each tensor or to one.
ALLOWED = 1e-5
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    """Several tiles and programs for few rows."""
    monkeypatch.setattr(triton_norm_ops, "TILE", 256)
    monkeypatch.setattr(triton_norm_ops, "SPAN", 2)


def _draw(shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _inputs(batch, length, channels, *, bias=True, branch=True, gate=True, modulated=True):
    """Leaves: x, gain, and what is asked for; gate, shift and scale are parts of one tensor."""
    generator = torch.Generator().manual_seed(100 * length + channels)
    moving, fixed = (batch, length, channels), (channels,)
    leaves = {"x": _draw(moving, generator), "gain": _draw(fixed, generator)}
    if branch:
        leaves["branch"] = _draw(moving, generator)
    if bias:
        leaves["bias"] = _draw(fixed, generator)
    if gate or modulated:
        leaves["around"] = _draw((batch, 3 * channels), generator)
    return leaves, {"gate": gate, "modulated": modulated}


def _run(leaves, given, mode, *, centred=True):
    """The sum and its norm, by the kernel in the mode `fused`."""
    x, gain, bias, branch = (leaves.get(name) for name in ("x", "gain", "bias", "branch"))
    gate, modulation = None, None
    if "around" in leaves:
        chunks = leaves["around"].unsqueeze(1).chunk(3, dim=-1)
        gate = chunks[0] if given["gate"] else None
        modulation = (chunks[1], chunks[2]) if given["modulated"] else None
    with only(TRITON_NORM):
        return norm._normalise(
        x, gain, bias, branch=branch, gate=gate, modulation=modulation, centred=centred, eps=1e-5,
        mode=mode,
    )  # fmt: skip


def _results(leaves, given, mode, dtype, *, centred=True, which=(0, 1)):
    """Outputs and gradients by name; `which` of the outputs are used further."""
    leaves = {name: x.to(dtype).clone().requires_grad_() for name, x in leaves.items()}
    outs = _run(leaves, given, mode, centred=centred)
    generator = torch.Generator().manual_seed(9)
    weights = [_draw(out.shape, generator).to(out.dtype) for out in outs]
    loss = sum((outs[i] * weights[i]).sum() for i in which)
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    sums = {"sum": outs[0].detach(), "out": outs[1].detach()}
    return dict(zip(leaves, found, strict=True)) | sums


def _relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))


def _largest(found, expected):
    return {
        name: _relative(found[name].detach().double(), value.detach())
        for name, value in expected.items()
    }


def _assert_equal_to_torch(inputs, **how):
    expected = _results(*inputs, "reference", torch.float64, **how)
    found = _results(*inputs, "fused", torch.float32, **how)
    differences = _largest(found, expected)
    assert max(differences.values()) <= ALLOWED, differences
    again = _results(*inputs, "fused", torch.float32, **how)
    assert all(torch.equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize("centred", [True, False], ids=["layer", "rms"])
@pytest.mark.parametrize("length", [1, 3, 65])
@pytest.mark.parametrize("channels", [1, 2, 63, 64, 65, 1000])
def test_everything_at_once_equals_torch_at_awkward_sizes(length, channels, centred, monkeypatch):
    if channels == 1000:
        monkeypatch.setattr(triton_norm_ops, "TILE", 8192)
    _assert_equal_to_torch(_inputs(2, length, channels, bias=centred), centred=centred)


@pytest.mark.parametrize("centred", [True, False], ids=["layer", "rms"])
@pytest.mark.parametrize(
    ("bias", "branch", "modulated"), list(itertools.product([False, True], repeat=3))
)
def test_any_part_may_be_absent(bias, branch, modulated, centred):
    for gate in (False, True) if branch else (False,):
        # a norm that is not centred has no bias in any network.
        inputs = _inputs(
            3, 5, 7, bias=bias and centred, branch=branch, gate=gate, modulated=modulated
        )
        _assert_equal_to_torch(inputs, centred=centred)


@pytest.mark.parametrize("which", [(0,), (1,)], ids=["sum alone", "norm alone"])
def test_an_output_that_is_not_used_further_adds_no_gradient(which):
    _assert_equal_to_torch(_inputs(2, 5, 7), which=which)
    _assert_equal_to_torch(_inputs(2, 5, 7, gate=False, modulated=False), which=which)


def test_a_small_epsilon_and_a_large_mean_cost_no_more_than_in_torch():
    leaves, _ = _inputs(1, 9, 65, bias=False, branch=False, gate=False, modulated=False)
    x, gain = 1e-3 * leaves["x"] + 1.0, leaves["gain"]
    expected = layer_norm(x, gain, eps=1e-12)
    with only(TRITON_NORM):
        found = layer_norm(x.float(), gain.float(), eps=1e-12, mode="fused")
    plain = layer_norm(x.float(), gain.float(), eps=1e-12)
    assert (found - expected).abs().max() <= 2 * (plain - expected).abs().max()


def test_the_names_reach_the_kernel_with_their_own_centre():
    leaves, _ = _inputs(2, 3, 5)
    x, gain, bias = (leaves[name].float() for name in ("x", "gain", "bias"))
    with only(TRITON_NORM):
        outs = [
            layer_norm(x, gain, bias, mode="fused"),
            rms_norm(x, gain, mode="fused"),
            *add_layer_norm(x, leaves["branch"].float(), gain, mode="fused"),
        ]
    expected = [
        layer_norm(x, gain, bias),
        rms_norm(x, gain),
        *add_layer_norm(x, leaves["branch"].float(), gain),
    ]
    for found, wanted in zip(outs, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_factors_of_single_positions_are_applied_by_torch():
    leaves, _ = _inputs(2, 3, 5)
    x, branch, gain = (leaves[name].float() for name in ("x", "branch", "gain"))
    gate, shift, scale = torch.randn(3, 2, 3, 5, generator=torch.Generator().manual_seed(1))
    expected = add_layer_norm(x, branch, gain, gate=gate, modulation=(shift, scale))
    with only(TRITON_NORM):
        found = add_layer_norm(x, branch, gain, gate=gate, modulation=(shift, scale), mode="fused")
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wide", ["none", "x"])
def test_half_precision_is_computed_in_float32_and_gradients_have_their_types(wide):
    leaves, given = _inputs(2, 5, 65)
    exact = {name: x.bfloat16().double() for name, x in leaves.items()}
    narrow = {name: x.bfloat16().requires_grad_() for name, x in exact.items()}
    if wide == "x":
        narrow["x"] = exact["x"].float().requires_grad_()
    total, out = _run(narrow, given, "fused")
    assert total.dtype == (torch.float32 if wide == "x" else torch.bfloat16)
    assert out.dtype == torch.float32
    # a sum in half precision has eight bits; the interpreter cuts off where a card rounds.
    allowed = ALLOWED if wide == "x" else 2.0**-5
    for found, wanted in zip((total, out), _run(exact, given, "reference"), strict=True):
        assert _relative(found.detach().double(), wanted) <= allowed
    gradients = torch.autograd.grad(out.square().sum(), list(narrow.values()))
    assert [x.dtype for x in gradients] == [x.dtype for x in narrow.values()]
    expected = _results(exact, given, "reference", torch.float64, which=(1,))
    found = _results(exact, given, "fused", torch.bfloat16, which=(1,))
    differences = _largest(found, expected)
    assert max(differences.values()) <= 2.0**-4, differences


def test_rows_need_not_be_adjacent_in_memory():
    leaves, given = _inputs(2, 6, 5)
    apart = {
        name: x.transpose(0, 1).contiguous().transpose(0, 1) if x.ndim == 3 else x
        for name, x in leaves.items()
    }
    together = _results(leaves, given, "fused", torch.float32)
    found = _results(apart, given, "fused", torch.float32)
    assert all(torch.equal(found[name], together[name]) for name in found)


def test_a_self_check_passes_and_names_a_wrong_kernel(monkeypatch):
    monkeypatch.setattr(selection, "_distrusted", {})
    for module in (norm, selfcheck):
        monkeypatch.setattr(module, "norm_kernels", lambda _: [TRITON_NORM])
    assert selfcheck.check_kernels(CPU) == []
    right = programs.norm_backward
    monkeypatch.setattr(
        programs, "norm_backward", _Changed(right, lambda options: options | {"CENTRED": False})
    )
    (sentence,) = selfcheck.check_kernels(CPU, [torch.float32])
    assert sentence.startswith("Triton norm is not used: it differs from the reference by ")


class _Changed:
    """A kernel that is launched with other constants."""

    def __init__(self, kernel, change):
        self.kernel, self.change = kernel, change

    def __getitem__(self, grid):
        return lambda *tensors, **options: self.kernel[grid](*tensors, **self.change(options))


def test_the_operators_satisfy_the_rules_of_torch():
    skip_with_shape_checks(layer_norm)
    leaves, _ = _inputs(2, 3, 5)
    x, gain, branch, bias = (
        leaves[name].float().requires_grad_() for name in ("x", "gain", "branch", "bias")
    )
    gate, shift, scale = (one.clone().requires_grad_() for one in torch.randn(3, 2, 1, 5))
    run = torch.ops.dnamdlm.norm_forward.default
    torch.library.opcheck(run, (x, gain, bias, branch, gate, shift, scale, 1e-5, True))
    torch.library.opcheck(run, (x, gain, None, None, None, None, None, 1e-5, False))
    torch.library.opcheck(
        torch.ops.dnamdlm.norm_backward.default,
        (x.detach(), None, x.detach(), gain.detach(), None, branch.detach(), gate.detach(), None,
         torch.float32, torch.bfloat16, 1e-5, True),
    )  # fmt: skip


def test_a_compiler_of_graphs_sees_one_operator_if_the_kernel_is_demanded():
    skip_with_shape_checks(layer_norm)
    leaves, _ = _inputs(1, 3, 5)
    tensors = [leaves[name].float().requires_grad_() for name in ("x", "branch", "gain")]

    def run(*inputs):
        return add_layer_norm(*inputs, mode="fused")[1].square().sum()

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    with only(TRITON_NORM):
        expected = torch.autograd.grad(run(*tensors), tensors)
        found = torch.autograd.grad(compiled(*tensors), tensors)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_compiler_of_graphs_gets_operators_of_torch_unless_the_kernel_is_demanded():
    skip_with_shape_checks(layer_norm)
    seen = []

    def backend(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    leaves, _ = _inputs(1, 3, 5)
    x, gain = leaves["x"].float(), leaves["gain"].float()
    with only(TRITON_NORM):
        found = torch.compile(lambda one: layer_norm(one, gain), backend=backend)(x)
    assert torch.equal(found, layer_norm(x, gain, mode="portable"))
    assert any("layer_norm" in name for name in seen)
    assert not any("norm_forward" in name for name in seen)
