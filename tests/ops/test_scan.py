"""The selective scan: every implementation against the definition, and with the original."""

import shutil
import sys
import types

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops import scan, selection
from dnamdlm.ops.chunked_recurrence import CHUNK
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.kernels import mamba_kernels as mamba
from dnamdlm.ops.scan import scan_both, selective_scan
from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel
from tests.helpers.rounding import rounding

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
LENGTHS = (1, 2, 63, 64, 1000)


@pytest.fixture(autouse=True)
def _kernels(tmp_path_factory, monkeypatch):
    """The kernel is built once for these tests, in seconds."""
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "kernels"))


@pytest.fixture(params=["portable", "compiled"])
def fast_mode(request):
    """The mode of each implementation that is compared with the reference."""
    if request.param == "portable":
        return "portable"
    try:
        compiled_scan.build()
    except ImportError as error:
        pytest.skip(f"the compiled scan: {error}")
    return "fused"


def _inputs(batch, length, channels=5, state=16, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs = {
        "u": normal(batch, length, channels),
        "delta": normal(batch, length, channels) - 1.0,
        "A": -torch.arange(1.0, state + 1, dtype=torch.float64).expand(channels, state).clone(),
        "B": normal(batch, length, state),
        "C": normal(batch, length, state),
        "D": normal(channels),
        "z": normal(batch, length, channels),
        "delta_bias": normal(channels),
    }
    return {name: x.to(dtype) for name, x in inputs.items()}


def _by_loop(inputs, *, softplus=True, reverse=False):
    """One sequence, channel and position at a time, in plain numbers."""
    u, delta, rates, write, read, direct, z, bias = (inputs[name] for name in NAMES)
    out = torch.zeros_like(u)
    batch, length, channels = u.shape
    for b in range(batch):
        for d in range(channels):
            state = [0.0] * rates.shape[1]
            for t in reversed(range(length)) if reverse else range(length):
                dt = delta[b, t, d] + bias[d]
                dt = torch.log1p(dt.exp()) if softplus else dt
                total = direct[d] * u[b, t, d]
                for n in range(len(state)):
                    state[n] = torch.exp(dt * rates[d, n]) * state[n]
                    state[n] += dt * write[b, t, n] * u[b, t, d]
                    total += read[b, t, n] * state[n]
                out[b, t, d] = total * z[b, t, d] / (1 + torch.exp(-z[b, t, d]))
    return out


def _with_gradients(inputs, **options):
    inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    out = selective_scan(**inputs, **options)
    weights = torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).reshape(out.shape)
    gradients = torch.autograd.grad((out * weights).sum(), list(inputs.values()))
    return dict(zip(("out", *inputs), (out.detach(), *gradients), strict=True))


