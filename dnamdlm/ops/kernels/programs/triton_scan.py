"""The selective scan of Mamba-1 in Triton, launched by `triton_scan_ops`.

One program owns one segment of one sequence, BLOCK channels and one direction, and walks along the
segment; the states (BLOCK, N) stay in registers. Both directions are one launch: direction 1 has
inputs of its own (names that end in 2) and runs from the last position to the first, by index.
Nothing is transposed, flipped or copied, and there are no atomic additions, so that the same inputs
give the same bits.

A sequence longer than a segment takes three launches: `segment_ends` gives what each segment adds
to a zero state and its total step (the decay over a segment is exp(A sum of dt)); `combine` turns
that into the state at the start of each segment; `scan_forward` runs the segments from there. The
backward pass does the same with the adjoint, from the other end. `scan_forward` keeps the state at
the start of each CHUNK; the backward pass recomputes the states of a chunk, the first of each SUB
positions through a small scratch, the others in registers.

Names: `step` counts positions in the order of the scan, `at` is the place in memory; A is given as
A / log(2), since exp2 is what the hardware has.
Source: Gu and Dao 2023 (arXiv:2312.00752), algorithm 2 and appendix D.
"""

# pyright: basic
from __future__ import annotations

from typing import no_type_check

from dnamdlm.ops.kernels.programs.triton_language import constant, jit, tl

LOG_2 = constant(0.6931471805599453)


@jit
@no_type_check
def softplus(x):
    """log(1 + exp(x)), with all digits where it is small; linear above 20, as in torch."""
    small = tl.exp(tl.minimum(x, 20.0))
    total = 1.0 + small
    # what 1 + small rounds away is put back by the quotient.
    rounded = tl.where(total == 1.0, 1.0, total - 1.0)
    return tl.where(x > 20.0, x, tl.where(total == 1.0, small, tl.log(total) * (small / rounded)))


@jit
@no_type_check
def pick(first, second, DIRECTIONS: tl.constexpr):
    """The pointer of this program's direction."""
    if DIRECTIONS == 2:
        return tl.where(tl.program_id(2) == 1, second, first)
    return first


@jit
@no_type_check
def place(step, length, backwards):
    """Where in memory a step of the scan lies."""
    return tl.where(backwards, length - 1 - step, step).to(tl.int64)


@jit
@no_type_check
def is_here(present, step, at, length, HAS_PRESENT: tl.constexpr):
    """Whether a position exists and is not padding."""
    here = step < length
    if HAS_PRESENT:
        here = here & (tl.load(present + at, mask=here, other=0) != 0)
    return here


@jit
@no_type_check
def time_step(delta, bias, seen, SOFTPLUS: tl.constexpr):
    """The step size before and after the softplus; no time passes at padding."""
    raw = tl.load(delta, mask=seen, other=0.0).to(tl.float32) + bias
    dt = softplus(raw) if SOFTPLUS else raw
    return raw, tl.where(seen, dt, 0.0)


