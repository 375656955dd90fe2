"""The slots of our Triton kernels: what they are called, and whether they can run here.

The operators themselves are imported at the first use of one, since torch takes a while to register
them and few processes have a GPU.
"""

import os
from collections.abc import Callable
from typing import Any

import torch

from dnamdlm.ops.selection import FusedKernel

MAX_STATES = 64


def load() -> Callable[..., Any]:
    """Import Triton, which comes with builds of torch for CUDA; raises ImportError where absent."""
    import triton  # pyright: ignore[reportMissingImports]

    return triton.jit  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on any device, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why our kernels cannot serve this device and element type, or None."""
    if device.type != "cuda" and not is_interpreted():
        return f"Triton kernels run on CUDA devices, not on {device.type}"
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"Triton kernels compute in float32, not in {dtype}"
    return None


def refusal_of_integers(device: torch.device, dtype: torch.dtype) -> str | None:
    """As `refusal`, for kernels that compute with integers."""
    del dtype
    return refusal(device, torch.float32)


TRITON_SCAN = FusedKernel("selective scan", "Triton scan", load, refusal)
TRITON_CAUSAL_CONV = FusedKernel("causal convolution", "Triton convolution", load, refusal)
TRITON_DEPTHWISE = FusedKernel("depthwise convolution", "Triton convolution", load, refusal)
TRITON_NORM = FusedKernel("normalisation", "Triton norm", load, refusal)
TRITON_UNIFORMS = FusedKernel("uniform numbers", "Triton Philox", load, refusal_of_integers)
