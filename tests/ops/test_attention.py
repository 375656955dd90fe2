"""Attention: reference, portable and local forms agree; padding has no say."""

import math

import pytest
import torch

from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops.attention import attend, attention_pattern
from dnamdlm.ops.kernels import flash_attention as flash
from tests.helpers.rounding import rounding

LENGTHS = (1, 2, 63, 64)
PATTERNS = {
    "all": {},
    "causal": {"causal": True},
    "window": {"window": 3},
    "causal window": {"causal": True, "window": 3},
}


def _inputs(length, dtype=torch.float64, batch=3, heads=2, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, batch, heads, length, size)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).unbind()


def _padding(length, batch=3):
    """Right padding, left padding and, in the last row, no position present."""
    present = torch.ones(batch, length, dtype=torch.bool)
    present[0, length // 2 + 1 :] = False
    present[1, : length // 3] = False
    present[2] = False
    return present


def _by_loop(q, k, v, present, *, causal=False, window=0):
    """One query at a time in plain Python."""
    out = torch.zeros_like(q)
    batch, heads, length, size = q.shape
    for b in range(batch):
        for i in range(length):
            seen = [
                j
                for j in range(length)
                if present[b, j] and (not causal or j <= i) and (not window or abs(i - j) <= window)
            ]
            if not seen or not present[b, i]:
                continue
            for h in range(heads):
                scores = torch.stack([q[b, h, i] @ k[b, h, j] / math.sqrt(size) for j in seen])
                weights = scores.exp() / scores.exp().sum()
                out[b, h, i] = sum(w * v[b, h, j] for w, j in zip(weights, seen, strict=True))
    return out


@pytest.mark.parametrize("mode", ["reference", "portable"])
@pytest.mark.parametrize("length", [5, 13], ids=["short", "long enough for blocks"])
@pytest.mark.parametrize("reach", PATTERNS.values(), ids=PATTERNS)
def test_attention_equals_a_loop_over_queries(mode, length, reach):
    q, k, v = _inputs(length)
    present = _padding(length)
    pattern = attention_pattern(length, device=q.device, present=present, **reach)
    expected = _by_loop(q, k, v, present, **reach)
    torch.testing.assert_close(attend(q, k, v, pattern, mode=mode), expected)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("reach", PATTERNS.values(), ids=PATTERNS)
def test_portable_equals_reference_with_gradients(length, padded, reach):
    results = []
    for mode, dtype in (("reference", torch.float64), ("portable", torch.float32)):
        inputs = [x.clone().requires_grad_() for x in _inputs(length, dtype)]
        present = _padding(length) if padded else None
        pattern = attention_pattern(length, device=inputs[0].device, present=present, **reach)
        out = attend(*inputs, pattern, mode=mode)
        gradients = torch.autograd.grad(out.square().sum(), inputs)
        results.append([x.double() for x in (out, *gradients)])
    # float32 against float64: products of 8 numbers, and sums over keys of weights, values and
    # twice of gradients; weights lie in [0, 1], so that no number exceeds the greatest result.
    scale = max(x.abs().max().item() for x in results[0])
    allowed = rounding(8 + 4 * length, scale)
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=allowed)


@pytest.mark.parametrize("mode", ["reference", "portable"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_row_without_a_present_key_gives_zeros_and_finite_gradients(mode, dtype):
    inputs = [x.clone().requires_grad_() for x in _inputs(6, dtype)]
    pattern = attention_pattern(6, device=inputs[0].device, present=_padding(6))
    out = attend(*inputs, pattern, mode=mode)
    gradients = torch.autograd.grad(out.float().sum(), inputs)
    assert (out[2] == 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all((gradient[2] == 0).all() for gradient in gradients)


def test_a_window_as_long_as_the_sequence_needs_no_mask():
    assert attention_pattern(8, device=torch.device("cpu"), window=7).mask is None


def test_a_long_sequence_with_a_window_is_cut_into_blocks():
    pattern = attention_pattern(1000, device=torch.device("cpu"), window=8)
    assert pattern.is_blocked
    assert pattern.mask.numel() == 1000 * 3 * 8


def test_rows_in_blocks_do_not_see_one_another():
    # 13 positions are cut into blocks of 3; those of all rows follow one another in memory.
    inputs = _inputs(13)
    pattern = attention_pattern(13, device=inputs[0].device, window=3)
    together = attend(*inputs, pattern)
    for row in range(3):
        alone = attend(*(x[row : row + 1] for x in inputs), pattern)
        # float64; products of blocks may be summed in another order beside other rows. Each output
        # is a mean of at most 7 values of size 1, from scores of 8 products.
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=64 * 2.0**-52)


def test_blocks_have_a_gradient_of_their_gradient():
    inputs = [x.requires_grad_() for x in _inputs(9, batch=2, heads=1, size=2)]
    pattern = attention_pattern(9, device=inputs[0].device, window=2)
    math_only = torch.nn.attention.SDPBackend.MATH
    with torch.nn.attention.sdpa_kernel(math_only):
        assert torch.autograd.gradgradcheck(lambda *x: attend(*x, pattern), inputs)


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        attention_pattern(8, device=torch.device("cpu"), window=-1)


def test_fused_attention_on_a_cpu_is_refused_with_the_reason():
    with pytest.raises(KernelUnavailable, match="runs on CUDA devices, not on cpu"):
        attend(*_inputs(4), mode="fused")


def _packed_attention(q, k, v, ends_q, ends_k, max_q, max_k, *, causal, window_size, **others):
    """What flash_attn_varlen_func promises, one packed sequence at a time."""
    assert others == {"deterministic": True}
    assert torch.equal(ends_q, ends_k)
    assert ends_q.dtype == torch.int32
    out = torch.zeros_like(q)
    for start, end in zip(ends_q[:-1].tolist(), ends_q[1:].tolist(), strict=True):
        assert end - start <= max_q == max_k
        present = torch.ones(1, end - start, dtype=torch.bool)
        rows = [x[start:end].transpose(0, 1)[None] for x in (q, k, v)]
        window = max(window_size[0], 0)
        out[start:end] = _by_loop(*rows, present, causal=causal, window=window)[0].transpose(0, 1)
    return out


@pytest.mark.parametrize(
    ("padded", "reach"),
    [(False, {}), (True, {}), (True, {"causal": True}), (False, {"window": 3})],
    ids=["full", "padded", "padded causal", "window"],
)
def test_packing_for_flash_attention_keeps_sequences_apart(monkeypatch, padded, reach):
    monkeypatch.setattr(flash, "load", lambda: _packed_attention)
    q, k, v = _inputs(9)
    present = _padding(9) if padded else None
    pattern = attention_pattern(9, device=q.device, present=present, **reach)
    packing = pattern.packing(len(q), 9, q.device)
    out = flash.flash_attention(
        q, k, v, packing=packing, causal=pattern.causal, window=pattern.window
    )
    torch.testing.assert_close(out, attend(q, k, v, pattern, mode="reference"))


@pytest.mark.gpu
@pytest.mark.kernels
@pytest.mark.parametrize("length", [1, 63, 1000])
def test_fused_equals_reference_on_a_gpu(length):
    pytest.importorskip("flash_attn")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    inputs = [x.cuda().requires_grad_() for x in _inputs(length, torch.bfloat16, size=32)]
    wide = [x.detach().float().requires_grad_() for x in inputs]
    pattern = attention_pattern(length, device=inputs[0].device, present=_padding(length).cuda())
    out = attend(*inputs, pattern, mode="fused")
    expected = attend(*wide, pattern, mode="reference")
    # bfloat16 keeps eight bits.
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=2e-2)
    gradients = torch.autograd.grad(out.float().square().sum(), inputs)
    wide_gradients = torch.autograd.grad(expected.square().sum(), wide)
    for gradient, wide_gradient in zip(gradients, wide_gradients, strict=True):
        torch.testing.assert_close(gradient.float(), wide_gradient, rtol=5e-2, atol=5e-2)
