"""mamba-ssm and causal-conv1d behind the scan and the causal convolution, on CUDA.

Signatures as in mamba-ssm 2.3 (`selective_scan_fn`) and causal-conv1d 1.7 (`causal_conv1d_fn`).
Both expect channels before positions, which takes a transposition each way.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
CONV_WIDTHS = (2, 3, 4)


def load_scan() -> Callable[..., Any]:
    """Import the scan of mamba-ssm; raises ImportError where absent."""
    from mamba_ssm.ops.selective_scan_interface import (  # pyright: ignore[reportMissingImports]
        selective_scan_fn,  # pyright: ignore[reportUnknownVariableType]
    )

    return selective_scan_fn  # pyright: ignore[reportUnknownVariableType]


def load_conv() -> Callable[..., Any]:
    """Import the convolution of causal-conv1d; raises ImportError where absent."""
    from causal_conv1d import (  # pyright: ignore[reportMissingImports]
        causal_conv1d_fn,  # pyright: ignore[reportUnknownVariableType]
    )

    return causal_conv1d_fn  # pyright: ignore[reportUnknownVariableType]


def _refusal(package: str) -> Callable[[torch.device, torch.dtype], str | None]:
    """Why a package cannot serve a device and element type, or None."""

    def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
        if device.type != "cuda":
            return f"{package} runs on CUDA devices, not on {device.type}"
        if dtype not in FLOATS:
            return f"{package} computes in float32, float16 or bfloat16, not in {dtype}"
        return None

    return refusal


MAMBA_SCAN = FusedKernel("selective scan", "mamba-ssm", load_scan, _refusal("mamba-ssm"))
CAUSAL_CONV = FusedKernel(
    "causal convolution", "causal-conv1d", load_conv, _refusal("causal-conv1d")
)


def mamba_scan(inputs: ScanInputs, *, softplus: bool, reverse: bool) -> Float[Tensor, "B L D"]:
    """The scan of mamba-ssm; tensors with positions have the type of `u`, the others float32."""
    moving = (inputs.u, inputs.delta, inputs.B, inputs.C, inputs.z)
    u, delta, write, read, gate = [
        None if x is None else _turned(x, inputs.u.dtype, reverse=reverse) for x in moving
    ]
    fixed = (inputs.A, inputs.D, inputs.delta_bias)
    rates, direct, bias = [None if x is None else x.float().contiguous() for x in fixed]
    out: Tensor = load_scan()(
        u, delta, rates, write, read, direct, z=gate, delta_bias=bias, delta_softplus=softplus
    )
    return (out.flip(-1) if reverse else out).transpose(1, 2)


def fused_causal_conv(
    x: Float[Tensor, "B L D"],
    weight: Float[Tensor, "D K"],
    bias: Float[Tensor, " D"] | None,
    *,
    reverse: bool,
) -> Float[Tensor, "B L D"]:
    """The convolution of causal-conv1d, followed by SiLU."""
    bias = None if bias is None else bias.to(weight.dtype).contiguous()
    turned = _turned(x, x.dtype, reverse=reverse)
    out: Tensor = load_conv()(turned, weight.contiguous(), bias, activation="silu")
    return (out.flip(-1) if reverse else out).transpose(1, 2)


def _turned(x: Tensor, dtype: torch.dtype, *, reverse: bool) -> Tensor:
    """(B, L, D) to a contiguous (B, D, L), from the last position to the first if `reverse`."""
    x = x.to(dtype).transpose(1, 2)
    return (x.flip(-1) if reverse else x).contiguous()
