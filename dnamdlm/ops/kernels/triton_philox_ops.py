"""Addressed uniform numbers by our Triton kernel as an operator of torch.

Shapes: B rows, n numbers of each.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import torch
from torch import Tensor

from dnamdlm.ops.kernels.programs.triton_language import ceil_div, launching

# counters of one program, each of which gives two numbers, and its warps.
BLOCK, WARPS = 256, 4
ROUNDS = 10


@torch.library.custom_op("dnamdlm::philox_uniforms", mutates_args=())
def philox_numbers(keys: Tensor, stream: int, low: int, high: int, count: int) -> Tensor:
    """Numbers (B, n) in float64 for keys (B,); `low` and `high` are the words of the draw."""
    from dnamdlm.ops.kernels.programs.triton_philox import philox_uniforms

    keys = keys.contiguous()
    out = keys.new_empty(len(keys), count, dtype=torch.float64)
    grid = (len(keys), ceil_div(count, 2 * BLOCK))
    with launching(keys.device):
        philox_uniforms[grid](
            keys, out, count, low, high, stream, ROUNDS=ROUNDS, BLOCK=BLOCK, num_warps=WARPS
        )
    return out


@philox_numbers.register_fake
def _(keys: Tensor, stream: int, low: int, high: int, count: int) -> Tensor:
    del stream, low, high
    return keys.new_empty(len(keys), count, dtype=torch.float64)
