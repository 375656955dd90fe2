"""Fused kernels compared with the reference before they are used, forward and backward.

A kernel built for another card or another version of torch may run and give wrong results. So each
kernel is called once on small inputs, with gradients; one that differs from the reference is not
used in this process. Neither is one that raises: a package may be installed without the code for
this card.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dnamdlm.ops.attention import attend
from dnamdlm.ops.conv import (
    causal_conv_both,
    causal_kernels,
    depthwise_conv,
    depthwise_kernels,
)
from dnamdlm.ops.kernels.flash_attention import FLASH_ATTENTION
from dnamdlm.ops.kernels.triton_slots import TRITON_SCAN
from dnamdlm.ops.norm import add_layer_norm, norm_kernels, rms_norm
from dnamdlm.ops.scan import scan_both, scan_kernels
from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import (
    FAILURES,
    FusedKernel,
    Mode,
    describe,
    distrust,
    first_line,
    get_mode,
    only,
)
from dnamdlm.ops.uniforms import uniform_kernels

logger = logging.getLogger(__name__)

# relative to the largest entry of each tensor; eight bits of bfloat16, rounded several times.
TOLERANCES = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
BATCH, LENGTH, SIZE, STATE = 2, 70, 32, 16
# more than one segment of the Triton scan.
LONG = 1100


@dataclass(frozen=True)
class Probe:
    """A small call of one primitive.

    Attributes:
        kernel: the kernel that is checked.
        shapes: shapes of its inputs.
        run: the primitive, given the inputs and the mode.
    """

    kernel: FusedKernel
    shapes: Sequence[tuple[int, ...]]
    run: Callable[[list[Tensor], Mode], Tensor]


def fused_kernels(device: torch.device) -> list[FusedKernel]:
    """Every fused kernel for a device."""
    return [
        FLASH_ATTENTION,
        *scan_kernels(device),
        *causal_kernels(device),
        *depthwise_kernels(device),
        *norm_kernels(device),
        *uniform_kernels(device),
    ]


def check_kernels(
    device: torch.device, dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16)
) -> list[str]:
    """Compare each fused kernel that may run with the reference; distrust those that fail.

    Args:
        device: where the kernels would run.
        dtypes: element types to check; those that a kernel refuses are skipped.

    Returns:
        One sentence per kernel that was refused; each is also logged as a warning.
    """
    if get_mode() not in ("auto", "fused"):
        return []
    refused: list[str] = []
    for probe in probes(device):
        for dtype in dtypes:
            (row,) = describe([probe.kernel], device, dtype)
            if row["fused"] != "available":
                continue
            reason = _fault(probe, device, dtype)
            if reason is None:
                continue
            distrust(probe.kernel, reason)
            refused.append(f"{probe.kernel.package} is not used: {reason}")
            logger.warning("%s", refused[-1])
    return refused


def _fault(probe: Probe, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why a kernel cannot be trusted, or None."""
    try:
        difference = largest_difference(probe, device, dtype)
    except FAILURES as error:
        return f"it raises {type(error).__name__} in {dtype} ({first_line(error)})"
    if difference <= TOLERANCES[dtype]:
        return None
    return (
        f"it differs from the reference by {difference:.1e} in {dtype}, "
        f"more than {TOLERANCES[dtype]:.0e}"
    )


def largest_difference(
    probe: Probe,
    device: torch.device,
    dtype: torch.dtype,
    *,
    mode: Mode = "fused",
    wide: torch.dtype = torch.float32,
) -> float:
    """Largest difference of outputs and gradients, relative to the largest entry of each tensor.

    A result that is not finite counts as an infinite difference.

    Args:
        probe: what is computed.
        device: where.
        dtype: type of the inputs.
        mode: the implementation that is compared with the reference.
        wide: type in which the reference computes.
    """
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator).to(dtype) for shape in probe.shapes]
    expected = _with_gradients(probe, [x.to(device, wide) for x in values], "reference")
    with only(probe.kernel):
        found = _with_gradients(probe, [x.to(device) for x in values], mode)
    differences = [
        float((a.float() - b).abs().max() / b.abs().max())
        for a, b in zip(found, expected, strict=True)
    ]
    return max(float("inf") if math.isnan(x) else x for x in differences)


def _with_gradients(probe: Probe, inputs: list[Tensor], mode: Mode) -> list[Tensor]:
    """The result and the gradients of the sum of its squares."""
    inputs = [x.requires_grad_() for x in inputs]
    out = probe.run(inputs, mode)
    gradients = torch.autograd.grad(out.float().square().sum(), inputs)
    return [out.detach(), *gradients]


def probes(device: torch.device) -> list[Probe]:
    """One small call of each fused kernel."""
    moving = (BATCH, LENGTH, SIZE)
    heads = (BATCH, 2, LENGTH, SIZE)

    def scan(inputs: list[Tensor], mode: Mode) -> Tensor:
        u, delta, rates, *others = inputs
        # rates are negative, and weights are float32 in a network under autocast.
        rates = -rates.float().abs() - 0.1
        way = ScanInputs(u, delta, rates, *others)
        ahead, back = scan_both(way, way, mode=mode)
        return ahead + back

    def conv(inputs: list[Tensor], mode: Mode) -> Tensor:
        x, weight, bias = inputs
        ahead, back = causal_conv_both(x, (weight, weight), (bias, bias), mode=mode)
        return ahead + back

    def norms(inputs: list[Tensor], mode: Mode) -> Tensor:
        x, branch, gain, bias, gate, *around = inputs
        total, out = add_layer_norm(
            x, branch, gain, bias, gate=gate, modulation=(around[0], around[1]), mode=mode
        )
        return total + out + rms_norm(branch, gain, mode=mode)

    return [
        Probe(FLASH_ATTENTION, [heads] * 3, lambda x, mode: attend(x[0], x[1], x[2], mode=mode)),
        *(
            Probe(kernel, _scan_shapes(length), scan)
            for kernel in scan_kernels(device)
            for length in ((LENGTH, LONG) if kernel is TRITON_SCAN else (LENGTH,))
        ),
        *(Probe(kernel, [moving, (SIZE, 4), (SIZE,)], conv) for kernel in causal_kernels(device)),
        *(
            Probe(kernel, [moving, (SIZE, 5)], lambda x, mode: depthwise_conv(*x, mode=mode))
            for kernel in depthwise_kernels(device)
        ),
        *(
            Probe(kernel, [moving] * 2 + [(SIZE,)] * 2 + [(BATCH, 1, SIZE)] * 3, norms)
            for kernel in norm_kernels(device)
        ),
    ]


def _scan_shapes(length: int) -> list[tuple[int, ...]]:
    """Shapes of u, delta, A, B, C, D, z and the bias of the step."""
    moving, states = (BATCH, length, SIZE), (BATCH, length, STATE)
    return [moving, moving, (SIZE, STATE), states, states, (SIZE,), moving, (SIZE,)]
