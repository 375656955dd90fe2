"""Normalisation over the last axis in float32 or wider, with what is around it in a network.

A branch may be added to the residual stream before, and the norm be modulated after, each with
factors of its own for every sequence or position. On CUDA one Triton kernel does all of it; the
reference and the portable form are the same operators of torch, one after the other.

Shapes: B sequences, L positions, D channels; L1 is L or 1. Inputs in half precision give float32,
as a residual stream needs.
"""

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from dnamdlm.ops.kernels.triton_slots import TRITON_NORM
from dnamdlm.ops.selection import FusedKernel, Mode, choose, first_usable, get_mode, give_up

NORM = TRITON_NORM.primitive
# a program of the kernel holds all channels of a position.
MOST_CHANNELS = 4096

ShiftAndScale = tuple[Float[Tensor, "B L1 D"], Float[Tensor, "B L1 D"]]


def layer_norm(
    x: Float[Tensor, "*rows D"],
    gain: Float[Tensor, " D"],
    bias: Float[Tensor, " D"] | None = None,
    *,
    modulation: ShiftAndScale | None = None,
    eps: float = 1e-5,
    mode: Mode | None = None,
) -> Float[Tensor, "*rows D"]:
    """Compute (x - mean) / sqrt(biased variance + eps) * gain + bias over D, modulated.

    Source: Ba, Kiros and Hinton 2016 (arXiv:1607.06450), section 3.1.

    Args:
        x: input.
        gain: factor of each channel.
        bias: added to each channel after the gain, or None.
        modulation: shift and scale of the result, see `modulate`; None means none.
        eps: added to the variance.
        mode: overrides the process-wide choice of implementation.

    Raises:
        KernelUnavailable: if the mode is `fused` and the kernel cannot run here.

    Example: the channels 1 and 3 are one deviation below and above their mean.
        >>> import torch
        >>> from dnamdlm.ops import layer_norm
        >>> layer_norm(torch.tensor([[1.0, 3.0]]), torch.ones(2), eps=0.0)
        tensor([[-1.,  1.]])
    """
    return _normalise(x, gain, bias, modulation=modulation, centred=True, eps=eps, mode=mode)[1]


def rms_norm(
    x: Float[Tensor, "*rows D"],
    gain: Float[Tensor, " D"],
    *,
    modulation: ShiftAndScale | None = None,
    eps: float = 1e-5,
    mode: Mode | None = None,
) -> Float[Tensor, "*rows D"]:
    """Compute x / sqrt(mean of squares + eps) * gain over D, modulated; see `layer_norm`.

    Source: Zhang and Sennrich 2019 (arXiv:1910.07467), equation 4.
    """
    return _normalise(x, gain, None, modulation=modulation, centred=False, eps=eps, mode=mode)[1]


def add_layer_norm(
    x: Float[Tensor, "*rows D"],
    branch: Float[Tensor, "*rows D"],
    gain: Float[Tensor, " D"],
    bias: Float[Tensor, " D"] | None = None,
    *,
    gate: Float[Tensor, "B L1 D"] | None = None,
    modulation: ShiftAndScale | None = None,
    eps: float = 1e-5,
    mode: Mode | None = None,
) -> tuple[Float[Tensor, "*rows D"], Float[Tensor, "*rows D"]]:
    """The sum x + gate * branch, and its layer norm.

    Args:
        x: the residual stream.
        branch: added to it.
        gain: as in `layer_norm`, as are `bias`, `modulation`, `eps`, `mode` and what is raised.
        bias: see there.
        gate: factor of the branch; None is one.
        modulation: see there.
        eps: see there.
        mode: see there.

    Example: with a gate of zero the branch has no effect.
        >>> import torch
        >>> from dnamdlm.ops import add_layer_norm
        >>> x = torch.tensor([[[1.0, 3.0]]])
        >>> total, out = add_layer_norm(x, 9 * x, torch.ones(2), gate=0 * x, eps=0.0)
        >>> total.tolist(), out.tolist()
        ([[[1.0, 3.0]]], [[[-1.0, 1.0]]])
    """
    return _normalise(
        x, gain, bias, branch=branch, gate=gate, modulation=modulation, centred=True, eps=eps,
        mode=mode,
    )  # fmt: skip


