"""How a command computes: the settings `ops` and `precision`."""

from __future__ import annotations

from dnamdlm.assembly.devices import choose_device
from dnamdlm.ops.precision import set_precision
from dnamdlm.ops.selection import set_mode
from dnamdlm.ops.selfcheck import check_kernels


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
    return check_kernels(chosen)
