"""Scaled-dot-product attention over sequences with padding, and optional causal or local reach.

Shapes: B sequences, H heads, L positions, E head width. Position i attends to position j if j is
present (not padding), and j <= i where causal, and |i - j| <= window where a window is set. Padding
is neither attended to nor computed: its output is zero.
"""

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.held_tables import held
from dnamdlm.ops.kernels.flash_attention import (
    FLASH_ATTENTION,
    MAX_HEAD_SIZE,
    Packing,
    flash_attention,
    packing_of,
)
from dnamdlm.ops.selection import Mode, choose

# sequences of at least this many windows are cut into blocks instead of masked
BLOCKED_FROM = 4


@dataclass(frozen=True)
class AttentionPattern:
    """Which position attends to which; built once per forward pass and shared by all blocks.

    Attributes:
        present: (B, L), False marks padding; None means no padding.
        causal: a position attends to itself and earlier positions.
        window: largest distance attended to, in positions; 0 means any.
        mask: True where a query attends to a key, for the portable implementation: (B, 1, 1, L)
            for padding alone, (B or 1, 1, L, L) in general, (B or 1, blocks, window, 3 window)
            if `is_blocked`; None means everywhere. Queries at padding attend to something, so that
            no row is empty.
        is_blocked: the sequence is cut into blocks of the length of the window, each of which
            attends to itself and its two neighbours: time and memory grow with L, not its square.
        is_explicit: `mask` alone decides, and keys may outnumber queries; no query has no key.
    """

    present: Bool[Tensor, "B L"] | None = None
    causal: bool = False
    window: int = 0
    mask: Bool[Tensor, "rows groups queries keys"] | None = None
    is_blocked: bool = False
    is_explicit: bool = False
    _added: dict[tuple[int, torch.dtype], Tensor] = field(
        default_factory=lambda: {}, init=False, repr=False, compare=False
    )
    _packings: dict[tuple[int, int], Packing] = field(
        default_factory=lambda: {}, init=False, repr=False, compare=False
    )

    def packing(self, batch: int, length: int, device: torch.device) -> Packing:
        """Where the present positions of a batch are. Found once and shared by all layers."""
        shape = (batch, length)
        if shape not in self._packings:
            self._packings[shape] = packing_of(batch, length, self.present, device)
        return self._packings[shape]

    def added_to_scores(
        self, batch: int, dtype: torch.dtype
    ) -> Float[Tensor, "groups 1 queries keys"] | None:
        """The mask of all blocks of a batch in numbers: 0 where a query attends, else -inf.

        Made once and shared by all layers.
        """
        if self.mask is None:
            return None
        if torch.compiler.is_compiling():
            # nothing outside of a block that is computed again may be changed by it.
            return _added_to_scores(self.mask, batch, dtype)
        if (batch, dtype) not in self._added:
            # one size at a time: a pattern may outlive its batch.
            self._added.clear()
            self._added[batch, dtype] = _added_to_scores(self.mask, batch, dtype)
        return self._added[batch, dtype]


def _added_to_scores(
    mask: Bool[Tensor, "rows blocks queries keys"], batch: int, dtype: torch.dtype
) -> Float[Tensor, "groups 1 queries keys"]:
    """See `AttentionPattern.added_to_scores`."""
    numbers = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    numbers.masked_fill_(~mask, float("-inf"))
    shape = (-1, 1, *mask.shape[2:])
    return numbers.expand(batch, -1, -1, -1).reshape(shape)


def attention_pattern(
    length: int,
    *,
    device: torch.device,
    present: Bool[Tensor, "B L"] | None = None,
    causal: bool = False,
    window: int = 0,
) -> AttentionPattern:
    """Build the pattern for sequences of one length.

    Args:
        length: number of positions, padding included.
        device: device of the mask.
        present: False marks padding; None means no padding.
        causal: attend to the position itself and earlier ones alone.
        window: largest distance attended to, in positions; 0 means any.

    Raises:
        ValueError: if the window is negative.
    """
    if present is None:
        return _unpadded(length, device, causal=causal, window=window)
    return _built(length, device, present, causal=causal, window=window)


