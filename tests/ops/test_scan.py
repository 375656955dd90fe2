"""The selective scan: every implementation against the definition, and with the original."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from dnamdlm.ops.chunked_recurrence import CHUNK
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.scan import scan_both, selective_scan
from dnamdlm.ops.scan_inputs import ScanInputs
from tests.helpers.rounding import rounding
from tests.helpers.scan_cases import (
    NAMES,
    assert_outputs_close,
    assert_scans_close,
    scan_case,
    scan_is_built,
    with_gradients,
)

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


@pytest.mark.parametrize("mode", ["reference", "portable"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("softplus", [True, False], ids=["softplus", "plain"])
def test_the_scan_equals_a_loop_over_numbers(mode, reverse, softplus):
    inputs = scan_case(2, 6, channels=3, state=2)
    options = {"softplus": softplus, "reverse": reverse}
    found = selective_scan(**inputs, **options, mode=mode)
    torch.testing.assert_close(found, _by_loop(inputs, **options))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_reference_and_the_portable_scan_agree_in_float64(batch, length):
    inputs = scan_case(batch, length)
    for reverse in (False, True):
        expected = with_gradients(inputs, reverse=reverse, mode="reference")
        found = with_gradients(inputs, reverse=reverse, mode="portable")
        assert_scans_close(found, expected, inputs, torch.float64)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_float32_is_close_to_the_float64_reference(fast_mode, batch, length):
    inputs = scan_case(batch, length)
    for reverse in (False, True):
        expected = with_gradients(inputs, reverse=reverse, mode="reference")
        narrow = {name: x.float() for name, x in inputs.items()}
        found = with_gradients(narrow, reverse=reverse, mode=fast_mode)
        assert_scans_close(found, expected, inputs)


@pytest.mark.parametrize("channels", [1, 16, 37, 150])
def test_any_number_of_channels_works(fast_mode, channels):
    inputs = scan_case(2, 70, channels=channels, state=3)
    expected = with_gradients(inputs, mode="reference")
    found = with_gradients({name: x.float() for name, x in inputs.items()}, mode=fast_mode)
    assert_scans_close(found, expected, inputs)


@pytest.mark.parametrize("left_out", ["D", "z", "delta_bias"])
def test_what_is_left_out_counts_as_neutral(fast_mode, left_out):
    inputs = scan_case(2, 9, dtype=torch.float32)
    inputs[left_out] = None
    expected = selective_scan(**inputs, mode="reference")
    assert_outputs_close(selective_scan(**inputs, mode=fast_mode), expected, inputs)


def test_without_softplus_the_step_is_used_as_it_is(fast_mode):
    inputs = scan_case(2, 9)
    inputs["delta"], inputs["delta_bias"] = inputs["delta"].exp(), inputs["delta_bias"].exp()
    expected = with_gradients(inputs, softplus=False, mode="reference")
    narrow = {name: x.float() for name, x in inputs.items()}
    assert_scans_close(with_gradients(narrow, softplus=False, mode=fast_mode), expected, inputs)


def test_small_steps_keep_their_digits(fast_mode):
    inputs = scan_case(1, 70)
    # steps of 1e-5: log(1 + x) in float32 would be off by a percent.
    inputs["delta"] = torch.full_like(inputs["delta"], -11.5)
    inputs["delta_bias"] = torch.zeros_like(inputs["delta_bias"])
    inputs["D"] = torch.zeros_like(inputs["D"])
    expected = with_gradients(inputs, mode="reference")
    found = with_gradients({name: x.float() for name, x in inputs.items()}, mode=fast_mode)
    assert_scans_close(found, expected, inputs)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("softplus", [True, False], ids=["softplus", "plain"])
def test_padding_is_skipped_whatever_it_holds(fast_mode, reverse, softplus):
    inputs = scan_case(1, 4 * CHUNK, dtype=torch.float32)
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
    assert_outputs_close(out[:, present[0]], selective_scan(**short, **options), short)
    assert not out[:, ~present[0]].any()


def test_no_gradient_reaches_padding(fast_mode):
    inputs = scan_case(1, 9, dtype=torch.float32)
    present = torch.ones(1, 9, dtype=torch.bool)
    present[0, 4:6] = False
    gradients = with_gradients(inputs, present=present, mode=fast_mode)
    for name in ("u", "delta", "B", "C", "z"):
        assert not gradients[name][0, 4:6].any()
        assert gradients[name][0, :4].all()


def test_reverse_is_the_scan_of_the_flipped_sequence(fast_mode):
    inputs = scan_case(2, 70, dtype=torch.float32)
    moving = ("u", "delta", "B", "C", "z")
    flipped = {name: x.flip(1) if name in moving else x for name, x in inputs.items()}
    expected = selective_scan(**flipped, mode=fast_mode).flip(1)
    assert_outputs_close(selective_scan(**inputs, reverse=True, mode=fast_mode), expected, inputs)


def test_the_portable_backward_pass_is_the_derivative():
    inputs = [x.requires_grad_() for x in scan_case(2, 5, channels=2, state=3).values()]
    for reverse in (False, True):
        assert torch.autograd.gradcheck(
            lambda *tensors, reverse=reverse: selective_scan(
                *tensors, reverse=reverse, mode="portable"
            ),
            inputs,
        )


def test_without_gradients_the_result_is_the_same(fast_mode):
    inputs = scan_case(2, 130, dtype=torch.float32)
    with torch.no_grad():
        plain = selective_scan(**inputs, mode=fast_mode)
    assert torch.equal(plain, with_gradients(inputs, mode=fast_mode)["out"])


def test_half_precision_in_gives_half_precision_out(fast_mode):
    inputs = scan_case(2, 9, dtype=torch.bfloat16)
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
    if dtype == torch.float32 and scan_is_built():
        modes.append("fused")
    for mode in modes:
        out = selective_scan(**inputs, mode=mode)
        upstream = ours("out", golden[f"{prefix}.grad_out"])
        gradients = torch.autograd.grad(out, list(inputs.values()), upstream)
        found = dict(zip(("out", *names), (out, *gradients), strict=True))
        expected = {name: ours(name, golden[f"{prefix}.{case}.grad.{name}"]) for name in names}
        expected["out"] = ours("out", golden[f"{prefix}.{case}.out"])
        assert_scans_close(found, expected, inputs, dtype)


@pytest.mark.parametrize("mode", ["reference", "portable"])
def test_both_directions_together_are_two_scans(mode):
    ahead, back = (ScanInputs(**scan_case(2, 9, seed=seed)) for seed in (0, 1))
    present = torch.arange(9) < torch.tensor([[9], [5]])
    found = scan_both(ahead, back, present=present, mode=mode)
    expected = [
        selective_scan(*ahead, present=present, mode=mode),
        selective_scan(*back, reverse=True, present=present, mode=mode),
    ]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_gate_and_the_direct_path_can_stand_outside(fast_mode):
    inputs = scan_case(2, 9, dtype=torch.float32)
    bare = selective_scan(**(inputs | {"D": None, "z": None}), mode=fast_mode)
    gated = (bare + inputs["D"] * inputs["u"]) * functional.silu(inputs["z"])
    assert_outputs_close(selective_scan(**inputs, mode=fast_mode), gated, inputs)
