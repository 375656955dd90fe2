"""Addressed uniform numbers in Triton, launched by `triton_philox_ops`; bits as in plain torch.

Philox4x32-10 on 64-bit integers that hold 32-bit words: products wrap modulo 2**64, which keeps
both halves right.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

# pyright: basic
from __future__ import annotations

from typing import no_type_check

from dnamdlm.ops.kernels.programs.triton_language import constant, jit, tl

LOW_32 = constant(0xFFFFFFFF)
FIRST_MULTIPLIER = constant(0xD2511F53)
SECOND_MULTIPLIER = constant(0xCD9E8D57)
FIRST_KEY_STEP = constant(0x9E3779B9)
SECOND_KEY_STEP = constant(0xBB67AE85)
SPACING = constant(2.0**-52)


@jit
@no_type_check
def philox_uniforms(
    keys_ptr, out_ptr, count, draw_low, draw_high, stream,
    ROUNDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """2 BLOCK numbers of one row: word pairs of successive counters."""
    row = tl.program_id(0).to(tl.int64)
    block = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    zeros = block * 0
    key = tl.load(keys_ptr + row)
    k0, k1 = zeros + (key & LOW_32), zeros + ((key >> 32) & LOW_32)
    c0, c1, c2, c3 = block, zeros + draw_low, zeros + draw_high, zeros + stream
    for _ in tl.static_range(ROUNDS):
        product_0, product_1 = c0 * FIRST_MULTIPLIER, c2 * SECOND_MULTIPLIER
        c0 = ((product_1 >> 32) ^ c1 ^ k0) & LOW_32
        c2 = ((product_0 >> 32) ^ c3 ^ k1) & LOW_32
        c1, c3 = product_1 & LOW_32, product_0 & LOW_32
        k0, k1 = (k0 + FIRST_KEY_STEP) & LOW_32, (k1 + SECOND_KEY_STEP) & LOW_32
    # 52 bits and a half.
    first = (((c0 >> 6) << 26) | (c1 >> 6)).to(tl.float64)
    second = (((c2 >> 6) << 26) | (c3 >> 6)).to(tl.float64)
    out = out_ptr + row * count + 2 * block
    tl.store(out, (first + 0.5) * SPACING, mask=2 * block < count)
    tl.store(out + 1, (second + 0.5) * SPACING, mask=2 * block + 1 < count)
