"""The recurrence of the selective scan in plain torch: in chunks, with a backward pass of our own.

Only the state at the start of each chunk is kept; the backward pass recomputes the others.

Shapes: B sequences, L positions, D channels, N state size; below `time_first`, L is the first axis.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

# positions whose states are in memory at once; 16 and 32 fit into a cache and are fastest, and
# shorter chunks have more boundary states, which are kept.
CHUNK = 32


def chunked_recurrence(
    dt: Float[Tensor, "B L D"],
    x: Float[Tensor, "B L D"],
    B: Float[Tensor, "B L N"],  # noqa: N803  the paper's letters
    C: Float[Tensor, "B L N"],  # noqa: N803
    A: Float[Tensor, "D N"],  # noqa: N803
    *,
    reverse: bool,
) -> Float[Tensor, "B L D"]:
    """Compute y_t = C_t . h_t with h_t = exp(dt_t A) h_{t-1} + x_t B_t."""
    if torch.compiler.is_compiling():
        # one operator: there are several for every position.
        from dnamdlm.ops.chunked_recurrence_ops import recurrence_operator

        return recurrence_operator(dt, x, B, C, A, reverse=reverse)
    run: Any = ChunkedRecurrence.apply  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    y: Tensor = run(*time_first((dt, x, B, C)), A, reverse)
    return y.transpose(0, 1)


def time_first(moving: Sequence[Tensor]) -> list[Tensor]:
    """The tensors with their first two axes exchanged, in memory too.

    A chunk and a position are then contiguous blocks of memory.
    """
    return [tensor.transpose(0, 1).contiguous() for tensor in moving]


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


def recurrence_forward(
    inputs: Sequence[Tensor], *, reverse: bool, keeps: bool
) -> tuple[Float[Tensor, "L B D"], list[Float[Tensor, "B D N"]]]:
    """The result, and the states at the start of each chunk in the order of the scan, if kept.

    Args:
        inputs: dt, x, B, C and A, see `chunked_recurrence`.
        reverse: run from the last position to the first.
        keeps: whether a backward pass follows.
    """
    dt, x, B, C, A = inputs  # noqa: N806
    chunks = _Chunks(x, len(x), A.shape[1], reverse=reverse)
    state = x.new_zeros(*x.shape[1:], A.shape[1])
    borders: list[Tensor] = []
    y = torch.empty_like(x)
    for at in chunks.order():
        if keeps:
            borders.append(state)
        size = chunks.fill(dt[at], x[at], B[at], A, state)
        state = chunks.last(size).clone()
        y[at] = _over_state(C[at], chunks.after(size))
    return y, borders


def recurrence_backward(
    inputs: Sequence[Tensor],
    borders: Sequence[Float[Tensor, "B D N"]],
    grad_y: Float[Tensor, "L B D"],
    *,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Gradients of dt, x, B, C and A, chunk by chunk against the order of the scan."""
    dt, x, B, C, A = inputs  # noqa: N806
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
    return grad_dt, grad_x, grad_b, grad_c, grad_a


class ChunkedRecurrence(torch.autograd.Function):
    """The recurrence with its backward pass."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Float[Tensor, "L B D"]:
        """Run the recurrence; arguments: dt, x, B, C, A, reverse."""
        *inputs, ctx.reverse = arguments
        keeps = any(ctx.needs_input_grad)
        y, borders = recurrence_forward(inputs, reverse=ctx.reverse, keeps=keeps)
        if keeps:
            ctx.save_for_backward(*inputs, *borders)
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the five tensors, None for the direction."""
        saved, (grad_y,) = ctx.saved_tensors, gradients
        return *recurrence_backward(saved[:5], saved[5:], grad_y, reverse=ctx.reverse), None


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
