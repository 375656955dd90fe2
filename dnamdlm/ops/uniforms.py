"""Addressed uniform numbers in one kernel, for `dnamdlm.diffusion.randomness`, on a GPU.

In plain torch they take some 160 launches, of integers; here one, with the same bits.

Shapes: B rows, n numbers of each.
"""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from dnamdlm.ops.kernels.triton_slots import TRITON_UNIFORMS
from dnamdlm.ops.selection import FusedKernel, Mode, choose, first_usable, give_up

UNIFORMS = TRITON_UNIFORMS.primitive
LOW_32 = 0xFFFFFFFF


def uniform_kernels(device: torch.device) -> list[FusedKernel]:
    """The fused kernels of uniform numbers for a device."""
    return [TRITON_UNIFORMS] if device.type == "cuda" else []


def fused_uniforms(
    keys: Int64[Tensor, " B"], stream: int, draw: int, count: int, *, mode: Mode | None = None
) -> Float64[Tensor, "B n"] | None:
    """The first n numbers of each row, or None where they are to be made in plain torch.

    Args:
        keys: of the rows.
        stream: purpose of the numbers, in [0, 2**32).
        draw: number of the use of this purpose, in [0, 2**64).
        count: n.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and the kernel cannot run here.
    """
    device, dtype = keys.device, torch.float64
    kernel = first_usable(UNIFORMS, uniform_kernels(device), device, dtype)
    if kernel is None or count == 0 or len(keys) == 0:
        return None
    if choose(UNIFORMS, device, dtype, fused=kernel, mode=mode) != "fused":
        return None
    from dnamdlm.ops.kernels.triton_philox_ops import philox_numbers

    try:
        return philox_numbers(keys, stream, draw & LOW_32, draw >> 32, count)
    except RuntimeError as error:
        give_up(kernel, error, mode=mode)
    return None
