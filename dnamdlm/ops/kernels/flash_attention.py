"""flash-attn behind the attention primitive: packed sequences, half precision, CUDA.

Signatures as in flash-attn 2.8 (`flash_attn_varlen_func`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
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


MAX_HEAD_SIZE = 256
FLASH_ATTENTION = FusedKernel("attention", "flash-attn", load, refusal)


class Packing(NamedTuple):
    """Where the present positions of a batch are; finding them waits for the device once.

    Attributes:
        kept: their numbers in the flattened batch; None without padding.
        offsets: where each sequence starts among them, and the end of the last.
    """

    kept: Int[Tensor, " N"] | None
    offsets: Int[Tensor, " B1"]


def packing_of(
    batch: int, length: int, present: Bool[Tensor, "B L"] | None, device: torch.device
) -> Packing:
    """The packing of a batch; `present` is False at padding, None means no padding."""
    if present is None:
        ends = torch.arange(1, batch + 1, device=device, dtype=torch.int32) * length
        kept = None
    else:
        ends = present.sum(-1).cumsum(0).to(torch.int32)
        kept = present.flatten().nonzero().squeeze(-1)
    return Packing(kept, torch.cat((ends.new_zeros(1), ends)))


def flash_attention(
    q: Float[Tensor, "B H L E"],
    k: Float[Tensor, "B H L E"],
    v: Float[Tensor, "B H L E"],
    *,
    packing: Packing,
    causal: bool,
    window: int,
) -> Float[Tensor, "B H L E"]:
    """Attention over the present positions alone; zero elsewhere.

    The backward pass adds in a fixed order, so that a run has the same bits each time. With a
    window, padding may stand at the ends only: packing would close gaps inside.
    """
    batch, _, length, _ = q.shape
    kept, offsets = packing
    packed = [x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)]
    if kept is not None:
        packed = [x[kept] for x in packed]
    reach = (window, 0 if causal else window) if window else (-1, -1)
    out: Tensor = load()(
        *packed, offsets, offsets, length, length,
        causal=causal, window_size=reach, deterministic=True,
    )  # fmt: skip
    if kept is not None:
        empty = torch.zeros(batch * length, *out.shape[1:], device=out.device, dtype=out.dtype)
        out = empty.index_copy(0, kept, out)
    return out.reshape(batch, length, *out.shape[1:]).transpose(1, 2)
