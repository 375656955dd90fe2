"""How a command computes: the settings `ops` and `precision`."""

from __future__ import annotations

import logging

import torch

from dnamdlm.assembly.devices import choose_device
from dnamdlm.diffusion.randomness import RowNoise, make_uniforms_by
from dnamdlm.ops.precision import set_precision
from dnamdlm.ops.selection import (
    FAILURES,
    describe,
    distrust,
    first_line,
    get_mode,
    set_mode,
)
from dnamdlm.ops.selfcheck import check_kernels
from dnamdlm.ops.uniforms import fused_uniforms, uniform_kernels

logger = logging.getLogger(__name__)


def start_ops(mode: str, device: str = "auto", precision: str = "auto") -> list[str]:
    """Choose implementations and precision, and check fused kernels once against the reference.

    Args:
        mode: `auto`, `reference`, `portable` or `fused`.
        device: where the kernels will run, as for `choose_device`.
        precision: `auto`, `32-true`, `tf32` or `bf16-mixed`, see `dnamdlm.ops.precision`.

    Returns:
        One sentence per kernel that was refused because it differs.

    Raises:
        ConfigError: if the mode, the device or the precision is unknown.
    """
    set_mode(mode)
    chosen = choose_device(device)
    set_precision(precision, chosen)
    return [*check_kernels(chosen), *_checked_uniforms(chosen)]


def _checked_uniforms(device: torch.device) -> list[str]:
    """Let a kernel make uniform numbers on a GPU if its bits are those of plain torch."""
    make_uniforms_by(None)
    refused: list[str] = []
    for kernel in uniform_kernels(device):
        (row,) = describe([kernel], device, torch.float64)
        if get_mode() not in ("auto", "fused") or row["fused"] != "available":
            continue
        reason = _fault_of_uniforms(device)
        if reason is None:
            make_uniforms_by(fused_uniforms)
            continue
        distrust(kernel, reason)
        refused.append(f"{kernel.package} is not used: {reason}")
        logger.warning("%s", refused[-1])
    return refused


def _fault_of_uniforms(device: torch.device) -> str | None:
    """Why the numbers of the kernel cannot be trusted, or None."""
    keys = torch.tensor([1, -(1 << 62) - 5])
    # a stream and a draw of which every word matters, and a number that is not even.
    address = (3, (7 << 32) + 5, 1025)
    try:
        found = fused_uniforms(keys.to(device), *address)
    except FAILURES as error:
        return f"it raises {type(error).__name__} ({first_line(error)})"
    if found is not None and torch.equal(found.cpu(), RowNoise(keys).uniform(*address)):
        return None
    return "its numbers have other bits than those of torch"
