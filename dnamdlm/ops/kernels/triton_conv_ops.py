"""Our Triton convolutions as operators of torch, one direction or both in one launch.

Shapes: B sequences, L positions, D channels, K taps.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# ruff: noqa: PLR0917  operators take their arguments by position
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnamdlm.ops.kernels.programs.triton_language import ceil_div, launching, power_of_two

# positions and channels of one tile, tiles of one program of the backward pass, and its warps.
ROWS, BLOCK, SPAN, WARPS = 32, 64, 16, 4


def triton_conv(
    x: Float[Tensor, "B L D"],
    weights: list[Float[Tensor, "D K"]],
    biases: list[Float[Tensor, " D"]],
    *,
    offset: int,
    active: bool,
    reverse: bool,
    present: Bool[Tensor, "B L"] | None,
) -> list[Float[Tensor, "B L D"]]:
    """Convolve in the direction of each filter; the results have the type of `x`.

    Args:
        x: input.
        weights: the filter of one direction, or of the forward and the reverse one.
        biases: as many, or none.
        offset: the tap that belongs to the position itself.
        active: apply SiLU.
        reverse: the direction, if there is one; two are forward and reverse.
        present: False marks padding, whose values count as zero.
    """
    return list(_conv_forward(x, weights, biases, present, offset, active, reverse))


def _options(
    weights: list[Tensor],
    biases: list[Tensor],
    present: Tensor | None,
    offset: int,
    active: bool,
    reverse: bool,
) -> dict[str, Any]:
    """The compile-time constants of both kernels."""
    return {
        "REVERSE": int(reverse and len(weights) == 1),
        "DIRECTIONS": len(weights),
        "HAS_PRESENT": present is not None,
        "HAS_BIAS": bool(biases),
        "ACTIVE": active,
        "OFFSET": offset,
        "K": weights[0].shape[1],
        "ROWS": ROWS,
        "BLOCK": BLOCK,
        "num_warps": WARPS,
    }


@torch.library.custom_op("dnamdlm::conv_forward", mutates_args=())
def _conv_forward(
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    present: Tensor | None,
    offset: int,
    active: bool,
    reverse: bool,
) -> list[Tensor]:
    """The outputs of each direction."""
    from dnamdlm.ops.kernels.programs.triton_conv import conv_forward

    x, padding = _rows_apart(x), x if present is None else present.contiguous()
    batch, length, channels = x.shape
    outs = [x.new_empty(x.shape) for _ in weights]
    fixed = _fixed(weights, biases)
    tiles = ceil_div(length, ROWS)
    grid = (batch * tiles, ceil_div(channels, BLOCK), len(weights))
    with launching(x.device):
        conv_forward[grid](
            x, *fixed[0], outs[0], *fixed[-1], outs[-1], padding, length, channels, tiles,
            *x.stride()[:2], **_options(weights, biases, present, offset, active, reverse),
        )  # fmt: skip
    return outs


@_conv_forward.register_fake
def _(x: Tensor, weights: list[Tensor], *_others: Any) -> list[Tensor]:
    return [x.new_empty(x.shape) for _ in weights]


def _rows_apart(x: Tensor) -> Tensor:
    """With channels adjacent in memory."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _fixed(weights: list[Tensor], biases: list[Tensor]) -> list[list[Tensor]]:
    """Filter and bias of each direction; the filter stands for a bias that is absent."""
    return [
        [weight.contiguous(), (biases[i] if biases else weight).contiguous()]
        for i, weight in enumerate(weights)
    ]


@torch.library.custom_op("dnamdlm::conv_backward", mutates_args=())
def _conv_backward(
    gradients: list[Tensor],
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    present: Tensor | None,
    offset: int,
    active: bool,
    reverse: bool,
) -> list[Tensor]:
    """The gradient of x, and those of filters and biases as (direction, K + 1, D)."""
    from dnamdlm.ops.kernels.programs.triton_conv import conv_backward

    dx, summed = _backward_outputs(x, weights)
    x, padding = _rows_apart(x), x if present is None else present.contiguous()
    batch, length, channels = x.shape
    grads = [grad.contiguous() for grad in gradients]
    fixed = _fixed(weights, biases)
    spans = ceil_div(length, ROWS * SPAN)
    parts = summed.new_empty(batch * spans, *summed.shape)
    with launching(x.device):
        conv_backward[batch * spans, ceil_div(channels, BLOCK), 1](
            x, *fixed[0], grads[0], *fixed[-1], grads[-1], padding, dx, parts, length, channels,
            spans, *x.stride()[:2], TAPS=power_of_two(weights[0].shape[1] + 1), SPAN=SPAN,
            **_options(weights, biases, present, offset, active, reverse),
        )  # fmt: skip
    torch.sum(parts, 0, out=summed)
    return [dx, summed]


@_conv_backward.register_fake
def _(_gradients: list[Tensor], x: Tensor, weights: list[Tensor], *_others: Any) -> list[Tensor]:
    return _backward_outputs(x, weights)


def _backward_outputs(x: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """Memory for what the backward pass makes."""
    channels, width = weights[0].shape
    summed = x.new_empty(len(weights), width + 1, channels, dtype=torch.float32)
    return [x.new_empty(x.shape), summed]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """Keep what the backward pass reads."""
    x, weights, biases, present, *options = inputs
    ctx.save_for_backward(x, *weights, *biases, present)
    ctx.count, ctx.options = len(weights), options


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    """Gradients of the tensors, in their order and types."""
    x, *fixed, present = ctx.saved_tensors
    weights, biases = fixed[: ctx.count], fixed[ctx.count :]
    dx, summed = _conv_backward(gradients, x, weights, biases, present, *ctx.options)
    for_weights = [summed[i, :-1].t().to(weight.dtype) for i, weight in enumerate(weights)]
    for_biases = [summed[i, -1].to(bias.dtype) for i, bias in enumerate(biases)]
    return dx, for_weights, for_biases, None, None, None, None


_conv_forward.register_autograd(_backward, setup_context=_setup)
