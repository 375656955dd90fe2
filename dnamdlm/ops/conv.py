"""Short depthwise convolutions along the sequence, centred or causal, channels last.

Shapes: B sequences, L positions, D channels, K taps. Values outside the sequence are zero.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.kernels.mamba_kernels import CAUSAL_CONV, CONV_WIDTHS, fused_causal_conv
from dnamdlm.ops.kernels.triton_slots import TRITON_CAUSAL_CONV, TRITON_DEPTHWISE
from dnamdlm.ops.selection import FusedKernel, Mode, choose, first_usable, give_up

CAUSAL, DEPTHWISE = "causal convolution", "depthwise convolution"


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
    outs = _by_triton(
        DEPTHWISE, x, [weight], [] if bias is None else [bias],
        offset=weight.shape[-1] // 2, reverse=False, present=present, mode=mode,
    )  # fmt: skip
    if outs is not None:
        return outs[0]
    if present is not None:
        # where, not multiply: padding may be anything, inf included.
        x = torch.where(present.unsqueeze(-1), x, 0.0)
    kernel = first_usable(DEPTHWISE, depthwise_kernels(x.device), x.device, x.dtype)
    if choose(DEPTHWISE, x.device, x.dtype, fused=kernel, mode=mode) == "reference":
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
        weight: one filter per channel; the last tap belongs to the position itself. Filter and
            bias are taken in the type of `x`, or wider.
        bias: added to each position, or None.
        reverse: use later positions instead, x[i - j + K - 1].
        present: False marks padding, whose values count as zero; None means no padding.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and no kernel can run here.
    """
    outs = _by_triton(
        CAUSAL, x, [weight], [] if bias is None else [bias],
        offset=weight.shape[-1] - 1, reverse=reverse, present=present, mode=mode,
    )  # fmt: skip
    if outs is not None:
        return outs[0]
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    if present is not None:
        x = torch.where(present.unsqueeze(-1), x, 0.0)
    width = weight.shape[-1]
    obstacle = None
    kernel = first_usable(CAUSAL, causal_kernels(x.device), x.device, x.dtype)
    if kernel is CAUSAL_CONV and width not in CONV_WIDTHS:
        obstacle = f"it has {CONV_WIDTHS[0]} to {CONV_WIDTHS[-1]} taps, not {width}"
    chosen = choose(CAUSAL, x.device, x.dtype, fused=kernel, obstacle=obstacle, mode=mode)
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


def causal_conv_both(
    x: Float[Tensor, "B L D"],
    weights: tuple[Float[Tensor, "D K"], Float[Tensor, "D K"]],
    biases: tuple[Float[Tensor, " D"], Float[Tensor, " D"]],
    *,
    present: Bool[Tensor, "B L"] | None = None,
    mode: Mode | None = None,
) -> list[Float[Tensor, "B L D"]]:
    """`causal_conv` with the first filter, and reversed with the second; one launch on GPUs."""
    outs = _by_triton(
        CAUSAL, x, list(weights), list(biases),
        offset=weights[0].shape[-1] - 1, reverse=False, present=present, mode=mode,
    )  # fmt: skip
    if outs is not None:
        return outs
    return [
        causal_conv(x, weight, bias, reverse=reverse, present=present, mode=mode)
        for weight, bias, reverse in zip(weights, biases, (False, True), strict=True)
    ]


def causal_kernels(device: torch.device) -> list[FusedKernel]:
    """The fused kernels of the causal convolution for a device, the preferred one first."""
    return [TRITON_CAUSAL_CONV, CAUSAL_CONV] if device.type == "cuda" else [CAUSAL_CONV]


def depthwise_kernels(device: torch.device) -> list[FusedKernel]:
    """The fused kernels of the centred convolution for a device."""
    return [TRITON_DEPTHWISE] if device.type == "cuda" else []


def _by_triton(
    primitive: str,
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    *,
    offset: int,
    reverse: bool,
    present: Tensor | None,
    mode: Mode | None,
) -> list[Tensor] | None:
    """The convolutions by our Triton kernels, or None where another form is to be used."""
    kernels = causal_kernels if primitive == CAUSAL else depthwise_kernels
    kernel = first_usable(primitive, kernels(x.device), x.device, x.dtype)
    if kernel is None or kernel not in (TRITON_CAUSAL_CONV, TRITON_DEPTHWISE):
        return None
    if choose(primitive, x.device, x.dtype, fused=kernel, mode=mode) != "fused":
        return None
    from dnamdlm.ops.kernels.triton_conv_ops import triton_conv

    active = primitive == CAUSAL
    try:
        return triton_conv(
            x, weights, biases, offset=offset, active=active, reverse=reverse, present=present
        )
    except RuntimeError as error:
        give_up(kernel, error, mode=mode)
    return None


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
