"""Kernels of Triton in its interpreter, on the CPU.

The interpreter is chosen when a kernel is decorated, hence for a whole process:

    TRITON_INTERPRET=1 python -m pytest -o addopts=--import-mode=importlib tests/ops/test_triton_*

The option leaves out the shape checks of the other tests, which tracing cannot look through.
"""

import importlib.util
import os

import pytest


def require_interpreter():
    """Skip the calling module unless Triton is installed and set to interpret."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed (extra `triton`)", allow_module_level=True)
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("needs TRITON_INTERPRET=1 from the start", allow_module_level=True)


def skip_with_shape_checks(function):
    """Skip a test that traces `function` where shape checks are wrapped around it."""
    if hasattr(function, "__wrapped__"):
        pytest.skip("tracing cannot look through shape checks; see `tests.helpers.interpreted`")


def largest_differences(found, expected):
    """Largest difference of each tensor, relative to the largest entry of the expected one."""
    return {
        name: float((found[name].double() - value).abs().max() / value.abs().max())
        for name, value in expected.items()
    }