@jit
@no_type_check
def segment_ends(
    u_ptr, delta_ptr, a_ptr, b_ptr, bias_ptr,
    u2_ptr, delta2_ptr, a2_ptr, b2_ptr, bias2_ptr,
    present_ptr, ends_ptr, totals_ptr, batch, length, channels, states, segments,
    u_row, u_step, delta_row, delta_step, b_row, b_step,
    REVERSE: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_PRESENT: tl.constexpr,
    SOFTPLUS: tl.constexpr, SEGMENT: tl.constexpr, SUB: tl.constexpr, BLOCK: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    """The state after each segment that starts from zero, and the sum of its step sizes."""
    row, segment = tl.program_id(0) // segments, tl.program_id(0) % segments
    backwards = tl.program_id(2) + REVERSE == 1
    ch, n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    alive, kept = ch < channels, n < states
    both = alive[:, None] & kept[None, :]
    a_ptr = pick(a_ptr, a2_ptr, DIRECTIONS)
    rates = tl.load(a_ptr + ch[:, None] * states + n[None, :], mask=both, other=0.0) / LOG_2
    bias = tl.load(pick(bias_ptr, bias2_ptr, DIRECTIONS) + ch, mask=alive, other=0.0)
    wide = row.to(tl.int64)
    u = pick(u_ptr, u2_ptr, DIRECTIONS) + wide * u_row
    delta = pick(delta_ptr, delta2_ptr, DIRECTIONS) + wide * delta_row
    write = pick(b_ptr, b2_ptr, DIRECTIONS) + wide * b_row
    present = present_ptr + wide * length
    state, total = tl.zeros((BLOCK, N), tl.float32), tl.zeros((BLOCK,), tl.float32)
    first = segment * SEGMENT
    for turn in range(tl.cdiv(tl.minimum(SEGMENT, length - first), SUB)):
        for i in tl.static_range(SUB):
            step = first + turn * SUB + i
            at = place(step, length, backwards)
            here = is_here(present, step, at, length, HAS_PRESENT)
            seen = alive & here
            _, dt = time_step(delta + at * delta_step + ch, bias, seen, SOFTPLUS)
            x = dt * tl.load(u + at * u_step + ch, mask=seen, other=0.0).to(tl.float32)
            b = tl.load(write + at * b_step + n, mask=kept & here, other=0.0).to(tl.float32)
            state = tl.exp2(dt[:, None] * rates) * state + x[:, None] * b[None, :]
            total += dt
    part = ((tl.program_id(2) * batch + wide) * segments + segment) * channels + ch
    tl.store(totals_ptr + part, total, mask=alive)
    tl.store(ends_ptr + part[:, None] * states + n[None, :], state, mask=both)


@jit
@no_type_check
def combine(
    a_ptr, a2_ptr, ends_ptr, totals_ptr, batch, channels, states, segments,
    DIRECTIONS: tl.constexpr, FROM_LAST: tl.constexpr, BLOCK: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Replace what each segment adds by what enters it; from the last segment for adjoints."""
    row = tl.program_id(0).to(tl.int64)
    ch, n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    alive = ch < channels
    both = alive[:, None] & (n[None, :] < states)
    a_ptr = pick(a_ptr, a2_ptr, DIRECTIONS)
    rates = tl.load(a_ptr + ch[:, None] * states + n[None, :], mask=both, other=0.0) / LOG_2
    state = tl.zeros((BLOCK, N), tl.float32)
    for turn in range(segments):
        segment = segments - 1 - turn if FROM_LAST else turn
        part = ((tl.program_id(2) * batch + row) * segments + segment) * channels + ch
        total = tl.load(totals_ptr + part, mask=alive, other=0.0)
        ends = ends_ptr + part[:, None] * states + n[None, :]
        end = tl.load(ends, mask=both, other=0.0)
        tl.store(ends, state, mask=both)
        state = tl.exp2(total[:, None] * rates) * state + end


@jit
@no_type_check
def scan_forward(
    u_ptr, delta_ptr, a_ptr, b_ptr, c_ptr, d_ptr, bias_ptr, z_ptr, out_ptr,
    u2_ptr, delta2_ptr, a2_ptr, b2_ptr, c2_ptr, d2_ptr, bias2_ptr, z2_ptr, out2_ptr,
    present_ptr, starts_ptr, borders_ptr, batch, length, channels, states, segments,
    u_row, u_step, delta_row, delta_step, b_row, b_step, c_row, c_step, z_row, z_step,
    REVERSE: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_PRESENT: tl.constexpr,
    HAS_Z: tl.constexpr, SOFTPLUS: tl.constexpr, HAS_STARTS: tl.constexpr, KEEPS: tl.constexpr,
    SEGMENT: tl.constexpr, CHUNK: tl.constexpr, SUB: tl.constexpr, BLOCK: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    """The output of one segment, and the states at the start of its chunks."""
    row, segment = tl.program_id(0) // segments, tl.program_id(0) % segments
    backwards = tl.program_id(2) + REVERSE == 1
    ch, n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    alive, kept = ch < channels, n < states
    both = alive[:, None] & kept[None, :]
    a_ptr = pick(a_ptr, a2_ptr, DIRECTIONS)
    rates = tl.load(a_ptr + ch[:, None] * states + n[None, :], mask=both, other=0.0) / LOG_2
    direct = tl.load(pick(d_ptr, d2_ptr, DIRECTIONS) + ch, mask=alive, other=0.0)
    bias = tl.load(pick(bias_ptr, bias2_ptr, DIRECTIONS) + ch, mask=alive, other=0.0)
    wide = row.to(tl.int64)
    u = pick(u_ptr, u2_ptr, DIRECTIONS) + wide * u_row
    delta = pick(delta_ptr, delta2_ptr, DIRECTIONS) + wide * delta_row
    write = pick(b_ptr, b2_ptr, DIRECTIONS) + wide * b_row
    read = pick(c_ptr, c2_ptr, DIRECTIONS) + wide * c_row
    gate = pick(z_ptr, z2_ptr, DIRECTIONS) + wide * z_row
    out = pick(out_ptr, out2_ptr, DIRECTIONS) + wide * length * channels
    present = present_ptr + wide * length
    sequence = tl.program_id(2) * batch + wide
    state = tl.zeros((BLOCK, N), tl.float32)
    if HAS_STARTS:
        part = (sequence * segments + segment) * channels + ch
        state = tl.load(starts_ptr + part[:, None] * states + n[None, :], mask=both, other=0.0)
    first = segment * SEGMENT
    border = sequence * tl.cdiv(length, CHUNK) + first // CHUNK
    for turn in range(tl.cdiv(tl.minimum(SEGMENT, length - first), SUB)):
        if KEEPS:  # noqa: SIM102  the first is known to the compiler
            if turn % (CHUNK // SUB) == 0:
                chunk = (border + turn // (CHUNK // SUB)) * channels + ch
                tl.store(borders_ptr + chunk[:, None] * states + n[None, :], state, mask=both)
        for i in tl.static_range(SUB):
            step = first + turn * SUB + i
            at = place(step, length, backwards)
            here = is_here(present, step, at, length, HAS_PRESENT)
            seen = alive & here
            _, dt = time_step(delta + at * delta_step + ch, bias, seen, SOFTPLUS)
            x = tl.load(u + at * u_step + ch, mask=seen, other=0.0).to(tl.float32)
            b = tl.load(write + at * b_step + n, mask=kept & here, other=0.0).to(tl.float32)
            c = tl.load(read + at * c_step + n, mask=kept & here, other=0.0).to(tl.float32)
            state = tl.exp2(dt[:, None] * rates) * state + (dt * x)[:, None] * b[None, :]
            y = tl.sum(state * c[None, :], axis=1) + direct * x
            if HAS_Z:
                z = tl.load(gate + at * z_step + ch, mask=seen, other=0.0).to(tl.float32)
                y = y * z * tl.sigmoid(z)
            tl.store(out + at * channels + ch, y, mask=alive & (step < length))
