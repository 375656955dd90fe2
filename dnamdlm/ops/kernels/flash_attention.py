"""flash-attn behind the attention primitive: packed sequences, half precision, CUDA.

Signatures as in flash-attn 2.8 (`flash_attn_varlen_func`).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnamdlm.ops.selection import FusedKernel


def load() -> Callable[..., Any]:
    """Import the entry of flash-attn for packed sequences; raises ImportError where absent."""
    from flash_attn import (  # pyright: ignore[reportMissingImports]
        flash_attn_varlen_func,  # pyright: ignore[reportUnknownVariableType]
    )

    return flash_attn_varlen_func  # pyright: ignore[reportUnknownVariableType]


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why flash-attn cannot serve this device and element type, or None."""
    if device.type != "cuda":
        return f"flash-attn runs on CUDA devices, not on {device.type}"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"flash-attn computes in float16 or bfloat16, not in {dtype}"
    return None


FLASH_ATTENTION = FusedKernel("attention", "flash-attn", load, refusal)


def flash_attention(
    q: Float[Tensor, "B H L E"],
    k: Float[Tensor, "B H L E"],
    v: Float[Tensor, "B H L E"],
    *,
    present: Bool[Tensor, "B L"] | None,
    causal: bool,
    window: int,
) -> Float[Tensor, "B H L E"]:
    """Attention over the present positions alone; zero elsewhere.

    With a window, `present` may mark padding at the ends only: packing would close gaps inside.
    """
    batch, _, length, _ = q.shape
    kept = None if present is None else present.flatten().nonzero().squeeze(-1)
    if present is None:
        ends = torch.arange(1, batch + 1, device=q.device, dtype=torch.int32) * length
    else:
        ends = present.sum(-1).cumsum(0).to(torch.int32)
    offsets = torch.cat((ends.new_zeros(1), ends))
    packed = [x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)]
    if kept is not None:
        packed = [x[kept] for x in packed]
    reach = (window, 0 if causal else window) if window else (-1, -1)
    out: Tensor = load()(
        *packed, offsets, offsets, length, length, causal=causal, window_size=reach
    )
    if kept is not None:
        empty = torch.zeros(batch * length, *out.shape[1:], device=out.device, dtype=out.dtype)
        out = empty.index_copy(0, kept, out)
    return out.reshape(batch, length, *out.shape[1:]).transpose(1, 2)
