"""Which implementations of the primitives a command uses: the setting `ops`."""

from __future__ import annotations

from dnamdlm.assembly.devices import choose_device
from dnamdlm.ops.selection import set_mode
from dnamdlm.ops.selfcheck import check_kernels


def start_ops(mode: str, device: str = "auto") -> list[str]:
    """Choose the implementations, and check fused ones once against the reference.

    Args:
        mode: `auto`, `reference`, `portable` or `fused`.
        device: where the kernels will run, as for `choose_device`.

    Returns:
        One sentence per kernel that was refused because it differs.

    Raises:
        ConfigError: if the mode or the device is unknown.
    """
    set_mode(mode)
    return check_kernels(choose_device(device))
