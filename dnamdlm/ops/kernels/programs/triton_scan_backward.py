"""The backward pass of the selective scan in Triton; see `triton_scan` for the plan and the names.

With the adjoint g_t = C_t dy_t + exp(dt_{t+1} A) g_{t+1}, all gradients are sums of products of g
with the states before and after each position. Those of B and C are partial sums over the channels
of a program, those of A, D and the bias over its segment; torch adds the parts, in a fixed order.
"""

# pyright: basic
from __future__ import annotations

from typing import no_type_check

from dnamdlm.ops.kernels.programs.triton_language import jit, tl
from dnamdlm.ops.kernels.programs.triton_scan import LOG_2, is_here, pick, place, time_step


@jit
@no_type_check
def adjoint_ends(
    delta_ptr, a_ptr, c_ptr, bias_ptr, z_ptr, grad_ptr,
    delta2_ptr, a2_ptr, c2_ptr, bias2_ptr, z2_ptr, grad2_ptr,
    present_ptr, ends_ptr, batch, length, channels, states, segments,
    delta_row, delta_step, c_row, c_step, z_row, z_step,
    REVERSE: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_PRESENT: tl.constexpr,
    HAS_Z: tl.constexpr, SOFTPLUS: tl.constexpr, SEGMENT: tl.constexpr, SUB: tl.constexpr,
    BLOCK: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """What each segment adds to the adjoint of the state before it."""
    row, segment = tl.program_id(0) // segments, tl.program_id(0) % segments
    backwards = tl.program_id(2) + REVERSE == 1
    ch, n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    alive, kept = ch < channels, n < states
    both = alive[:, None] & kept[None, :]
    a_ptr = pick(a_ptr, a2_ptr, DIRECTIONS)
    rates = tl.load(a_ptr + ch[:, None] * states + n[None, :], mask=both, other=0.0) / LOG_2
    bias = tl.load(pick(bias_ptr, bias2_ptr, DIRECTIONS) + ch, mask=alive, other=0.0)
    wide = row.to(tl.int64)
    delta = pick(delta_ptr, delta2_ptr, DIRECTIONS) + wide * delta_row
    read = pick(c_ptr, c2_ptr, DIRECTIONS) + wide * c_row
    gate = pick(z_ptr, z2_ptr, DIRECTIONS) + wide * z_row
    grad = pick(grad_ptr, grad2_ptr, DIRECTIONS) + wide * length * channels
    present = present_ptr + wide * length
    carry = tl.zeros((BLOCK, N), tl.float32)
    first = segment * SEGMENT
    turns = tl.cdiv(tl.minimum(SEGMENT, length - first), SUB)
    for turn in range(turns):
        for i in tl.static_range(SUB):
            step = first + (turns - turn) * SUB - 1 - i
            at = place(step, length, backwards)
            here = is_here(present, step, at, length, HAS_PRESENT)
            seen = alive & here
            _, dt = time_step(delta + at * delta_step + ch, bias, seen, SOFTPLUS)
            c = tl.load(read + at * c_step + n, mask=kept & here, other=0.0).to(tl.float32)
            dy = tl.load(grad + at * channels + ch, mask=seen, other=0.0).to(tl.float32)
            if HAS_Z:
                z = tl.load(gate + at * z_step + ch, mask=seen, other=0.0).to(tl.float32)
                dy = dy * z * tl.sigmoid(z)
            carry = (carry + dy[:, None] * c[None, :]) * tl.exp2(dt[:, None] * rates)
    part = ((tl.program_id(2) * batch + wide) * segments + segment) * channels + ch
    tl.store(ends_ptr + part[:, None] * states + n[None, :], carry, mask=both)


@jit
@no_type_check
def next_state(state, sources, strides, lanes, fixed, at, here, SOFTPLUS: tl.constexpr):
    """The state after one more position."""
    u, delta, write = sources[0], sources[1], sources[2]
    ch, n, alive, kept = lanes
    seen = alive & here
    _, dt = time_step(delta + at * strides[1] + ch, fixed[2], seen, SOFTPLUS)
    x = tl.load(u + at * strides[0] + ch, mask=seen, other=0.0).to(tl.float32)
    b = tl.load(write + at * strides[2] + n, mask=kept & here, other=0.0).to(tl.float32)
    return tl.exp2(dt[:, None] * fixed[0]) * state + (dt * x)[:, None] * b[None, :]


@jit
@no_type_check
def back_over_positions(
    inner, state, sums, sources, targets, strides, lanes, fixed, present, backwards,
    length, channels, states, HAS_PRESENT: tl.constexpr, HAS_Z: tl.constexpr,
    SOFTPLUS: tl.constexpr, SUB: tl.constexpr,
):  # fmt: skip
    """Gradients of SUB positions from `inner` on, where the state was `state`; the new sums.

    The states of these positions are computed once more, and kept in registers.
    """
    u, delta, write, read, gate, grad = sources
    du, ddelta, dz, db, dc = targets
    ch, n, alive, kept = lanes
    rates, direct, bias = fixed
    carry, da, dd, dbias = sums
    history = (state,)
    for i in tl.static_range(SUB - 1):
        at = place(inner + i, length, backwards)
        here = is_here(present, inner + i, at, length, HAS_PRESENT)
        state = next_state(state, sources, strides, lanes, fixed, at, here, SOFTPLUS)
        history = history + (state,)  # noqa: RUF005  no starred tuples in a kernel
    for i in tl.static_range(SUB):
        step = inner + SUB - 1 - i
        exists = step < length
        at = place(step, length, backwards)
        here = is_here(present, step, at, length, HAS_PRESENT)
        seen = alive & here
        raw, dt = time_step(delta + at * strides[1] + ch, bias, seen, SOFTPLUS)
        x = tl.load(u + at * strides[0] + ch, mask=seen, other=0.0).to(tl.float32)
        b = tl.load(write + at * strides[2] + n, mask=kept & here, other=0.0).to(tl.float32)
        c = tl.load(read + at * strides[3] + n, mask=kept & here, other=0.0).to(tl.float32)
        dy = tl.load(grad + at * channels + ch, mask=seen, other=0.0).to(tl.float32)
        decay = tl.exp2(dt[:, None] * rates)
        decayed = decay * history[SUB - 1 - i]
        now = decayed + (dt * x)[:, None] * b[None, :]
        if HAS_Z:
            z = tl.load(gate + at * strides[4] + ch, mask=seen, other=0.0).to(tl.float32)
            sigma = tl.sigmoid(z)
            y = tl.sum(now * c[None, :], axis=1) + direct * x
            slope = dy * y * sigma * (1.0 + z * (1.0 - sigma))
            tl.store(dz + at * channels + ch, slope, mask=alive & exists)
            dy = dy * z * sigma
        adjoint = carry + dy[:, None] * c[None, :]
        exponent = adjoint * decayed
        into = tl.sum(adjoint * b[None, :], axis=1)
        slope = LOG_2 * tl.sum(exponent * rates, axis=1) + into * x
        if SOFTPLUS:
            slope = tl.where(raw > 20.0, slope, slope * tl.sigmoid(raw))
        slope = tl.where(seen, slope, 0.0)
        held = kept & exists
        tl.store(dc + at * states + n, tl.sum(now * dy[:, None], axis=0), mask=held)
        tl.store(db + at * states + n, tl.sum(adjoint * (dt * x)[:, None], axis=0), mask=held)
        tl.store(du + at * channels + ch, into * dt + direct * dy, mask=alive & exists)
        tl.store(ddelta + at * channels + ch, slope, mask=alive & exists)
        da += exponent * dt[:, None]
        dd += dy * x
        dbias += slope
        carry = adjoint * decay
    return carry, da, dd, dbias


@jit
@no_type_check
def back_over_chunk(
    start, state, scratch, sums, sources, targets, strides, lanes, fixed, present, backwards,
    length, channels, states, HAS_PRESENT: tl.constexpr, HAS_Z: tl.constexpr,
    SOFTPLUS: tl.constexpr, CHUNK: tl.constexpr, SUB: tl.constexpr, BLOCK: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    """Gradients of the positions of a chunk, before which the state was `state`; the new sums.

    Forward once, with the state before each SUB positions in `scratch`, then back over these.
    """
    carry, da, dd, dbias = sums
    subs = tl.cdiv(tl.minimum(CHUNK, length - start), SUB)
    for sub in range(subs):
        tl.store(scratch + sub * BLOCK * N, state)
        for i in tl.static_range(SUB):
            step = start + sub * SUB + i
            at = place(step, length, backwards)
            here = is_here(present, step, at, length, HAS_PRESENT)
            state = next_state(state, sources, strides, lanes, fixed, at, here, SOFTPLUS)
    tl.debug_barrier()
    for back in range(subs):
        inner = start + (subs - 1 - back) * SUB
        state = tl.load(scratch + (subs - 1 - back) * BLOCK * N)
        carry, da, dd, dbias = back_over_positions(
            inner, state, (carry, da, dd, dbias), sources, targets, strides, lanes, fixed,
            present, backwards, length, channels, states, HAS_PRESENT, HAS_Z, SOFTPLUS, SUB,
        )  # fmt: skip
    tl.debug_barrier()
    return carry, da, dd, dbias


@jit
@no_type_check
def scan_backward(
    u_ptr, delta_ptr, a_ptr, b_ptr, c_ptr, d_ptr, bias_ptr, z_ptr, grad_ptr,
    u2_ptr, delta2_ptr, a2_ptr, b2_ptr, c2_ptr, d2_ptr, bias2_ptr, z2_ptr, grad2_ptr,
    du_ptr, ddelta_ptr, dz_ptr, du2_ptr, ddelta2_ptr, dz2_ptr,
    present_ptr, borders_ptr, carries_ptr, scratch_ptr, dbc_ptr, fixed_ptr,
    batch, length, channels, states, segments,
    u_row, u_step, delta_row, delta_step, b_row, b_step, c_row, c_step, z_row, z_step,
    REVERSE: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_PRESENT: tl.constexpr,
    HAS_Z: tl.constexpr, SOFTPLUS: tl.constexpr, HAS_CARRIES: tl.constexpr,
    SEGMENT: tl.constexpr, CHUNK: tl.constexpr, SUB: tl.constexpr, BLOCK: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    """All gradients of one segment and BLOCK channels.

    `dbc` is (direction, B or C, group of channels, row, position, state); `fixed` is (direction,
    row and segment, channel, state + 2) with the gradients of A, D and the bias.
    """
    row, segment = tl.program_id(0) // segments, tl.program_id(0) % segments
    group, groups, way = tl.program_id(1), tl.num_programs(1), tl.program_id(2)
    backwards = way + REVERSE == 1
    ch, n = group * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    alive, kept = ch < channels, n < states
    both = alive[:, None] & kept[None, :]
    a_ptr = pick(a_ptr, a2_ptr, DIRECTIONS)
    rates = tl.load(a_ptr + ch[:, None] * states + n[None, :], mask=both, other=0.0) / LOG_2
    direct = tl.load(pick(d_ptr, d2_ptr, DIRECTIONS) + ch, mask=alive, other=0.0)
    bias = tl.load(pick(bias_ptr, bias2_ptr, DIRECTIONS) + ch, mask=alive, other=0.0)
    wide = row.to(tl.int64)
    outer = wide * length * channels
    sources = (
        pick(u_ptr, u2_ptr, DIRECTIONS) + wide * u_row,
        pick(delta_ptr, delta2_ptr, DIRECTIONS) + wide * delta_row,
        pick(b_ptr, b2_ptr, DIRECTIONS) + wide * b_row,
        pick(c_ptr, c2_ptr, DIRECTIONS) + wide * c_row,
        pick(z_ptr, z2_ptr, DIRECTIONS) + wide * z_row,
        pick(grad_ptr, grad2_ptr, DIRECTIONS) + outer,
    )
    strides = (u_step, delta_step, b_step, c_step, z_step)
    db = dbc_ptr + ((way * 2 * groups + group) * batch + wide) * length * states
    targets = (
        pick(du_ptr, du2_ptr, DIRECTIONS) + outer,
        pick(ddelta_ptr, ddelta2_ptr, DIRECTIONS) + outer,
        pick(dz_ptr, dz2_ptr, DIRECTIONS) + outer,
        db,
        db + groups.to(tl.int64) * batch * length * states,
    )
    present = present_ptr + wide * length
    program = (way * groups + group) * tl.num_programs(0) + tl.program_id(0)
    scratch = scratch_ptr + program.to(tl.int64) * (CHUNK // SUB) * BLOCK * N
    scratch = scratch + tl.arange(0, BLOCK)[:, None] * N + n[None, :]
    sequence = way * batch + wide
    carry = tl.zeros((BLOCK, N), tl.float32)
    if HAS_CARRIES:
        part = (sequence * segments + segment) * channels + ch
        carry = tl.load(carries_ptr + part[:, None] * states + n[None, :], mask=both, other=0.0)
    da = tl.zeros((BLOCK, N), tl.float32)
    dd, dbias = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    first = segment * SEGMENT
    border = sequence * tl.cdiv(length, CHUNK) + first // CHUNK
    chunks = tl.cdiv(tl.minimum(SEGMENT, length - first), CHUNK)
    for turn in range(chunks):
        chunk = chunks - 1 - turn
        start = first + chunk * CHUNK
        at_border = (border + chunk) * channels + ch
        before = borders_ptr + at_border[:, None] * states + n[None, :]
        state = tl.load(before, mask=both, other=0.0)
        carry, da, dd, dbias = back_over_chunk(
            start, state, scratch, (carry, da, dd, dbias), sources, targets, strides,
            (ch, n, alive, kept), (rates, direct, bias), present, backwards, length, channels,
            states, HAS_PRESENT, HAS_Z, SOFTPLUS, CHUNK, SUB, BLOCK, N,
        )  # fmt: skip
    part = (way * tl.num_programs(0) + tl.program_id(0)).to(tl.int64) * channels + ch
    fixed = fixed_ptr + part * (states + 2)
    tl.store(fixed[:, None] + n[None, :], da, mask=both)
    tl.store(fixed + states, dd, mask=alive)
    tl.store(fixed + states + 1, dbias, mask=alive)
