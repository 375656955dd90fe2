"""Short depthwise convolution along the sequence, centred, channels last.

Shapes: B sequences, L positions, D channels, K taps (odd). Outside the sequence is zero.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.selection import Mode, choose


def depthwise_conv(
    x: Float[Tensor, "B L D"],
    weight: Float[Tensor, "D K"],
    bias: Float[Tensor, " D"] | None = None,
    *,
    valid: Bool[Tensor, "B L"] | None = None,
    mode: Mode | None = None,
) -> Float[Tensor, "B L D"]:
    """Compute y[i] = bias + sum_j weight[:, j] * x[i + j - K // 2], one filter per channel.

    Args:
        x: input.
        weight: one filter per channel, an odd number of taps.
        bias: added to each position, or None; on a CPU its gradient costs as much as the rest of
            the backward pass.
        valid: False marks padding, whose values count as zero; None means no padding.
        mode: overrides the process-wide choice of implementation.

    Raises:
        ValueError: if the number of taps is even.
    """
    if weight.shape[-1] % 2 == 0:
        raise ValueError(f"a centred convolution needs an odd width, got {weight.shape[-1]}")
    if valid is not None:
        # where, not multiply: padding may hold anything, inf included.
        x = torch.where(valid.unsqueeze(-1), x, 0.0)
    if choose("depthwise convolution", x.device, x.dtype, mode=mode) == "reference":
        return _reference(x, weight, bias)
    return _portable(x, weight, bias)


def _reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One shifted product per tap."""
    length, width = x.shape[1], weight.shape[-1]
    padded = functional.pad(x, (0, 0, width // 2, width // 2))
    taps = [padded[:, j : j + length] * weight[:, j] for j in range(width)]
    total = torch.stack(taps).sum(0)
    return total if bias is None else total + bias


def _portable(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The sequence as a picture one pixel high.

    (B, L, D) in memory is exactly a channels-last picture, so that nothing is copied; conv1d
    would transpose twice and takes three to five times as long on a CPU.
    """
    picture = x.transpose(1, 2).unsqueeze(2)
    filters = weight[:, None, None, :]
    padding = (0, weight.shape[-1] // 2)
    out = functional.conv2d(picture, filters, bias, padding=padding, groups=weight.shape[0])
    return out.squeeze(2).transpose(1, 2)
