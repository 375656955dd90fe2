"""Triton where it is installed; where it is not, kernels still import, and nothing can launch them.

Every kernel is decorated with `@jit` and `@no_type_check`: it is not a Python function, so that
checks of shapes and types have nothing to check.
"""

# pyright: basic
from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]
except ImportError:
    triton = tl = None


def jit(function: Callable[..., Any]) -> Any:
    """`triton.jit`, or the function as it is where Triton is absent."""
    return function if triton is None else triton.jit(function)


def constant(value: int | float) -> Any:
    """A number of a module that kernels may read."""
    return value if tl is None else tl.constexpr(value)


@contextmanager
def launching(device: torch.device) -> Generator[None]:
    """Launch on this device, whichever is the current one.

    Raises:
        RuntimeError: if a kernel cannot be compiled for the card or does not fit on it.
    """
    from triton.errors import TritonError  # pyright: ignore[reportMissingImports]

    try:
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield
    except (TritonError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"Triton fails: {error}") from error


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient, rounded up."""
    return -(-numerator // denominator)


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << max(number - 1, 0).bit_length()
