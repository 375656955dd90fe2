"""Rotary position embedding in the split-half layout, for queries and keys.

Shapes: B sequences, L positions, N heads (queries and keys may be stacked), E head width.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from dnamdlm.ops.held_tables import held


@held
def rotary_angles(
    length: int,
    head_size: int,
    *,
    base: float = 10000.0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Float[Tensor, "L 1 half"], Float[Tensor, "L 1 half"]]:
    """Cosine and sine of position * base^(-2i / head_size), i < head_size / 2.

    Computed once per forward pass and shared by all blocks, or once for many, see `holding_tables`.

    Source: Su et al. 2021 (arXiv:2104.09864), eq. 15.
    """
    exponents = torch.arange(0, head_size, 2, device=device, dtype=dtype) / head_size
    angles = torch.outer(torch.arange(length, device=device, dtype=dtype), base**-exponents)
    return angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)


def apply_rotary(
    x: Float[Tensor, "B L N E"],
    cos: Float[Tensor, "L 1 half"],
    sin: Float[Tensor, "L 1 half"],
) -> Float[Tensor, "B L N E"]:
    """Rotate the pairs (x_i, x_{i + E/2}) by the angles of their position.

    The product is taken in the type of the angles, float32 or wider, and rounded to that of `x`.
    The angles get no gradient.
    """
    if x.dtype == cos.dtype:
        return _turned(x, cos, sin)
    # half precision: autograd rounds the gradient of each product.
    first, second = x.chunk(2, dim=-1)
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return rotated.to(x.dtype)


class _Rotation(torch.autograd.Function):
    """Three passes over the values forwards and three backwards, which autograd would make 14."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate."""
        return _rotated(x, cos, sin)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the angles, not the values."""
        del output
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        """Rotate back."""
        cos, sin = ctx.saved_tensors
        return _turned(grad_outputs[0], cos, -sin), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # a function of its own takes longer to call than one sequence to rotate.
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _rotated(x, cos, sin)
    return cast("Tensor", _Rotation.apply(x, cos, sin))  # pyright: ignore[reportUnknownMemberType]


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[-1]
    out = x * torch.cat((cos, cos), dim=-1)
    # two operations each, since addcmul rounds once on some processors and twice on others.
    out[..., :half].sub_(x[..., half:] * sin)
    out[..., half:].add_(x[..., :half] * sin)
    return out
