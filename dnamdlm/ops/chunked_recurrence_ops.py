"""The chunked recurrence as operators of torch, of which torch.compile sees shapes alone.

Imported at the first use, since torch takes a while to register operators.

Shapes: L positions, B sequences, D channels, N state size.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from typing import Any

import torch
from torch import Tensor

from dnamdlm.ops.chunked_recurrence import (
    CHUNK,
    recurrence_backward,
    recurrence_forward,
    time_first,
)


def recurrence_operator(*inputs: Tensor, reverse: bool) -> Tensor:
    """The same as `chunked_recurrence`, bit for bit, as one node of a graph."""
    keeps = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    return _forward(list(inputs), reverse, keeps)[0]


@torch.library.custom_op("dnamdlm::recurrence_forward", mutates_args=())
def _forward(inputs: list[Tensor], reverse: bool, keeps: bool) -> list[Tensor]:
    """The result, and the states at the start of each chunk, (chunks, B, D, N)."""
    *moving, rates = inputs
    first = [*time_first(moving), rates]
    y, borders = recurrence_forward(first, reverse=reverse, keeps=keeps)
    return [*time_first([y]), torch.stack(borders) if keeps else y.new_empty(0)]


@_forward.register_fake
def _(inputs: list[Tensor], reverse: bool, keeps: bool) -> list[Tensor]:
    del reverse
    x, rates = inputs[1], inputs[4]
    batch, length, _ = x.shape
    shape = (-(-length // CHUNK), batch, *rates.shape) if keeps else (0,)
    return [x.new_empty(x.shape), x.new_empty(shape)]


@torch.library.custom_op("dnamdlm::recurrence_backward", mutates_args=())
def _backward(
    inputs: list[Tensor], borders: Tensor, gradient: Tensor, reverse: bool
) -> list[Tensor]:
    """Gradients of dt, x, B, C and A."""
    *moving, rates = inputs
    first = [*time_first(moving), rates]
    (grad_y,) = time_first([gradient])
    *found, grad_rates = recurrence_backward(first, borders.unbind(0), grad_y, reverse=reverse)
    return [*time_first(found), grad_rates]


@_backward.register_fake
def _(inputs: list[Tensor], *_others: Any) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in inputs]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """Keep what the backward pass reads."""
    tensors, ctx.reverse, _ = inputs
    ctx.save_for_backward(*tensors, output[1])


def _gradients(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    """Gradients of the tensors, in their order."""
    *tensors, borders = ctx.saved_tensors
    return _backward(tensors, borders, gradients[0], ctx.reverse), None, None


_forward.register_autograd(_gradients, setup_context=_setup)