def modulate(
    x: Float[Tensor, "B L D"], shift: Float[Tensor, "B L1 D"], scale: Float[Tensor, "B L1 D"]
) -> Float[Tensor, "B L D"]:
    """Apply x * (1 + scale) + shift.

    Source: Peebles and Xie 2022 (arXiv:2212.09748), section 3.2.
    """
    return torch.addcmul(shift, x, 1.0 + scale)


def norm_kernels(device: torch.device) -> list[FusedKernel]:
    """The fused kernels of norms for a device."""
    return [TRITON_NORM] if device.type == "cuda" else []


def _normalise(
    x: Tensor,
    gain: Tensor,
    bias: Tensor | None,
    *,
    modulation: ShiftAndScale | None,
    centred: bool,
    eps: float,
    mode: Mode | None,
    branch: Tensor | None = None,
    gate: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum of x and branch, and its norm."""
    around = () if modulation is None else modulation
    kernel = _kernel(x, [gain, bias, branch, gate, *around], mode)
    if kernel is not None:
        try:
            return _by_triton(
                x, gain, bias, branch=branch, gate=gate, modulation=modulation, centred=centred,
                eps=eps,
            )  # fmt: skip
        except RuntimeError as error:
            give_up(kernel, error, mode=mode)
    total = _added(x, branch, gate)
    wide = torch.promote_types(total.dtype, torch.float32)
    shape, widened, gain = (total.shape[-1],), total.to(wide), gain.to(wide)
    if centred:
        bias = None if bias is None else bias.to(wide)
        out = functional.layer_norm(widened, shape, gain, bias, eps)
    else:
        out = functional.rms_norm(widened, shape, gain, eps)
    return total, out if modulation is None else modulate(out, *modulation)


def _kernel(x: Tensor, others: Sequence[Tensor | None], mode: Mode | None) -> FusedKernel | None:
    """The kernel that serves a call, or None where operators of torch do."""
    if mode is None and not norm_kernels(x.device):
        return None
    if mode is None and get_mode() == "auto" and torch.compiler.is_compiling():
        # the compiler joins them with what is before and after, which it cannot do with a kernel.
        return None
    types = [x.dtype, *(one.dtype for one in others if one is not None)]
    dtype = functools.reduce(torch.promote_types, types)
    kernel = first_usable(NORM, norm_kernels(x.device), x.device, dtype)
    obstacle = None
    if x.shape[-1] > MOST_CHANNELS:
        obstacle = f"it takes {MOST_CHANNELS} channels at most, not {x.shape[-1]}"
    chosen = choose(NORM, x.device, dtype, fused=kernel, obstacle=obstacle, mode=mode)
    return kernel if chosen == "fused" and x.numel() > 0 else None


def _by_triton(
    x: Tensor,
    gain: Tensor,
    bias: Tensor | None,
    *,
    branch: Tensor | None,
    gate: Tensor | None,
    modulation: ShiftAndScale | None,
    centred: bool,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """The sum and its norm by our kernel; factors of single positions by operators of torch."""
    from dnamdlm.ops.kernels.triton_norm_ops import triton_norm

    if gate is not None and not _is_by_sequence(gate, x):
        x, branch, gate = _added(x, branch, gate), None, None
    inside = modulation
    if modulation is not None and not all(_is_by_sequence(one, x) for one in modulation):
        inside = None
    total, out = triton_norm(
        x, gain, bias, centred=centred, eps=eps, branch=branch, gate=gate, modulation=inside
    )
    if modulation is None or inside is not None:
        return total, out
    return total, modulate(out, *modulation)


def _added(x: Tensor, branch: Tensor | None, gate: Tensor | None) -> Tensor:
    """The sum of x and the gated branch, as far as there are any."""
    if branch is None:
        return x
    return x + branch if gate is None else torch.addcmul(x, gate, branch)


def _is_by_sequence(factor: Tensor, x: Tensor) -> bool:
    """Whether there is one factor for each sequence and channel."""
    return x.ndim == 3 and factor.shape == (x.shape[0], 1, x.shape[2])
