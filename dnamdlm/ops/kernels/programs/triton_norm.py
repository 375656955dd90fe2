"""Layer norm and root-mean-square norm in Triton, launched by `triton_norm_ops`.

    s = x + gate * branch,  n = (s - mean) / sqrt(mean((s - mean)^2) + EPS),
    y = n * gain + bias,    out = y * (1 + scale) + shift

The mean is zero unless CENTRED; gate, branch, bias, scale and shift may be absent. Gate, scale and
shift belong to a sequence. One program owns ROWS positions of one sequence with all their channels
(in the backward pass several times as many, one tile after the other), so that nothing is read
twice. The backward pass recomputes n from s. There are no atomic additions: the same inputs give
the same bits.
"""

# pyright: basic
from __future__ import annotations

from typing import no_type_check

from dnamdlm.ops.kernels.programs.triton_language import jit, tl


@jit
@no_type_check
def read_channels(base, ch, channels):
    """One value per channel, as a row in float32; zero beyond the last channel."""
    return tl.load(base + ch, mask=ch < channels, other=0.0).to(tl.float32)[None, :]


@jit
@no_type_check
def normed(s, seen, channels, CENTRED: tl.constexpr, EPS: tl.constexpr):
    """The normalised rows, and one over their deviations."""
    if CENTRED:
        mean = tl.sum(s, axis=1) / channels
        s = tl.where(seen, s - mean[:, None], 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(s * s, axis=1) / channels + EPS)
    return s * inverse[:, None], inverse[:, None]


@jit
@no_type_check
def norm_forward(
    x_ptr, branch_ptr, gate_ptr, gain_ptr, bias_ptr, shift_ptr, scale_ptr, sum_ptr, out_ptr,
    length, channels, tiles, gate_row, shift_row, scale_row,
    CENTRED: tl.constexpr, HAS_BRANCH: tl.constexpr, HAS_GATE: tl.constexpr,
    HAS_BIAS: tl.constexpr, MODULATED: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One tile of the output, and of the sum if there is a branch."""
    row, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    rows, ch = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    seen = (rows < length)[:, None] & (ch < channels)[None, :]
    where = (row * length + rows)[:, None] * channels + ch[None, :]
    s = tl.load(x_ptr + where, mask=seen, other=0.0).to(tl.float32)
    if HAS_BRANCH:
        added = tl.load(branch_ptr + where, mask=seen, other=0.0).to(tl.float32)
        if HAS_GATE:
            added = added * read_channels(gate_ptr + row * gate_row, ch, channels)
        # rounded as it is stored, which is what the backward pass reads.
        rounded = (s + added).to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + where, rounded, mask=seen)
        s = rounded.to(tl.float32)
    n, _ = normed(s, seen, channels, CENTRED, EPS)
    y = n * read_channels(gain_ptr, ch, channels)
    if HAS_BIAS:
        y += read_channels(bias_ptr, ch, channels)
    if MODULATED:
        scale = read_channels(scale_ptr + row * scale_row, ch, channels)
        y = y * (1.0 + scale) + read_channels(shift_ptr + row * shift_row, ch, channels)
    tl.store(out_ptr + where, y, mask=seen)


@jit
@no_type_check
def norm_backward(
    sum_ptr, grad_ptr, sum_grad_ptr, branch_ptr, gate_ptr, gain_ptr, bias_ptr, scale_ptr, dx_ptr,
    dbranch_ptr, parts_ptr, length, channels, spans, gate_row, scale_row,
    CENTRED: tl.constexpr, HAS_SUM_GRAD: tl.constexpr, HAS_BRANCH: tl.constexpr,
    HAS_GATE: tl.constexpr, HAS_BIAS: tl.constexpr, MODULATED: tl.constexpr, EPS: tl.constexpr,
    COUNT: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of x and branch over SPAN tiles, and partial sums of the others.

    `parts` is (sequence and span, COUNT, channel), with the rows gain, bias, shift, scale and gate
    as far as they are there.
    """
    row, span = (tl.program_id(0) // spans).to(tl.int64), tl.program_id(0) % spans
    ch = tl.arange(0, BLOCK)
    gain = read_channels(gain_ptr, ch, channels)
    for_gain = tl.zeros((ROWS, BLOCK), tl.float32)
    for_bias, for_shift, for_scale, for_gate = for_gain, for_gain, for_gain, for_gain
    factor = 1.0
    if MODULATED:
        factor = 1.0 + read_channels(scale_ptr + row * scale_row, ch, channels)
    tiles = tl.minimum(SPAN, tl.cdiv(length, ROWS) - span * SPAN)
    for turn in range(tiles):
        rows = (span * SPAN + turn) * ROWS + tl.arange(0, ROWS)
        seen = (rows < length)[:, None] & (ch < channels)[None, :]
        where = (row * length + rows)[:, None] * channels + ch[None, :]
        s = tl.load(sum_ptr + where, mask=seen, other=0.0).to(tl.float32)
        n, inverse = normed(s, seen, channels, CENTRED, EPS)
        d_out = tl.load(grad_ptr + where, mask=seen, other=0.0).to(tl.float32)
        dy = d_out * factor
        if MODULATED:
            y = n * gain
            if HAS_BIAS:
                y += read_channels(bias_ptr, ch, channels)
            for_shift += d_out
            for_scale += d_out * y
        for_gain += dy * n
        if HAS_BIAS:
            for_bias += dy
        dn = dy * gain
        along = (tl.sum(dn * n, axis=1) / channels)[:, None]
        ds = dn - n * along
        if CENTRED:
            ds -= (tl.sum(dn, axis=1) / channels)[:, None]
        ds = ds * inverse
        if HAS_SUM_GRAD:
            ds += tl.load(sum_grad_ptr + where, mask=seen, other=0.0).to(tl.float32)
        tl.store(dx_ptr + where, ds, mask=seen)
        if HAS_BRANCH:
            if HAS_GATE:
                added = tl.load(branch_ptr + where, mask=seen, other=0.0).to(tl.float32)
                for_gate += ds * added
                ds = ds * read_channels(gate_ptr + row * gate_row, ch, channels)
            tl.store(dbranch_ptr + where, ds, mask=seen)
    part = parts_ptr + tl.program_id(0).to(tl.int64) * COUNT * channels + ch
    alive = ch < channels
    tl.store(part, tl.sum(for_gain, axis=0), mask=alive)
    if HAS_BIAS:
        part += channels
        tl.store(part, tl.sum(for_bias, axis=0), mask=alive)
    if MODULATED:
        tl.store(part + channels, tl.sum(for_shift, axis=0), mask=alive)
        part += 2 * channels
        tl.store(part, tl.sum(for_scale, axis=0), mask=alive)
    if HAS_GATE:
        tl.store(part + channels, tl.sum(for_gate, axis=0), mask=alive)