@held
def _unpadded(length: int, device: torch.device, *, causal: bool, window: int) -> AttentionPattern:
    """The pattern without padding, which many forward passes may share."""
    return _built(length, device, None, causal=causal, window=window)


def _built(
    length: int,
    device: torch.device,
    present: Bool[Tensor, "B L"] | None,
    *,
    causal: bool,
    window: int,
) -> AttentionPattern:
    """The pattern; arguments as in `attention_pattern`."""
    if window < 0:
        raise ValueError(f"the attention window must be 0 (off) or positive, got {window}")
    if window >= length - 1:
        window = 0
    if not causal and not window:
        if present is None:
            return AttentionPattern()
        keys = present | ~present.any(-1, keepdim=True)
        return AttentionPattern(present, mask=keys[:, None, None, :])
    is_blocked = window > 0 and length >= BLOCKED_FROM * window
    position = torch.arange(length, device=device)
    if is_blocked:
        # block b holds queries b w ... b w + w - 1 and keys (b - 1) w ... (b + 2) w - 1.
        starts = torch.arange(0, length, window, device=device)[:, None, None]
        queries = starts + torch.arange(window, device=device)[:, None]
        keys = starts - window + torch.arange(3 * window, device=device)
    else:
        queries, keys = position[None, :, None], position[None, None, :]
    distance = queries - keys
    mask = (keys >= 0) & (keys < length) & _within(distance, causal=causal, window=window)
    mask = mask.unsqueeze(0)
    if present is not None:
        mask = mask & present[:, keys.clamp(0, length - 1)]
    return AttentionPattern(present, causal, window, mask | (distance == 0), is_blocked)


def attend(
    q: Float[Tensor, "B H L E"],
    k: Float[Tensor, "B H K E"],
    v: Float[Tensor, "B H K E"],
    pattern: AttentionPattern | None = None,
    *,
    mode: Mode | None = None,
) -> Float[Tensor, "B H L E"]:
    """Compute softmax(q k^T / sqrt(E)) v under a pattern; zero at padding.

    Args:
        q: queries.
        k: keys.
        v: values.
        pattern: which position attends to which; None means all to all.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and flash-attn cannot run here.

    Example: equal scores average the values, over the past alone if causal.
        >>> import torch
        >>> from dnamdlm.ops import attend, attention_pattern
        >>> q = k = torch.zeros(1, 1, 4, 1)
        >>> v = torch.tensor([0.0, 2.0, 4.0, 6.0]).reshape(1, 1, 4, 1)
        >>> attend(q, k, v).flatten()
        tensor([3., 3., 3., 3.])
        >>> causal = attention_pattern(4, device=v.device, causal=True)
        >>> attend(q, k, v, causal).flatten()
        tensor([0., 1., 2., 3.])
    """
    pattern = AttentionPattern() if pattern is None else pattern
    obstacle = None
    if pattern.window and pattern.present is not None:
        obstacle = "packing would move padded positions inside a local window"
    if pattern.is_explicit:
        obstacle = "the pattern is an explicit mask"
    if q.shape[-1] > MAX_HEAD_SIZE:
        obstacle = f"heads of {q.shape[-1]} channels are wider than {MAX_HEAD_SIZE}"
    chosen = choose(
        "attention", q.device, q.dtype, fused=FLASH_ATTENTION, obstacle=obstacle, mode=mode
    )
    if chosen == "fused":
        packing = pattern.packing(len(q), q.shape[2], q.device)
        return flash_attention(
            q, k, v, packing=packing, causal=pattern.causal, window=pattern.window
        )
    out = (_reference if chosen == "reference" else _portable)(q, k, v, pattern)
    if pattern.present is None:
        return out
    return torch.where(pattern.present[:, None, :, None], out, 0.0)


