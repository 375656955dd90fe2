"""Scaled-dot-product attention over sequences with padding, and optional causal or local reach.

Shapes: B sequences, H heads, L positions, E head width. Position i attends to position j if j is
valid, and j <= i where causal, and |i - j| <= window where a window is set. A position that is not
valid is neither attended to nor computed: its output is zero.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.kernels.flash_attention import FLASH_ATTENTION, flash_attention
from dnamdlm.ops.selection import Mode, choose


@dataclass(frozen=True)
class AttentionPattern:
    """Who attends to whom; built once per forward pass and shared by all blocks.

    Attributes:
        valid: (B, L), False marks padding; None means no padding.
        causal: only positions up to the own one are seen.
        window: greatest distance that is seen, in positions; 0 means any.
        allowed: (B or 1, 1, L, L), True where query (third axis) sees key (last axis); None
            means everywhere. The diagonal is True even at padding, so that no row is empty.
    """

    valid: Bool[Tensor, "B L"] | None = None
    causal: bool = False
    window: int = 0
    allowed: Bool[Tensor, "rows 1 L L"] | None = None


def attention_pattern(
    length: int,
    *,
    device: torch.device,
    valid: Bool[Tensor, "B L"] | None = None,
    causal: bool = False,
    window: int = 0,
) -> AttentionPattern:
    """Build the pattern for sequences of one length.

    Args:
        length: number of positions, padding included.
        device: where the mask shall lie.
        valid: False marks padding; None means no padding.
        causal: see only positions up to the own one.
        window: greatest distance that is seen, in positions; 0 means any.

    Raises:
        ValueError: if the window is negative.
    """
    if window < 0:
        raise ValueError(f"the attention window must be 0 (off) or positive, got {window}")
    if window >= length - 1:
        window = 0
    if valid is None and not causal and not window:
        return AttentionPattern()
    position = torch.arange(length, device=device)
    distance = position[:, None] - position
    allowed = torch.ones(1, 1, length, length, dtype=torch.bool, device=device)
    if causal:
        allowed = allowed & (distance >= 0)
    if window:
        allowed = allowed & (distance.abs() <= window)
    if valid is not None:
        allowed = (allowed & valid[:, None, None, :]) | (distance == 0)
    return AttentionPattern(valid, causal, window, allowed)


def attention(
    q: Float[Tensor, "B H L E"],
    k: Float[Tensor, "B H L E"],
    v: Float[Tensor, "B H L E"],
    pattern: AttentionPattern | None = None,
    *,
    mode: Mode | None = None,
) -> Float[Tensor, "B H L E"]:
    """Compute softmax(q k^T / sqrt(E)) v under a pattern; zero at positions that are not valid.

    Args:
        q: queries.
        k: keys.
        v: values.
        pattern: who attends to whom; None means everyone to everyone.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and flash-attn cannot run here.
    """
    pattern = AttentionPattern() if pattern is None else pattern
    obstacle = None
    if pattern.window and pattern.valid is not None:
        obstacle = "packing would move padded positions inside a local window"
    chosen = choose(
        "attention", q.device, q.dtype, fused=FLASH_ATTENTION, obstacle=obstacle, mode=mode
    )
    if chosen == "fused":
        return flash_attention(
            q, k, v, valid=pattern.valid, causal=pattern.causal, window=pattern.window
        )
    out = (_reference if chosen == "reference" else _portable)(q, k, v, pattern)
    if pattern.valid is None:
        return out
    return torch.where(pattern.valid[:, None, :, None], out, 0.0)


def _reference(q: Tensor, k: Tensor, v: Tensor, pattern: AttentionPattern) -> Tensor:
    """The definition, with the whole (L, L) table of weights."""
    scores = torch.einsum("bhie,bhje->bhij", q, k) / q.shape[-1] ** 0.5
    if pattern.allowed is not None:
        scores = scores.masked_fill(~pattern.allowed, float("-inf"))
    return torch.einsum("bhij,bhje->bhie", scores.softmax(-1), v)


def _portable(q: Tensor, k: Tensor, v: Tensor, pattern: AttentionPattern) -> Tensor:
    """The fused operator of torch, present on every device."""
    if pattern.causal and pattern.valid is None and not pattern.window:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=pattern.allowed)
