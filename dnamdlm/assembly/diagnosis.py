"""What runs on this machine, as text: versions, devices and implementations of the primitives."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from dnamdlm import threads
from dnamdlm.assembly.building.field_types import check_fields
from dnamdlm.assembly.devices import choose_device
from dnamdlm.assembly.operations import start_ops
from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.selection import describe
from dnamdlm.ops.selfcheck import fused_kernels
from dnamdlm.training.run_folder import versions

_KERNEL_PACKAGES = ("mamba-ssm", "causal-conv1d", "flash-attn", "triton")
_PLAIN = ("norm", "rotary positions", "depthwise convolution")
_DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class DoctorSettings:
    """What is examined; the meaning of each field stands in `configs/doctor.yaml`."""

    device: str = "auto"
    ops: str = "auto"
    build: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def examine(settings: DoctorSettings) -> str:
    """Look at this machine, build the compiled scan if that is asked for, and describe it all.

    Raises:
        ConfigError: for a setting that is wrong or a device that does not exist.
        KernelUnavailable: if the compiled scan was to be built and cannot be.
    """
    device = choose_device(settings.device)
    if settings.build:
        try:
            compiled_scan.build()
        except ImportError as error:
            raise KernelUnavailable(
                f"build=true, but {error}; install a C++ compiler, or leave it out"
            ) from error
    refused = start_ops(settings.ops, settings.device)
    parts = [
        _table([("package", "version"), *_versions()]),
        _table([("device", "what it is"), *_devices()]),
        f"Implementations on {device}, ops={settings.ops}:",
        _table(_implementations(device)),
        *refused,
        _scan_line(),
        "\n".join(threads.describe()),
    ]
    return "\n\n".join(parts)


def _versions() -> list[tuple[str, str]]:
    """Versions of what the results depend on, and of the optional kernels."""
    # the name of the build, such as +cu130, is not part of what is installed from PyPI.
    found = list((versions() | {"torch": torch.__version__}).items())
    known = {name for name, _ in found}
    for package in _KERNEL_PACKAGES:
        if package in known:
            continue
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return found


def _devices() -> list[tuple[str, str]]:
    """The processor and every GPU."""
    simd = torch.backends.cpu.get_cpu_capability()
    rows = [("cpu", f"{_processor()}, {os.cpu_count()} processors, {simd}")]
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        size = card.total_memory / 2**30
        rows.append(
            (f"cuda:{index}", f"{card.name}, {size:.0f} GiB, capability {card.major}.{card.minor}")
        )
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"built for CUDA {built}, but no GPU is seen" if built else "built without CUDA"
        rows.append(("cuda", f"none: torch is {why}"))
    return rows


def _processor() -> str:
    """Name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _implementations(device: torch.device) -> list[tuple[str, ...]]:
    """One row per primitive and element type."""
    rows: list[tuple[str, ...]] = [("primitive", "type", "runs", "fused kernel", "its state")]
    for dtype in _DTYPES:
        name = str(dtype).removeprefix("torch.")
        rows += [
            (row["primitive"], name, row["runs"], row["fused package"], row["fused"])
            for row in describe(fused_kernels(device), device, dtype)
        ]
    served = {row[0] for row in rows}
    rows += [(x, "any", "portable", "none", "none is written") for x in _PLAIN if x not in served]
    return rows


def _scan_line() -> str:
    """Where the compiled scan lies, or how to get it."""
    try:
        compiled_scan.load()
    except ImportError as error:
        return f"Compiled scan for CPUs: {error}."
    return f"Compiled scan for CPUs: built in {compiled_scan.build_folder()}."


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