def _within(distance: Tensor, *, causal: bool, window: int) -> Tensor:
    """Whether a query attends to a key at this distance, query minus key."""
    near = distance.abs() <= window if window else torch.ones_like(distance, dtype=torch.bool)
    return near & (distance >= 0) if causal else near


def _reference(q: Tensor, k: Tensor, v: Tensor, pattern: AttentionPattern) -> Tensor:
    """The definition, with the whole (L, L) table of weights."""
    scores = torch.einsum("bhie,bhje->bhij", q, k) / q.shape[-1] ** 0.5
    if pattern.is_explicit:
        if pattern.mask is not None:
            scores = scores.masked_fill(~pattern.mask, float("-inf"))
        return torch.einsum("bhij,bhje->bhie", scores.softmax(-1), v)
    position = torch.arange(q.shape[2], device=q.device)
    distance = position[:, None] - position
    allowed = _within(distance, causal=pattern.causal, window=pattern.window)
    if pattern.present is not None:
        # a row of the table must not be empty; the output at padding is dropped by the caller.
        allowed = (allowed & pattern.present[:, None, None, :]) | (distance == 0)
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    return torch.einsum("bhij,bhje->bhie", weights, v)


def _portable(q: Tensor, k: Tensor, v: Tensor, pattern: AttentionPattern) -> Tensor:
    """The operator of torch, available on every device."""
    if pattern.is_blocked and pattern.mask is not None:
        return _blocked(q, k, v, pattern)
    if pattern.causal and pattern.present is None and not pattern.window:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=pattern.mask)


def _blocked(q: Tensor, k: Tensor, v: Tensor, pattern: AttentionPattern) -> Tensor:
    """Local attention: each block of queries against its own and the two neighbouring blocks."""
    batch, num_heads, length, head_size = q.shape
    mask = pattern.added_to_scores(batch, q.dtype)
    window = pattern.window
    tail = -length % window
    # (B, H, L, E) to (B blocks, window, H, E), without a copy where L has whole blocks.
    blocks = [functional.pad(x, (0, 0, 0, tail)) if tail else x for x in (q, k, v)]
    queries, keys, values = (
        x.transpose(1, 2).reshape(-1, window, num_heads, head_size) for x in blocks
    )
    out = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        _with_neighbours(keys).transpose(1, 2),
        _with_neighbours(values).transpose(1, 2),
        attn_mask=mask,
    )
    out = out.transpose(1, 2).reshape(batch, length + tail, num_heads, head_size)
    return out.transpose(1, 2)[:, :, :length]


def _with_neighbours(blocks: Tensor) -> Tensor:
    # as in `apply_rotary`: short sequences would wait for the call.
    if not (torch.is_grad_enabled() and blocks.requires_grad):
        return _Neighbours.forward(blocks)
    return cast("Tensor", _Neighbours.apply(blocks))  # pyright: ignore[reportUnknownMemberType]


class _Neighbours(torch.autograd.Function):
    """Each block between its two neighbours: (N, W, H, E) to a view of shape (N, 3W, H, E).

    The blocks of all rows follow one another, so that the neighbours of the outermost blocks of a
    row belong to other rows, and the mask must exclude them; zeros surround the whole.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(blocks: Tensor) -> Tensor:
        """Copy the blocks once, and look at the copy through overlapping windows."""
        num_blocks, window, *rest = blocks.shape
        padded = blocks.new_empty((num_blocks + 2) * window, *rest)
        padded[:window] = 0.0
        padded[-window:] = 0.0
        padded[window:-window] = blocks.flatten(0, 1)
        stride = padded.stride(0)
        return padded.as_strided(
            (num_blocks, 3 * window, *rest), (window * stride, *padded.stride())
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Nothing is kept: the map is linear."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        """Sum what each block contributes to its neighbours, from the left to the right."""
        del ctx
        after, own, before = grad_outputs[0].chunk(3, dim=1)
        total = own.clone(memory_format=torch.contiguous_format)
        total[1:] += before[:-1]
        total[:-1] += after[1:]
        return total
