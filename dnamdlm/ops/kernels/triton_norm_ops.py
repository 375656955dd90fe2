"""Our Triton norms as operators of torch: residual sum, norm and modulation in one launch.

Shapes: B sequences, L positions, D channels. A gate, shift or scale belongs to a sequence.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# ruff: noqa: PLR0917  operators take their arguments by position
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dnamdlm.ops.kernels.programs.triton_language import ceil_div, launching, power_of_two

# entries of one tile where rows are short, tiles of one program of the backward pass.
TILE, SPAN = 1024, 32
FEWEST_CHANNELS, FEWEST_WARPS, ENTRIES_OF_A_WARP = 16, 4, 256


def triton_norm(
    x: Float[Tensor, "*rows D"],
    gain: Float[Tensor, " D"],
    bias: Float[Tensor, " D"] | None,
    *,
    centred: bool,
    eps: float,
    branch: Float[Tensor, "*rows D"] | None = None,
    gate: Float[Tensor, "B 1 D"] | None = None,
    modulation: tuple[Float[Tensor, "B 1 D"], Float[Tensor, "B 1 D"]] | None = None,
) -> tuple[Float[Tensor, "*rows D"], Float[Tensor, "*rows D"]]:
    """The sum x + gate * branch, and its norm in float32, modulated.

    With a gate or a modulation the rows are (B, L).

    Args:
        x: input; without a branch it is the sum.
        gain: factor of each channel.
        bias: added to each channel after the gain, or None.
        centred: subtract the mean of the channels first.
        eps: added to the mean of squares.
        branch: added to `x`, or None.
        gate: factor of the branch, or None.
        modulation: shift and scale of the norm, or None.
    """
    shift, scale = (None, None) if modulation is None else modulation
    made = _norm_forward(x, gain, bias, branch, gate, shift, scale, eps, centred)
    return (x if branch is None else made[1]), made[0]


@dataclass(frozen=True)
class _Launch:
    """Sizes of one launch.

    Attributes:
        batch: sequences, one if nothing belongs to a sequence.
        length: positions of each.
        rows: positions of one tile.
        block: channels of one tile.
    """

    batch: int
    length: int
    rows: int
    block: int

    @classmethod
    def of(cls, x: Tensor, *by_sequence: Tensor | None) -> "_Launch":
        """The sizes for an input and what belongs to its sequences."""
        block = power_of_two(max(x.shape[-1], FEWEST_CHANNELS))
        count = x.numel() // x.shape[-1]
        batch = 1 if all(one is None for one in by_sequence) else x.shape[0]
        return cls(batch, count // batch, max(TILE // block, 1), block)

    @property
    def warps(self) -> int:
        """Warps of one program."""
        return max(self.rows * self.block // ENTRIES_OF_A_WARP, FEWEST_WARPS)


def _options(
    launch: _Launch, centred: bool, eps: float, branch: bool, gate: bool, bias: bool, scale: bool
) -> dict[str, Any]:
    """The compile-time constants of both kernels."""
    return {
        "CENTRED": centred,
        "EPS": eps,
        "HAS_BRANCH": branch,
        "HAS_GATE": gate,
        "HAS_BIAS": bias,
        "MODULATED": scale,
        "ROWS": launch.rows,
        "BLOCK": launch.block,
        "num_warps": launch.warps,
    }


@torch.library.custom_op("dnamdlm::norm_forward", mutates_args=())
def _norm_forward(
    x: Tensor,
    gain: Tensor,
    bias: Tensor | None,
    branch: Tensor | None,
    gate: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    eps: float,
    centred: bool,
) -> list[Tensor]:
    """The norm and, if there is a branch, the sum."""
    from dnamdlm.ops.kernels.programs.triton_norm import norm_forward

    made = _forward_outputs(x, branch)
    launch = _Launch.of(x, gate, scale)
    tiles = ceil_div(launch.length, launch.rows)
    # what is absent is not read, and any tensor may take its place.
    x, gain = x.contiguous(), gain.contiguous()
    each = [_channels_adjacent(one, x) for one in (gate, shift, scale)]
    others = [x if one is None else one.contiguous() for one in (branch, bias)]
    with launching(x.device):
        norm_forward[(launch.batch * tiles,)](
            x, others[0], each[0], gain, others[1], *each[1:], made[-1], made[0], launch.length,
            x.shape[-1], tiles, *(one.stride(0) for one in each),
            **_options(launch, centred, eps, branch is not None, gate is not None,
                       bias is not None, scale is not None),
        )  # fmt: skip
    return made


@_norm_forward.register_fake
def _(x: Tensor, _gain: Tensor, _bias: Any, branch: Tensor | None, *_others: Any) -> list[Tensor]:
    return _forward_outputs(x, branch)


def _forward_outputs(x: Tensor, branch: Tensor | None) -> list[Tensor]:
    """Memory for what the forward pass makes."""
    out = x.new_empty(x.shape, dtype=torch.float32)
    if branch is None:
        return [out]
    return [out, x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, branch.dtype))]


def _channels_adjacent(one: Tensor | None, instead: Tensor) -> Tensor:
    """With channels adjacent in memory; a tensor of any kind where there is none."""
    if one is None:
        return instead
    return one if one.stride(-1) == 1 else one.contiguous()


@torch.library.custom_op("dnamdlm::norm_backward", mutates_args=())
def _norm_backward(
    gradient: Tensor,
    of_sum: Tensor | None,
    total: Tensor,
    gain: Tensor,
    bias: Tensor | None,
    branch: Tensor | None,
    gate: Tensor | None,
    scale: Tensor | None,
    x_type: torch.dtype,
    branch_type: torch.dtype | None,
    eps: float,
    centred: bool,
) -> list[Tensor]:
    """The gradients of x, of branch if it has one of its own, and of the others by sequence.

    Args:
        gradient: of the norm.
        of_sum: gradient of the sum, or None.
        total: the sum.
        gain: as in the forward pass, as are those that follow.
        bias: see there.
        branch: given if there is a gate.
        gate: see there.
        scale: see there.
        x_type: element type of the gradient of x.
        branch_type: of that of branch; None if it is the gradient of x.
        eps: see there.
        centred: see there.
    """
    from dnamdlm.ops.kernels.programs.triton_norm import norm_backward

    launch = _Launch.of(total, gate, scale)
    *made, _ = _backward_outputs(total, bias, gate, scale, x_type, branch_type)
    spans = ceil_div(launch.length, launch.rows * SPAN)
    total, gradient, gain = total.contiguous(), gradient.contiguous(), gain.contiguous()
    count = _count(bias, gate, scale)
    parts = total.new_empty(launch.batch, spans, count, total.shape[-1], dtype=torch.float32)
    each = [_channels_adjacent(one, total) for one in (gate, scale)]
    others = [total if one is None else one.contiguous() for one in (of_sum, branch, bias)]
    with launching(total.device):
        norm_backward[(launch.batch * spans,)](
            total, gradient, others[0], others[1], each[0], gain, others[2], each[1], made[0],
            made[-1], parts, launch.length, total.shape[-1], spans,
            *(one.stride(0) for one in each), HAS_SUM_GRAD=of_sum is not None, COUNT=count,
            SPAN=SPAN,
            **_options(launch, centred, eps, branch_type is not None, gate is not None,
                       bias is not None, scale is not None),
        )  # fmt: skip
    return [*made, parts.sum(1)]


@_norm_backward.register_fake
def _(
    _gradient: Tensor, _of_sum: Any, total: Tensor, _gain: Tensor, bias: Tensor | None,
    _branch: Any, gate: Tensor | None, scale: Tensor | None, x_type: torch.dtype,
    branch_type: torch.dtype | None, *_others: Any,
) -> list[Tensor]:  # fmt: skip
    return _backward_outputs(total, bias, gate, scale, x_type, branch_type)


def _count(bias: Tensor | None, gate: Tensor | None, scale: Tensor | None) -> int:
    """Gradients that are sums over positions: of the gain, bias, shift and scale, and gate."""
    return 1 + (bias is not None) + 2 * (scale is not None) + (gate is not None)


def _backward_outputs(
    total: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    scale: Tensor | None,
    x_type: torch.dtype,
    branch_type: torch.dtype | None,
) -> list[Tensor]:
    """Memory for what the backward pass makes."""
    batch = _Launch.of(total, gate, scale).batch
    shape = (batch, _count(bias, gate, scale), total.shape[-1])
    types = [x_type] if branch_type is None else [x_type, branch_type]
    moving = [total.new_empty(total.shape, dtype=one) for one in types]
    return [*moving, total.new_empty(shape, dtype=torch.float32)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """Keep what the backward pass reads."""
    x, gain, bias, branch, gate, shift, scale, *options = inputs
    total = x if branch is None else output[1]
    ctx.save_for_backward(total, gain, bias, None if gate is None else branch, gate, scale)
    # without a gate the gradient of the branch is that of x, but for its type.
    branch_type = None if branch is None else branch.dtype
    ctx.types = (x.dtype, None if gate is None and branch_type == x.dtype else branch_type)
    ctx.has_branch = branch is not None
    ctx.of_shift = None if shift is None else shift.dtype
    ctx.options = options
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    """Gradients of the tensors, in their order and types."""
    total, gain, bias, branch, gate, scale = ctx.saved_tensors
    gradient, of_sum = gradients[0], gradients[1] if len(gradients) == 2 else None
    if gradient is None:
        gradient = torch.zeros_like(total, dtype=torch.float32)
    *moving, each = _norm_backward(
        gradient, of_sum, total, gain, bias, branch, gate, scale, *ctx.types, *ctx.options
    )
    fixed = 1 if bias is None else 2
    for_all = each[0] if len(each) == 1 else each[:, :fixed].sum(0)
    by_row = each[:, fixed:].unsqueeze(2).unbind(1)
    for_branch = moving[-1] if ctx.has_branch else None
    for_bias = None if bias is None else for_all[1].to(bias.dtype)
    for_gate = None if gate is None else by_row[-1].to(gate.dtype)
    for_shift, for_scale = None, None
    if scale is not None:
        for_shift, for_scale = by_row[0].to(ctx.of_shift), by_row[1].to(scale.dtype)
    return (
        moving[0], for_all[0].to(gain.dtype), for_bias, for_branch, for_gate, for_shift, for_scale,
        None, None,
    )  # fmt: skip


_norm_forward.register_autograd(_backward, setup_context=_setup)
