"""The selective scan of Mamba-1, in either direction along the sequence.

With dt = softplus(delta + delta_bias), and a state vector h of N numbers per channel:

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t        y_t = C_t . h_t + D u_t        out = y SiLU(z)

`reverse` runs from the last position to the first, which equals the scan of the flipped sequence,
flipped back, without a copy. Padding does not change the state.

Shapes: B sequences, L positions, D channels (channels last), N state size.
Source: Gu and Dao 2023 (arXiv:2312.00752), algorithm 2.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dnamdlm.ops.kernels.compiled_scan import COMPILED_SCAN, MAX_STATE_SIZE, compiled_scan
from dnamdlm.ops.kernels.mamba_kernels import MAMBA_SCAN, mamba_scan
from dnamdlm.ops.kernels.triton_slots import MAX_STATES, TRITON_SCAN
from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel, Mode, choose, first_usable, give_up

# positions whose states are in memory at once; 16 and 32 fit into a cache and are fastest, and
# shorter chunks have more boundary states, which are kept.
CHUNK = 32
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
    """In chunks, with a backward pass of our own for the recurrence."""
    dt = _step_sizes(inputs, softplus=softplus)
    # time first, so that a chunk and a position are contiguous blocks of memory.
    moving = (dt, dt * inputs.u, inputs.B, inputs.C)
    first = [x.transpose(0, 1).contiguous() for x in moving]
    run: Any = ChunkedRecurrence.apply  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    y: Tensor = run(*first, inputs.A, reverse)
    return _finished(y.transpose(0, 1), inputs)


class _Chunks:
    """Buffers for the states of one chunk, in the order of the scan.

    Slot i + 1 has the state after step i, slot 0 the state before the first; a reverse scan counts
    slots from the other end, so that slots and positions remain aligned.
    """

    def __init__(self, like: Tensor, length: int, state_size: int, *, reverse: bool) -> None:
        size = min(CHUNK, length)
        shape = (*like.shape[1:], state_size)
        self.reverse = reverse
        self.length = length
        self.decay = like.new_empty(size, *shape)
        self.states = like.new_empty(size + 1, *shape)
        self.starts = range(0, length, CHUNK)

    def order(self) -> list[slice]:
        """Positions of each chunk, in the order of the scan."""
        chunks = [slice(start, min(start + CHUNK, self.length)) for start in self.starts]
        return chunks[::-1] if self.reverse else chunks

    def fill(self, dt: Tensor, x: Tensor, B: Tensor, A: Tensor, before: Tensor) -> int:  # noqa: N803
        """Compute the decays and states of one chunk from the state before it.

        Returns the number of positions.
        """
        size = len(dt)
        torch.mul(dt[..., None], A, out=self.decay[:size]).exp_()
        torch.mul(x[..., None], B[:, :, None], out=self.after(size))
        decay, states = self.decay.unbind(0), self.states.unbind(0)
        states[size if self.reverse else 0].copy_(before)
        if self.reverse:
            for i in range(size - 1, -1, -1):
                states[i].addcmul_(decay[i], states[i + 1])
        else:
            for i in range(size):
                states[i + 1].addcmul_(decay[i], states[i])
        return size

    def after(self, size: int) -> Tensor:
        """States after each position of the chunk."""
        return self.states[:size] if self.reverse else self.states[1 : size + 1]

    def before(self, size: int) -> Tensor:
        """States before each position of the chunk."""
        return self.states[1 : size + 1] if self.reverse else self.states[:size]

    def last(self, size: int) -> Tensor:
        """The state after the chunk."""
        return self.states[0 if self.reverse else size]


class ChunkedRecurrence(torch.autograd.Function):
    """y_t = C_t . h_t with h_t = exp(dt_t A) h_{t-1} + x_t B_t; time is the first axis.

    Only the state at the start of each chunk is kept; the backward pass recomputes the others.
    """

    @staticmethod
    def forward(  # noqa: PLR0917  autograd passes arguments by position
        ctx: Any,
        dt: Float[Tensor, "L B D"],
        x: Float[Tensor, "L B D"],
        B: Float[Tensor, "L B N"],  # noqa: N803
        C: Float[Tensor, "L B N"],  # noqa: N803
        A: Float[Tensor, "D N"],  # noqa: N803
        reverse: bool,
    ) -> Float[Tensor, "L B D"]:
        """Run the recurrence."""
        chunks = _Chunks(x, len(x), A.shape[1], reverse=reverse)
        keeps = any(ctx.needs_input_grad)
        state = x.new_zeros(*x.shape[1:], A.shape[1])
        borders: list[Tensor] = []
        y = torch.empty_like(x)
        for at in chunks.order():
            if keeps:
                borders.append(state)
            size = chunks.fill(dt[at], x[at], B[at], A, state)
            state = chunks.last(size).clone()
            y[at] = _over_state(C[at], chunks.after(size))
        ctx.reverse = reverse
        if keeps:
            ctx.save_for_backward(dt, x, B, C, A, *borders)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Gradients of dt, x, B, C and A, chunk by chunk against the order of the scan."""
        dt, x, B, C, A, *borders = ctx.saved_tensors  # noqa: N806
        (grad_y,) = gradients
        reverse: bool = ctx.reverse
        grad_y = grad_y.contiguous()
        chunks = _Chunks(x, len(x), A.shape[1], reverse=reverse)
        adjoint = torch.empty_like(chunks.decay)
        grad_dt, grad_x = torch.empty_like(dt), torch.empty_like(x)
        grad_b, grad_c, grad_a = torch.empty_like(B), torch.empty_like(C), torch.zeros_like(A)
        carry, ones = torch.zeros_like(borders[0]), A.new_ones(A.shape[1])
        for at, border in zip(reversed(chunks.order()), reversed(borders), strict=True):
            size = chunks.fill(dt[at], x[at], B[at], A, border)
            decay, g = chunks.decay[:size], adjoint[:size]
            torch.mul(grad_y[at, ..., None], C[at][:, :, None], out=g)
            _run_adjoint(g, decay, carry, reverse=reverse)
            first = size - 1 if reverse else 0
            carry = decay[first] * g[first]
            grad_c[at] = torch.matmul(grad_y[at].unsqueeze(2), chunks.after(size)).squeeze(2)
            grad_b[at] = torch.matmul(x[at].unsqueeze(2), g).squeeze(2)
            grad_x[at] = _over_state(B[at], g)
            # derivative with respect to the exponent dt A: adjoint * decay * state before.
            exponent = decay.mul_(g).mul_(chunks.before(size))
            grad_dt[at] = torch.mul(exponent, A, out=g).matmul(ones)
            grad_a += torch.mul(exponent, dt[at, ..., None], out=g).sum((0, 1))
        return grad_dt, grad_x, grad_b, grad_c, grad_a, None


def _over_state(
    weights: Float[Tensor, "L B N"], states: Float[Tensor, "L B D N"]
) -> Float[Tensor, "L B D"]:
    """Weighted sums over the state; weights on the left are four times as fast on a CPU."""
    return torch.matmul(weights.unsqueeze(-2), states.transpose(-1, -2)).squeeze(-2)


def _run_adjoint(g: Tensor, decay: Tensor, carry: Tensor, *, reverse: bool) -> None:
    """g_t += decay_{t+1} g_{t+1} in place, t + 1 being the next position of the scan."""
    rows, decays = g.unbind(0), decay.unbind(0)
    size = len(rows)
    rows[0 if reverse else size - 1].add_(carry)
    if reverse:
        for i in range(1, size):
            rows[i].addcmul_(decays[i - 1], rows[i - 1])
    else:
        for i in range(size - 2, -1, -1):
            rows[i].addcmul_(decays[i + 1], rows[i + 1])
