"""Depthwise convolutions along the sequence in Triton, launched by `triton_conv_ops`.

Tap j of position i reads position i + j - OFFSET, or i - j + OFFSET backwards: OFFSET = K - 1 is
causal, K // 2 is centred. One program owns ROWS positions (in the backward pass several times as
many, one after the other) and BLOCK channels. Two directions read the same input with filters of
their own (names that end in 2). With ACTIVE a SiLU follows, whose argument the backward pass
recomputes. There are no atomic additions: the same inputs give the same bits.
"""

# pyright: basic
from __future__ import annotations

from typing import no_type_check

from dnamdlm.ops.kernels.programs.triton_language import jit, tl


@jit
@no_type_check
def read_rows(base, at, ch, present, length, channels, stride, HAS_PRESENT: tl.constexpr):
    """Rows of a sequence in float32; zero outside of it and at padding."""
    here = (at >= 0) & (at < length)
    if HAS_PRESENT:
        here = here & (tl.load(present + at, mask=here, other=0) != 0)
    seen = here[:, None] & (ch[None, :] < channels)
    where = at.to(tl.int64)[:, None] * stride + ch[None, :]
    return tl.load(base + where, mask=seen, other=0.0).to(tl.float32)


@jit
@no_type_check
def filtered(
    x, weight, bias, rows, ch, present, length, channels, x_step, backwards,
    HAS_PRESENT: tl.constexpr, HAS_BIAS: tl.constexpr, OFFSET: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The convolution before its activation, at some positions."""
    alive = ch < channels
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for j in tl.static_range(K):
        at = rows + tl.where(backwards, OFFSET - j, j - OFFSET)
        tap = tl.load(weight + ch * K + j, mask=alive, other=0.0).to(tl.float32)
        total += tap[None, :] * read_rows(x, at, ch, present, length, channels, x_step, HAS_PRESENT)
    if HAS_BIAS:
        total += tl.load(bias + ch, mask=alive, other=0.0).to(tl.float32)[None, :]
    return total


@jit
@no_type_check
def conv_forward(
    x_ptr, weight_ptr, bias_ptr, out_ptr, weight2_ptr, bias2_ptr, out2_ptr, present_ptr,
    length, channels, tiles, x_row, x_step,
    REVERSE: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_PRESENT: tl.constexpr,
    HAS_BIAS: tl.constexpr, ACTIVE: tl.constexpr, OFFSET: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One tile of the output of one direction."""
    row, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    backwards = tl.program_id(2) + REVERSE == 1
    rows = tile * ROWS + tl.arange(0, ROWS)
    ch = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    if DIRECTIONS == 2:
        other = tl.program_id(2) == 1
        weight_ptr = tl.where(other, weight2_ptr, weight_ptr)
        bias_ptr = tl.where(other, bias2_ptr, bias_ptr)
        out_ptr = tl.where(other, out2_ptr, out_ptr)
    y = filtered(
        x_ptr + row * x_row, weight_ptr, bias_ptr, rows, ch, present_ptr + row * length, length,
        channels, x_step, backwards, HAS_PRESENT, HAS_BIAS, OFFSET, K, ROWS, BLOCK,
    )  # fmt: skip
    if ACTIVE:
        y = y * tl.sigmoid(y)
    where = rows.to(tl.int64)[:, None] * channels + ch[None, :]
    inside = (rows[:, None] < length) & (ch[None, :] < channels)
    tl.store(out_ptr + row * length * channels + where, y, mask=inside)


@jit
@no_type_check
def slopes(
    x, weight, bias, grad, rows, ch, present, length, channels, x_step, backwards,
    HAS_PRESENT: tl.constexpr, HAS_BIAS: tl.constexpr, ACTIVE: tl.constexpr,
    OFFSET: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of the convolution before its activation, zero outside the sequence."""
    dy = read_rows(grad, rows, ch, present, length, channels, channels, False)
    if ACTIVE:
        y = filtered(
            x, weight, bias, rows, ch, present, length, channels, x_step, backwards,
            HAS_PRESENT, HAS_BIAS, OFFSET, K, ROWS, BLOCK,
        )  # fmt: skip
        sigma = tl.sigmoid(y)
        dy = dy * sigma * (1.0 + y * (1.0 - sigma))
    return dy


@jit
@no_type_check
def one_way(
    x, weight, bias, grad, rows, ch, present, length, channels, x_step, backwards,
    HAS_PRESENT: tl.constexpr, HAS_BIAS: tl.constexpr, ACTIVE: tl.constexpr,
    OFFSET: tl.constexpr, K: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Of one direction: the gradient of x at some positions, and what they add to the filter's.

    Row K of the latter is the gradient of the bias.
    """
    alive, taps = ch < channels, tl.arange(0, TAPS)
    here = slopes(
        x, weight, bias, grad, rows, ch, present, length, channels, x_step, backwards,
        HAS_PRESENT, HAS_BIAS, ACTIVE, OFFSET, K, ROWS, BLOCK,
    )  # fmt: skip
    added = tl.where(taps[:, None] == K, tl.sum(here, axis=0)[None, :], 0.0)
    dx = tl.zeros((ROWS, BLOCK), tl.float32)
    for j in tl.static_range(K):
        shift = tl.where(backwards, OFFSET - j, j - OFFSET)
        read = read_rows(x, rows + shift, ch, present, length, channels, x_step, HAS_PRESENT)
        products = tl.sum(here * read, axis=0)
        added += tl.where(taps[:, None] == j, products[None, :], 0.0)
        dy = here
        if j != OFFSET:
            dy = slopes(
                x, weight, bias, grad, rows - shift, ch, present, length, channels, x_step,
                backwards, HAS_PRESENT, HAS_BIAS, ACTIVE, OFFSET, K, ROWS, BLOCK,
            )  # fmt: skip
        dx += dy * tl.load(weight + ch * K + j, mask=alive, other=0.0).to(tl.float32)[None, :]
    return dx, added


@jit
@no_type_check
def conv_backward(
    x_ptr, weight_ptr, bias_ptr, grad_ptr, weight2_ptr, bias2_ptr, grad2_ptr, present_ptr,
    dx_ptr, parts_ptr, length, channels, spans, x_row, x_step,
    REVERSE: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_PRESENT: tl.constexpr,
    HAS_BIAS: tl.constexpr, ACTIVE: tl.constexpr, OFFSET: tl.constexpr, K: tl.constexpr,
    TAPS: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of x over SPAN tiles, both directions added, and partial sums of the filters'.

    `parts` is (sequence and span, direction, K + 1, channel).
    """
    row, span = (tl.program_id(0) // spans).to(tl.int64), tl.program_id(0) % spans
    ch = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x, present = x_ptr + row * x_row, present_ptr + row * length
    first = row * length * channels
    sums, sums2 = tl.zeros((TAPS, BLOCK), tl.float32), tl.zeros((TAPS, BLOCK), tl.float32)
    tiles = tl.minimum(SPAN, tl.cdiv(length, ROWS) - span * SPAN)
    for turn in range(tiles):
        rows = (span * SPAN + turn) * ROWS + tl.arange(0, ROWS)
        dx, added = one_way(
            x, weight_ptr, bias_ptr, grad_ptr + first, rows, ch, present, length, channels,
            x_step, REVERSE == 1, HAS_PRESENT, HAS_BIAS, ACTIVE, OFFSET, K, TAPS, ROWS, BLOCK,
        )  # fmt: skip
        sums += added
        if DIRECTIONS == 2:
            dx2, added2 = one_way(
                x, weight2_ptr, bias2_ptr, grad2_ptr + first, rows, ch, present, length, channels,
                x_step, True, HAS_PRESENT, HAS_BIAS, ACTIVE, OFFSET, K, TAPS, ROWS, BLOCK,
            )  # fmt: skip
            dx += dx2
            sums2 += added2
        inside = (rows[:, None] < length) & (ch[None, :] < channels)
        if HAS_PRESENT:
            here = tl.load(present + rows, mask=rows < length, other=0) != 0
            dx = tl.where(here[:, None], dx, 0.0)
        where = rows.to(tl.int64)[:, None] * channels + ch[None, :]
        tl.store(dx_ptr + first + where, dx, mask=inside)
    taps = tl.arange(0, TAPS)
    part = parts_ptr + tl.program_id(0).to(tl.int64) * DIRECTIONS * (K + 1) * channels
    where = taps[:, None] * channels + ch[None, :]
    kept = (taps[:, None] <= K) & (ch[None, :] < channels)
    tl.store(part + where, sums, mask=kept)
    if DIRECTIONS == 2:
        tl.store(part + (K + 1) * channels + where, sums2, mask=kept)
