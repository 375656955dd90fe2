"""Short depthwise convolutions along the sequence, centred or causal, channels last.

Shapes: B sequences, L positions, D channels, K taps. Values outside the sequence are zero.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.kernels.mamba_kernels import CAUSAL_CONV, CONV_WIDTHS, fused_causal_conv
from dnamdlm.ops.selection import Mode, choose


def depthwise_conv(
    x: Float[Tensor, "B L D"],
    weight: Float[Tensor, "D K"],
    bias: Float[Tensor, " D"] | None = None,
    *,
    present: Bool[Tensor, "B L"] | None = None,
    mode: Mode | None = None,
) -> Float[Tensor, "B L D"]:
    """Compute y[i] = bias + sum_j weight[:, j] * x[i + j - K // 2], one filter per channel.

    Args:
        x: input.
        weight: one filter per channel, an odd number of taps.
        bias: added to each position, or None; on a CPU its gradient takes as long as the rest of
            the backward pass.
        present: False marks padding, whose values count as zero; None means no padding.
        mode: overrides the process-wide choice of implementation.

    Raises:
        ValueError: if the number of taps is even.
    """
    if weight.shape[-1] % 2 == 0:
        raise ValueError(f"a centred convolution needs an odd width, got {weight.shape[-1]}")
    if present is not None:
        # where, not multiply: padding may be anything, inf included.
        x = torch.where(present.unsqueeze(-1), x, 0.0)
    if choose("depthwise convolution", x.device, x.dtype, mode=mode) == "reference":
        return _reference(x, weight, bias)
    return _portable(x, weight, bias)


def causal_conv(
    x: Float[Tensor, "B L D"],
    weight: Float[Tensor, "D K"],
    bias: Float[Tensor, " D"] | None = None,
    *,
    reverse: bool = False,
    present: Bool[Tensor, "B L"] | None = None,
    mode: Mode | None = None,
) -> Float[Tensor, "B L D"]:
    """Compute SiLU(bias + sum_j weight[:, j] * x[i + j - K + 1]), one filter per channel.

    Args:
        x: input.
        weight: one filter per channel; the last tap belongs to the position itself.
        bias: added to each position, or None.
        reverse: use later positions instead, x[i - j + K - 1].
        present: False marks padding, whose values count as zero; None means no padding.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and causal-conv1d cannot run here.
    """
    if present is not None:
        x = torch.where(present.unsqueeze(-1), x, 0.0)
    width = weight.shape[-1]
    obstacle = None
    if width not in CONV_WIDTHS:
        obstacle = f"it has {CONV_WIDTHS[0]} to {CONV_WIDTHS[-1]} taps, not {width}"
    chosen = choose(
        CAUSAL_CONV.primitive, x.device, x.dtype, fused=CAUSAL_CONV, obstacle=obstacle, mode=mode
    )
    if chosen == "fused":
        return fused_causal_conv(x, weight, bias, reverse=reverse)
    if reverse:
        weight = weight.flip(-1)
    before, after = (0, width - 1) if reverse else (width - 1, 0)
    if chosen == "reference":
        padded = functional.pad(x, (0, 0, before, after))
        taps = [padded[:, j : j + x.shape[1]] * weight[:, j] for j in range(width)]
        total = torch.stack(taps).sum(0)
        return functional.silu(total if bias is None else total + bias)
    # the operator pads both sides without a copy; one side is dropped.
    out = _image_conv(x, weight, bias, padding=width - 1)
    return functional.silu(out[:, after : after + x.shape[1]])


def _reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One shifted product per tap."""
    length, width = x.shape[1], weight.shape[-1]
    padded = functional.pad(x, (0, 0, width // 2, width // 2))
    taps = [padded[:, j : j + length] * weight[:, j] for j in range(width)]
    total = torch.stack(taps).sum(0)
    return total if bias is None else total + bias


def _portable(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The operator of torch."""
    return _image_conv(x, weight, bias, padding=weight.shape[-1] // 2)


def _image_conv(x: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int) -> Tensor:
    """The sequence as an image one pixel high.

    (B, L, D) in memory is a channels-last image, so that nothing is copied; conv1d transposes twice
    and takes three to five times as long on a CPU.
    """
    image = x.transpose(1, 2).unsqueeze(2)
    filters = weight[:, None, None, :]
    out = functional.conv2d(image, filters, bias, padding=(0, padding), groups=weight.shape[0])
    return out.squeeze(2).transpose(1, 2)
