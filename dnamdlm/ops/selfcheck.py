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
from dnamdlm.ops.conv import causal_conv
from dnamdlm.ops.kernels.flash_attention import FLASH_ATTENTION
from dnamdlm.ops.kernels.mamba_kernels import CAUSAL_CONV
from dnamdlm.ops.scan import scan_kernel, selective_scan
from dnamdlm.ops.selection import (
    FAILURES,
    FusedKernel,
    Mode,
    describe,
    distrust,
    first_line,
    get_mode,
)

logger = logging.getLogger(__name__)

# relative to the largest entry of each tensor; eight bits of bfloat16, rounded several times.
TOLERANCES = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
BATCH, LENGTH, SIZE, STATE = 2, 70, 32, 16


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
    return [FLASH_ATTENTION, scan_kernel(device), CAUSAL_CONV]


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
    """One small call of each primitive that has a fused kernel."""
    moving, states = (BATCH, LENGTH, SIZE), (BATCH, LENGTH, STATE)
    heads = (BATCH, 2, LENGTH, SIZE)

    def scan(inputs: list[Tensor], mode: Mode) -> Tensor:
        u, delta, rates, *others = inputs
        # rates are negative, and weights are float32 in a network under autocast.
        rates = -rates.float().abs() - 0.1
        return selective_scan(u, delta, rates, *others, mode=mode)

    return [
        Probe(FLASH_ATTENTION, [heads] * 3, lambda x, mode: attend(x[0], x[1], x[2], mode=mode)),
        Probe(
            scan_kernel(device),
            [moving, moving, (SIZE, STATE), states, states, (SIZE,), moving, (SIZE,)],
            scan,
        ),
        Probe(
            CAUSAL_CONV,
            [moving, (SIZE, 4), (SIZE,)],
            lambda x, mode: causal_conv(*x, mode=mode),
        ),
    ]