def _assert_close(found, expected, inputs, dtype=torch.float32):
    """Equal up to the roundings of the scan, of which gradients sum over all positions."""
    batch, length, _ = inputs["u"].shape
    # ten for the step, its exponential, the products and the gate; one for each term of a sum.
    terms = 10 + inputs["A"].shape[1] + batch * length
    for name, value in expected.items():
        allowed = rounding(terms, value.abs().max().item(), dtype)
        torch.testing.assert_close(
            found[name].double(), value.double(), rtol=0, atol=allowed,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


def _assert_outputs_close(found, expected, inputs):
    _assert_close({"out": found}, {"out": expected}, inputs)


@pytest.mark.parametrize("mode", ["reference", "portable"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("softplus", [True, False], ids=["softplus", "plain"])
def test_the_scan_equals_a_loop_over_numbers(mode, reverse, softplus):
    inputs = _inputs(2, 6, channels=3, state=2)
    options = {"softplus": softplus, "reverse": reverse}
    found = selective_scan(**inputs, **options, mode=mode)
    torch.testing.assert_close(found, _by_loop(inputs, **options))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_reference_and_the_portable_scan_agree_in_float64(batch, length):
    inputs = _inputs(batch, length)
    for reverse in (False, True):
        expected = _with_gradients(inputs, reverse=reverse, mode="reference")
        found = _with_gradients(inputs, reverse=reverse, mode="portable")
        _assert_close(found, expected, inputs, torch.float64)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_float32_is_close_to_the_float64_reference(fast_mode, batch, length):
    inputs = _inputs(batch, length)
    for reverse in (False, True):
        expected = _with_gradients(inputs, reverse=reverse, mode="reference")
        narrow = {name: x.float() for name, x in inputs.items()}
        found = _with_gradients(narrow, reverse=reverse, mode=fast_mode)
        _assert_close(found, expected, inputs)


@pytest.mark.parametrize("channels", [1, 16, 37, 150])
def test_any_number_of_channels_works(fast_mode, channels):
    inputs = _inputs(2, 70, channels=channels, state=3)
    expected = _with_gradients(inputs, mode="reference")
    found = _with_gradients({name: x.float() for name, x in inputs.items()}, mode=fast_mode)
    _assert_close(found, expected, inputs)


@pytest.mark.parametrize("left_out", ["D", "z", "delta_bias"])
def test_what_is_left_out_counts_as_neutral(fast_mode, left_out):
    inputs = _inputs(2, 9, dtype=torch.float32)
    inputs[left_out] = None
    expected = selective_scan(**inputs, mode="reference")
    _assert_outputs_close(selective_scan(**inputs, mode=fast_mode), expected, inputs)


def test_without_softplus_the_step_is_used_as_it_is(fast_mode):
    inputs = _inputs(2, 9)
    inputs["delta"], inputs["delta_bias"] = inputs["delta"].exp(), inputs["delta_bias"].exp()
    expected = _with_gradients(inputs, softplus=False, mode="reference")
    narrow = {name: x.float() for name, x in inputs.items()}
    _assert_close(_with_gradients(narrow, softplus=False, mode=fast_mode), expected, inputs)


def test_small_steps_keep_their_digits(fast_mode):
    inputs = _inputs(1, 70)
    # steps of 1e-5: log(1 + x) in float32 would be off by a percent.
    inputs["delta"] = torch.full_like(inputs["delta"], -11.5)
    inputs["delta_bias"] = torch.zeros_like(inputs["delta_bias"])
    inputs["D"] = torch.zeros_like(inputs["D"])
    expected = _with_gradients(inputs, mode="reference")
    found = _with_gradients({name: x.float() for name, x in inputs.items()}, mode=fast_mode)
    _assert_close(found, expected, inputs)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("softplus", [True, False], ids=["softplus", "plain"])
def test_padding_is_skipped_whatever_it_holds(fast_mode, reverse, softplus):
    inputs = _inputs(1, 4 * CHUNK, dtype=torch.float32)
    if not softplus:
        inputs["delta"] = inputs["delta"].sigmoid() - inputs["delta_bias"]
    present = torch.ones(1, 4 * CHUNK, dtype=torch.bool)
    present[0, :3] = present[0, 40:50] = present[0, 120:] = False
    moving = ("u", "delta", "B", "C", "z")
    short = {name: x[:, present[0]] if name in moving else x for name, x in inputs.items()}
    poisoned = dict(inputs)
    for name in ("u", "delta", "B"):
        poisoned[name] = torch.where(present[..., None], inputs[name], torch.inf)
    options = {"softplus": softplus, "reverse": reverse, "mode": fast_mode}
    out = selective_scan(**poisoned, **options, present=present)
    _assert_outputs_close(out[:, present[0]], selective_scan(**short, **options), short)
    assert not out[:, ~present[0]].any()


def test_no_gradient_reaches_padding(fast_mode):
    inputs = _inputs(1, 9, dtype=torch.float32)
    present = torch.ones(1, 9, dtype=torch.bool)
    present[0, 4:6] = False
    gradients = _with_gradients(inputs, present=present, mode=fast_mode)
    for name in ("u", "delta", "B", "C", "z"):
        assert not gradients[name][0, 4:6].any()
        assert gradients[name][0, :4].all()


def test_reverse_is_the_scan_of_the_flipped_sequence(fast_mode):
    inputs = _inputs(2, 70, dtype=torch.float32)
    moving = ("u", "delta", "B", "C", "z")
    flipped = {name: x.flip(1) if name in moving else x for name, x in inputs.items()}
    expected = selective_scan(**flipped, mode=fast_mode).flip(1)
    _assert_outputs_close(selective_scan(**inputs, reverse=True, mode=fast_mode), expected, inputs)


def test_the_portable_backward_pass_is_the_derivative():
    inputs = [x.requires_grad_() for x in _inputs(2, 5, channels=2, state=3).values()]
    for reverse in (False, True):
        assert torch.autograd.gradcheck(
            lambda *tensors, reverse=reverse: selective_scan(
                *tensors, reverse=reverse, mode="portable"
            ),
            inputs,
        )


def test_without_gradients_the_result_is_the_same(fast_mode):
    inputs = _inputs(2, 130, dtype=torch.float32)
    with torch.no_grad():
        plain = selective_scan(**inputs, mode=fast_mode)
    assert torch.equal(plain, _with_gradients(inputs, mode=fast_mode)["out"])


def test_half_precision_in_gives_half_precision_out(fast_mode):
    inputs = _inputs(2, 9, dtype=torch.bfloat16)
    out = selective_scan(**inputs, mode=fast_mode)
    assert out.dtype == torch.bfloat16
    expected = selective_scan(**{name: x.float() for name, x in inputs.items()}, mode="reference")
    # the float32 results differ by little, and one rounding to eight bits follows.
    allowed = rounding(1, expected.abs().max().item(), torch.bfloat16)
    torch.testing.assert_close(out, expected.bfloat16(), rtol=0, atol=allowed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["full", "bare"])
@pytest.mark.parity
def test_the_scan_equals_the_original(shared, case, dtype):
    prefix = "f64" if dtype == torch.float64 else "f32"
    golden = load_file(shared / "parity" / "selective_scan.safetensors")
    names = NAMES if case == "full" else NAMES[:5]

    def ours(name, tensor):
        """The original has channels before positions."""
        return tensor.transpose(1, 2) if tensor.ndim == 3 else tensor

    inputs = {
        name: ours(name, golden[f"{prefix}.input.{name}"]).clone().requires_grad_()
        for name in names
    }
    modes = ["reference", "portable"]
    if dtype == torch.float32 and _is_built():
        modes.append("fused")
    for mode in modes:
        out = selective_scan(**inputs, mode=mode)
        upstream = ours("out", golden[f"{prefix}.grad_out"])
        gradients = torch.autograd.grad(out, list(inputs.values()), upstream)
        found = dict(zip(("out", *names), (out, *gradients), strict=True))
        expected = {name: ours(name, golden[f"{prefix}.{case}.grad.{name}"]) for name in names}
        expected["out"] = ours("out", golden[f"{prefix}.{case}.out"])
        _assert_close(found, expected, inputs, dtype)


def _is_built():
    try:
        compiled_scan.build()
    except ImportError:
        return False
    return True


def test_the_compiled_gradients_do_not_depend_on_the_number_of_threads():
    if not _is_built():
        pytest.skip("the compiled scan cannot be built")
    inputs = _inputs(3, 130, channels=150, dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(_with_gradients(inputs, mode="fused"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_auto_does_not_build_and_says_how_to(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path))
    with pytest.raises(ImportError, match=r"dnamdlm\.doctor build=true"):
        compiled_scan.load()
    inputs = _inputs(1, 3, dtype=torch.float32)
    selective_scan(**inputs, mode="auto")
    assert list(tmp_path.iterdir()) == []


def test_fused_on_demand_fails_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(KernelUnavailable, match=r"g\+\+ is not installed"):
        selective_scan(**_inputs(1, 3, dtype=torch.float32), mode="fused")


def test_what_a_failing_compiler_says_is_passed_on_and_nothing_is_left(monkeypatch, tmp_path):
    compiler = tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho 'scan.cpp:1: error: no such thing' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ImportError, match=r"g\+\+ fails: scan\.cpp:1: error: no such thing"):
        compiled_scan.build()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_state_too_large_for_the_compiled_scan_falls_back():
    inputs = _inputs(1, 3, state=17, dtype=torch.float32)
    out = selective_scan(**inputs, mode="auto")
    _assert_outputs_close(out, selective_scan(**inputs, mode="reference"), inputs)
    with pytest.raises(KernelUnavailable, match="at most 16 numbers per channel"):
        selective_scan(**inputs, mode="fused")


def _stub_of_mamba_ssm(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,  # noqa: N803
    return_last_state=False, cu_seqlens=None,
):  # fmt: skip
    """The signature of mamba-ssm 2.3, channels first, computed by our reference."""
    assert u.is_contiguous()
    assert delta.dtype == B.dtype == C.dtype == u.dtype
    assert A.dtype == torch.float32
    assert not return_last_state
    assert cu_seqlens is None
    moved = [None if x is None else x.transpose(1, 2) for x in (u, delta, B, C, z)]
    out = selective_scan(
        moved[0], moved[1], A, moved[2], moved[3], D, moved[4], delta_bias,
        softplus=delta_softplus, mode="reference",
    )  # fmt: skip
    return out.transpose(1, 2)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_mamba_ssm_is_called_with_its_signature(monkeypatch, reverse):
    monkeypatch.setattr(mamba, "load_scan", lambda: _stub_of_mamba_ssm)
    inputs = _inputs(2, 7, dtype=torch.float32)
    out = mamba.mamba_scan(ScanInputs(**inputs), softplus=True, reverse=reverse)
    expected = selective_scan(**inputs, reverse=reverse, mode="reference")
    _assert_outputs_close(out, expected, inputs)


def test_kernels_refuse_what_they_cannot_do():
    assert "CUDA" in mamba.MAMBA_SCAN.refusal(torch.device("cpu"), torch.float32)
    assert "float64" in mamba.MAMBA_SCAN.refusal(torch.device("cuda"), torch.float64)
    assert mamba.MAMBA_SCAN.refusal(torch.device("cuda"), torch.bfloat16) is None
    assert "CPU" in compiled_scan.COMPILED_SCAN.refusal(torch.device("cuda"), torch.float32)
    assert "float32" in compiled_scan.COMPILED_SCAN.refusal(torch.device("cpu"), torch.float64)


@pytest.mark.gpu
@pytest.mark.kernels
@pytest.mark.parametrize("length", [1, 63, 1000])
def test_mamba_ssm_equals_the_reference(length):
    pytest.importorskip("mamba_ssm")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    inputs = _inputs(2, length)
    expected = _with_gradients(inputs, mode="reference")
    moved = {name: x.float().cuda() for name, x in inputs.items()}
    for name, x in moved.items():
        moved[name] = x.requires_grad_()
    out = selective_scan(**moved, mode="fused")
    _assert_outputs_close(out.cpu(), expected["out"], inputs)


@pytest.mark.parametrize("mode", ["reference", "portable"])
def test_both_directions_together_are_two_scans(mode):
    ahead, back = (ScanInputs(**_inputs(2, 9, seed=seed)) for seed in (0, 1))
    present = torch.arange(9) < torch.tensor([[9], [5]])
    found = scan_both(ahead, back, present=present, mode=mode)
    expected = [
        selective_scan(*ahead, present=present, mode=mode),
        selective_scan(*back, reverse=True, present=present, mode=mode),
    ]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.fixture
def broken_triton_scan(monkeypatch):
    """A Triton scan that imports, and raises when it runs."""

    def fails(*_, **__):
        raise RuntimeError("no kernel image is available")

    stub = types.ModuleType("triton_scan_ops")
    stub.triton_scan = fails
    monkeypatch.setitem(sys.modules, "dnamdlm.ops.kernels.triton_scan_ops", stub)
    kernel = FusedKernel("selective scan", "Triton scan", lambda: fails, lambda *_: None)
    monkeypatch.setattr(scan, "TRITON_SCAN", kernel)
    monkeypatch.setattr(scan, "scan_kernels", lambda _: [kernel, compiled_scan.COMPILED_SCAN])
    monkeypatch.setattr(selection, "_distrusted", {})


def test_a_scan_that_fails_when_it_runs_is_done_by_another(broken_triton_scan, caplog):
    inputs = _inputs(2, 9, dtype=torch.float32)
    expected = selective_scan(**inputs, mode="reference")
    for _ in range(2):
        _assert_outputs_close(selective_scan(**inputs), expected, inputs)
    said = [message for message in caplog.messages if "Triton scan" in message]
    assert said == ["Triton scan is not used: it fails when it runs (no kernel image is available)"]


def test_a_failing_scan_ends_a_command_that_demands_it(broken_triton_scan):
    with pytest.raises(KernelUnavailable, match="no kernel image is available"):
        selective_scan(**_inputs(1, 3, dtype=torch.float32), mode="fused")


def test_the_gate_and_the_direct_path_can_stand_outside(fast_mode):
    inputs = _inputs(2, 9, dtype=torch.float32)
    bare = selective_scan(**(inputs | {"D": None, "z": None}), mode=fast_mode)
    gated = (bare + inputs["D"] * inputs["u"]) * functional.silu(inputs["z"])
    _assert_outputs_close(selective_scan(**inputs, mode=fast_mode), gated, inputs)
