"""The compiled scan for CPUs as operators of torch, of which torch.compile sees shapes alone.

Imported at the first use, since torch takes a while to register operators.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any

import torch
from torch import Tensor

from dnamdlm.ops.kernels.compiled_scan import (
    contiguous,
    num_border_states,
    scan_backward,
    scan_forward,
)


def scan_operator(
    tensors: list[Tensor], z: Tensor | None, *, softplus: bool, reverse: bool
) -> Tensor:
    """The same as `CompiledScan`, bit for bit, as one node of a graph.

    Args:
        tensors: u, delta, A, B, C, D, delta_bias.
        z: gate, or None.
        softplus: apply softplus to delta + delta_bias.
        reverse: run from the last position to the first.
    """
    given = tensors if z is None else [*tensors, z]
    keeps = torch.is_grad_enabled() and any(x.requires_grad for x in given)
    return _forward(given, softplus, reverse, keeps)[0]


def _complete(tensors: list[Tensor]) -> list[Tensor | None]:
    """With None for an absent gate."""
    return contiguous(tensors if len(tensors) == 8 else [*tensors, None])


@torch.library.custom_op("dnamdlm::compiled_scan_forward", mutates_args=())
def _forward(tensors: list[Tensor], softplus: bool, reverse: bool, keeps: bool) -> list[Tensor]:
    """The result, and the states at the boundaries of chunks."""
    out, borders = scan_forward(_complete(tensors), softplus=softplus, reverse=reverse, keeps=keeps)
    return [out, out.new_empty(0) if borders is None else borders]


@_forward.register_fake
def _(tensors: list[Tensor], softplus: bool, reverse: bool, keeps: bool) -> list[Tensor]:
    del softplus, reverse
    u = tensors[0]
    kept = num_border_states([int(size) for size in u.shape]) if keeps else 0
    return [u.new_empty(u.shape), u.new_empty(kept)]


@torch.library.custom_op("dnamdlm::compiled_scan_backward", mutates_args=())
def _backward(
    tensors: list[Tensor], borders: Tensor, gradient: Tensor, softplus: bool, reverse: bool
) -> list[Tensor]:
    """Gradients of the tensors."""
    found = scan_backward(_complete(tensors), borders, gradient, softplus=softplus, reverse=reverse)
    return [x for x in found if x is not None]


@_backward.register_fake
def _(tensors: list[Tensor], *_others: Any) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in tensors]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """Keep what the backward pass reads."""
    tensors, ctx.softplus, ctx.reverse, _ = inputs
    ctx.save_for_backward(*tensors, output[1])


def _gradients(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    """Gradients of the tensors, in their order."""
    *tensors, borders = ctx.saved_tensors
    return _backward(tensors, borders, gradients[0], ctx.softplus, ctx.reverse), None, None, None


_forward.register_autograd(_gradients, setup_context=_setup)
