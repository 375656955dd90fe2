"""The selective scan of Mamba-1, in either direction along the sequence.

With dt = softplus(delta + delta_bias), and a state vector h of N numbers per channel:

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t        y_t = C_t . h_t + D u_t        out = y SiLU(z)

`reverse` runs from the last position to the first, which equals the scan of the flipped sequence,
flipped back, without a copy. Padding does not change the state.

Shapes: B sequences, L positions, D channels (channels last), N state size.
Source: Gu and Dao 2023 (arXiv:2312.00752), algorithm 2.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.chunked_recurrence import chunked_recurrence
from dnamdlm.ops.kernels.compiled_scan import COMPILED_SCAN, MAX_STATE_SIZE, compiled_scan
from dnamdlm.ops.kernels.mamba_kernels import MAMBA_SCAN, mamba_scan
from dnamdlm.ops.kernels.triton_slots import MAX_STATES, TRITON_SCAN
from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel, Mode, choose, first_usable, give_up

# softplus(NO_TIME + bias) is exactly zero in every float type, and finite in float16.
NO_TIME = -1e4


def selective_scan(  # noqa: PLR0917  the order of mamba-ssm
    u: Float[Tensor, "B L D"],
    delta: Float[Tensor, "B L D"],
    A: Float[Tensor, "D N"],  # noqa: N803  the paper's letters
    B: Float[Tensor, "B L N"],  # noqa: N803
    C: Float[Tensor, "B L N"],  # noqa: N803
    D: Float[Tensor, " D"] | None = None,  # noqa: N803
    z: Float[Tensor, "B L D"] | None = None,
    delta_bias: Float[Tensor, " D"] | None = None,
    *,
    softplus: bool = True,
    reverse: bool = False,
    present: Bool[Tensor, "B L"] | None = None,
    mode: Mode | None = None,
) -> Float[Tensor, "B L D"]:
    """Run the scan; states and sums are float32 or wider, and the result has the type of `u`.

    Args:
        u: input.
        delta: step sizes before the bias and the softplus.
        A: decay rates, negative.
        B: input weights.
        C: output weights.
        D: weight of the direct path, or None.
        z: gate, or None.
        delta_bias: added to `delta`, or None.
        softplus: apply softplus to delta + delta_bias.
        reverse: run from the last position to the first.
        present: False marks padding, which does not change the state, whatever the values of `u`,
            `delta` and `B` there (even inf), and whose output is zero; None means no padding.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and no kernel can run here.

    Example: with a fixed step of 1 and decay 1/2 per step, each input echoes on.
        >>> import math, torch
        >>> from dnamdlm.ops import selective_scan
        >>> u = torch.tensor([1.0, 0.0, 0.0, 2.0]).reshape(1, 4, 1)
        >>> step, one = torch.ones(1, 4, 1), torch.ones(1, 4, 1)
        >>> A = torch.tensor([[-math.log(2.0)]])
        >>> selective_scan(u, step, A, one, one, softplus=False).flatten()
        tensor([1.0000, 0.5000, 0.2500, 2.1250])
        >>> selective_scan(u, step, A, one, one, softplus=False, reverse=True).flatten()
        tensor([1.2500, 0.5000, 1.0000, 2.0000])
    """
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias)
    outs = _by_triton([inputs], softplus=softplus, reverse=reverse, present=present, mode=mode)
    if outs is not None:
        return outs[0]
    if present is not None:
        is_present = present.unsqueeze(-1)
        # where, not multiply: padding may be anything, inf included.
        u = torch.where(is_present, u, 0.0)
        B = torch.where(is_present, B, 0.0)  # noqa: N806 # pyright: ignore[reportConstantRedefinition]
        delta = torch.where(is_present, delta, NO_TIME if softplus else 0.0)
        if not softplus and delta_bias is not None:
            delta = torch.where(is_present, delta, -delta_bias.to(delta.dtype))
    kernel, obstacle = _kernel(inputs)
    chosen = choose("selective scan", u.device, u.dtype, fused=kernel, obstacle=obstacle, mode=mode)
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias)
    # states are sums over the whole sequence, for which half precision is too coarse.
    with torch.autocast(u.device.type, enabled=False):
        if chosen == "fused" and kernel is MAMBA_SCAN:
            out = mamba_scan(inputs, softplus=softplus, reverse=reverse)
        else:
            run = {"fused": compiled_scan, "reference": _reference, "portable": _portable}[chosen]
            out = run(_widened(inputs), softplus=softplus, reverse=reverse)
    out = out.to(u.dtype)
    return out if present is None else torch.where(present.unsqueeze(-1), out, 0.0)


def scan_both(
    ahead: ScanInputs,
    back: ScanInputs,
    *,
    softplus: bool = True,
    present: Bool[Tensor, "B L"] | None = None,
    mode: Mode | None = None,
) -> list[Float[Tensor, "B L D"]]:
    """The forward scan of `ahead` and the reverse scan of `back`, in one launch on GPUs.

    Args:
        ahead: inputs of the forward scan, see `selective_scan`.
        back: inputs of the reverse scan, of the same shapes.
        softplus: apply softplus to delta + delta_bias.
        present: False marks padding in both.
        mode: overrides the process-wide choice of implementation.
    """
    ways = [ahead, back]
    outs = _by_triton(ways, softplus=softplus, reverse=False, present=present, mode=mode)
    if outs is not None:
        return outs
    return [
        selective_scan(*way, softplus=softplus, reverse=reverse, present=present, mode=mode)
        for way, reverse in zip(ways, (False, True), strict=True)
    ]


def scan_kernels(device: torch.device) -> list[FusedKernel]:
    """The fused kernels for a device, the preferred one first."""
    return [TRITON_SCAN, MAMBA_SCAN] if device.type == "cuda" else [COMPILED_SCAN]


def _kernel(inputs: ScanInputs) -> tuple[FusedKernel, str | None]:
    """The fused kernel for some inputs, and why it cannot serve them."""
    u, states = inputs.u, inputs.A.shape[1]
    kernel = first_usable("selective scan", scan_kernels(u.device), u.device, u.dtype)
    assert kernel is not None
    most = {COMPILED_SCAN: MAX_STATE_SIZE, TRITON_SCAN: MAX_STATES}.get(kernel, states)
    obstacle = f"its state has at most {most} numbers per channel" if states > most else None
    return kernel, obstacle


def _by_triton(
    ways: list[ScanInputs],
    *,
    softplus: bool,
    reverse: bool,
    present: Tensor | None,
    mode: Mode | None,
) -> list[Tensor] | None:
    """The scans by our Triton kernels, or None where another implementation is to be used."""
    u = ways[0].u
    kernel, obstacle = _kernel(ways[0])
    if kernel is not TRITON_SCAN:
        return None
    chosen = choose(kernel.primitive, u.device, u.dtype, fused=kernel, obstacle=obstacle, mode=mode)
    if chosen != "fused":
        return None
    from dnamdlm.ops.kernels.triton_scan_ops import triton_scan

    try:
        return triton_scan(ways, softplus=softplus, reverse=reverse, present=present)
    except RuntimeError as error:
        give_up(kernel, error, mode=mode)
    return None


def _widened(inputs: ScanInputs) -> ScanInputs:
    """All inputs in the widest of their types, at least float32."""
    wide = torch.float32
    for x in inputs:
        wide = wide if x is None else torch.promote_types(wide, x.dtype)
    return ScanInputs._make(None if x is None else x.to(wide) for x in inputs)


def _step_sizes(inputs: ScanInputs, *, softplus: bool) -> Tensor:
    """The step sizes with bias and softplus."""
    delta = inputs.delta
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias
    return functional.softplus(delta) if softplus else delta


def _finished(y: Tensor, inputs: ScanInputs) -> Tensor:
    """Add the direct path and apply the gate after the recurrence."""
    if inputs.D is not None:
        y = torch.addcmul(y, inputs.D, inputs.u)
    return y if inputs.z is None else y * functional.silu(inputs.z)


def _reference(inputs: ScanInputs, *, softplus: bool, reverse: bool) -> Tensor:
    """The definition, one position at a time, with the gradients of autograd."""
    dt = _step_sizes(inputs, softplus=softplus)
    state = inputs.u.new_zeros(inputs.u.shape[0], *inputs.A.shape)
    # unbind, not indexing: the gradient of an index is a tensor as long as the sequence.
    moving = (inputs.u, dt, inputs.B, inputs.C)
    steps = list(zip(*(x.unbind(1) for x in moving), strict=True))
    rows: list[Tensor] = []
    for u_t, dt_t, b_t, c_t in reversed(steps) if reverse else steps:
        decay = (dt_t[..., None] * inputs.A).exp()
        state = decay * state + (dt_t * u_t)[..., None] * b_t[:, None]
        rows.append((state * c_t[:, None]).sum(-1))
    return _finished(torch.stack(rows[::-1] if reverse else rows, dim=1), inputs)


def _portable(inputs: ScanInputs, *, softplus: bool, reverse: bool) -> Tensor:
    """In chunks, see `chunked_recurrence`."""
    dt = _step_sizes(inputs, softplus=softplus)
    y = chunked_recurrence(dt, dt * inputs.u, inputs.B, inputs.C, inputs.A, reverse=reverse)
    return _finished(y, inputs)
