"""Normalisation over the last axis, with a gain and no bias, in float32 or wider.

Shapes: D channels. Inputs in half precision give float32, as a residual stream needs.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def layer_norm(
    x: Float[Tensor, "*rows D"], gain: Float[Tensor, " D"], *, eps: float = 1e-5
) -> Float[Tensor, "*rows D"]:
    """Compute (x - mean) / sqrt(biased variance + eps) * gain over D."""
    x, gain = _widen(x), _widen(gain)
    return functional.layer_norm(x, (x.shape[-1],), gain, None, eps)


def rms_norm(
    x: Float[Tensor, "*rows D"], gain: Float[Tensor, " D"], *, eps: float = 1e-5
) -> Float[Tensor, "*rows D"]:
    """Compute x / sqrt(mean of squares + eps) * gain over D."""
    x, gain = _widen(x), _widen(gain)
    return functional.rms_norm(x, (x.shape[-1],), gain, eps)


def _widen(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
