"""Keeps memory that a tensor no longer needs for the next tensor, rather than returning it.

The C library returns large blocks to the kernel when they are freed and asks for them again a
moment later, each time page by page: with activations of some megabytes that is 10 to 25 % of a
forward pass on a CPU. What is kept is counted as used by this process until it ends.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

KEPT = 256 << 20
"""Bytes of freed memory that a process may keep."""

LARGE = 64 << 20
"""Blocks of at least so many bytes are always returned."""

# numbers of the parameters in malloc.h of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory(environment: Mapping[str, str] | None = None) -> bool:
    """Let the C library keep freed memory, unless the user has chosen how it allocates.

    Args:
        environment: variables of the process; `os.environ` by default.

    Returns:
        Whether it was done: not where the C library has no such parameter, or the environment sets
        one (`MALLOC_...`, `GLIBC_TUNABLES`) or loads another allocator (`LD_PRELOAD`).
    """
    variables = os.environ if environment is None else environment
    if any(name.startswith("MALLOC_") for name in variables):
        return False
    if "malloc" in variables.get("GLIBC_TUNABLES", "") + variables.get("LD_PRELOAD", ""):
        return False
    try:
        set_parameter = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(set_parameter(_MMAP_THRESHOLD, LARGE) and set_parameter(_TRIM_THRESHOLD, KEPT))


def return_freed_memory() -> bool:
    """Return what is kept to the kernel, where a network was freed that does not come back.

    Returns:
        Whether the C library had something to return.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(trim(0))
