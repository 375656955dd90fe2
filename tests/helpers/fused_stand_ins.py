"""Stand-ins of mamba-ssm, causal-conv1d and flash-attn: what they demand, and what they give.

The demands are those of mamba-ssm 2.3, causal-conv1d 1.6 and flash-attn 2.8, which raise for other
element types, shapes and strides. What they give is computed in float32 with operators of torch.
`install` puts them where the packages would be, sound or broken in one of three ways.
"""

import sys
from itertools import pairwise
from types import ModuleType

import torch
from torch.nn import functional

from tests.helpers.pretended_gpu import OneKernel

HALVES = (torch.float16, torch.bfloat16)
FLOATS = (torch.float32, *HALVES)
MODULES = {
    "mamba_ssm.ops.selective_scan_interface": "selective_scan_fn",
    "causal_conv1d": "causal_conv1d_fn",
    "flash_attn": "flash_attn_varlen_func",
}
PACKAGES = ("mamba-ssm", "causal-conv1d", "flash-attn")
BROKEN = ("ImportError", "RuntimeError", "wrong")


class StandIns:
    """The entries of the three packages on one pretended GPU.

    Attributes:
        calls: of each package.
    """

    def __init__(self, gpu):
        self.gpu = gpu
        self.calls = dict.fromkeys(PACKAGES, 0)

    def selective_scan_fn(
        self, u, delta, rates, write, read, direct=None, *,
        z=None, delta_bias=None, delta_softplus=False,
    ):  # fmt: skip
        """y_t = C_t . h_t + D u_t, gated, for (B, D, L)."""
        self.calls["mamba-ssm"] += 1
        batch, size, length = u.shape
        assert u.is_cuda
        assert u.dtype in FLOATS
        for moving in (u, delta, *([] if z is None else [z])):
            assert moving.dtype == u.dtype
            assert moving.shape == (batch, size, length)
            assert moving.stride(-1) == 1
        for state in (write, read):
            assert state.dtype == u.dtype
            assert state.shape == (batch, rates.shape[1], length)
            assert state.stride(-1) == 1
        assert rates.dtype == torch.float32
        assert rates.shape[0] == size
        assert rates.shape[1] <= 256
        for fixed in (direct, delta_bias):
            if fixed is not None:
                assert fixed.dtype == torch.float32
                assert fixed.shape == (size,)
                assert fixed.stride(-1) == 1

        def run(u, delta, rates, write, read, direct, z, bias):
            wide = [x.float() for x in (u, delta, write, read)]
            step = wide[1] if bias is None else wide[1] + bias[:, None]
            step = functional.softplus(step) if delta_softplus else step
            state = u.new_zeros(batch, size, rates.shape[1], dtype=torch.float32)
            rows = []
            for at in range(length):
                decay = (step[:, :, at, None] * rates).exp()
                written = step[:, :, at, None] * wide[2][:, None, :, at] * wide[0][:, :, at, None]
                state = decay * state + written
                rows.append((state * wide[3][:, None, :, at]).sum(-1))
            out = torch.stack(rows, -1)
            out = out if direct is None else out + direct[:, None] * wide[0]
            return (out if z is None else out * functional.silu(z.float())).to(u.dtype)

        inputs = (u, delta, rates, write, read, direct, z, delta_bias)
        return OneKernel.apply(self.gpu, "mamba-ssm", run, *inputs)

    def causal_conv1d_fn(self, x, weight, bias=None, *, activation=None):
        """The causal depthwise convolution of (B, D, L)."""
        self.calls["causal-conv1d"] += 1
        assert x.is_cuda
        assert x.dtype in FLOATS
        assert weight.dtype in FLOATS
        assert activation in {None, "silu", "swish"}
        assert weight.shape[0] == x.shape[1]
        assert 2 <= weight.shape[1] <= 4
        assert weight.stride(-1) == 1
        # positions or channels lie together; if channels, in groups of eight.
        assert x.stride(2) == 1 or (x.stride(1) == 1 and x.shape[1] % 8 == 0)
        if bias is not None:
            assert bias.dtype == weight.dtype
            assert bias.shape == weight.shape[:1]

        def run(x, weight, bias):
            taps = weight.shape[1]
            padded = functional.pad(x.float(), (taps - 1, 0))
            out = sum(
                padded[..., j : j + x.shape[-1]] * weight[:, j, None].float() for j in range(taps)
            )
            out = out if bias is None else out + bias[:, None].float()
            return (functional.silu(out) if activation else out).to(x.dtype)

        return OneKernel.apply(self.gpu, "causal-conv1d", run, x, weight, bias)

    def flash_attn_varlen_func(
        self, q, k, v, ends_q, ends_k, max_q, max_k, *, causal, window_size, deterministic
    ):  # fmt: skip
        """Attention within each packed sequence of (N, H, E)."""
        self.calls["flash-attn"] += 1
        assert deterministic
        for x in (q, k, v):
            assert x.is_cuda
            assert x.dtype == q.dtype
            assert x.dtype in HALVES
            assert x.shape == q.shape
            assert x.stride(-1) == 1
        assert q.shape[-1] <= 256
        for ends in (ends_q, ends_k):
            assert ends.dtype == torch.int32
            assert ends.is_cuda
            assert ends.is_contiguous()
        offsets = ends_q.held.tolist()
        assert offsets == ends_k.held.tolist()
        assert offsets[-1] == len(q)
        assert max(b - a for a, b in pairwise(offsets)) <= max_q == max_k
        before, after = window_size

        def run(q, k, v):
            parts = []
            for a, b in pairwise(offsets):
                rows = [x[a:b].transpose(0, 1).float() for x in (q, k, v)]
                scores = rows[0] @ rows[1].transpose(1, 2) / q.shape[-1] ** 0.5
                place = torch.arange(b - a, device=q.device)
                distance = place[:, None] - place
                allowed = torch.ones_like(distance, dtype=torch.bool)
                if before >= 0:
                    allowed &= distance <= before
                if after >= 0:
                    allowed &= distance >= -after
                if causal:
                    allowed &= distance >= 0
                weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
                parts.append((weights @ rows[2]).transpose(0, 1))
            return torch.cat(parts).to(q.dtype)

        return OneKernel.apply(self.gpu, "flash-attn", run, q, k, v)


def install(gpu, broken=None):
    """Put the stand-ins where the packages would be.

    Args:
        gpu: the pretended GPU.
        broken: None, or how they fail: see `BROKEN`.

    Returns:
        Their counts of calls.
    """
    sound = StandIns(gpu)
    for module, name in MODULES.items():
        parts = module.split(".")
        for number in range(1, len(parts) + 1):
            sys.modules[".".join(parts[:number])] = ModuleType(".".join(parts[:number]))
        if broken != "ImportError":
            setattr(sys.modules[module], name, _entry(getattr(sound, name), broken))
    return sound.calls


def _entry(function, broken):
    def raising(*_inputs, **_settings):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    def wrong(*inputs, **settings):
        return 1.5 * function(*inputs, **settings)

    return {None: function, "RuntimeError": raising, "wrong": wrong}[broken]
