"""Our own compiled scan for CPUs: `selective_scan.cpp`, built on demand with a C++ compiler.

Nothing is built on import, nor in mode `auto`: there the kernel runs if it was built before, with
`python -m dnamdlm.doctor build=true` or by a run with `ops=fused`. The build is kept in
$DNAMDLM_CACHE_DIR, else $XDG_CACHE_HOME/dnamdlm, else ~/.cache/dnamdlm, in a folder `kernels`,
under a name made of the source, the processor and the version of torch.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel

SOURCE = Path(__file__).with_name("selective_scan.cpp")
# the order of sums is left to the compiler only where the source says so
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
MAX_STATE_SIZE = 16


def build_folder() -> Path:
    """Where the build for this source, processor and torch lies or will lie."""
    chosen = os.environ.get("DNAMDLM_CACHE_DIR")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnamdlm"
    root = Path(chosen) if chosen else base
    return root / "kernels" / f"scan_{_fingerprint()}"


@functools.cache
def _fingerprint() -> str:
    """What a build depends on, as 16 hexadecimal digits."""
    parts = [SOURCE.read_text(encoding="ascii"), *FLAGS, torch.__version__, _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def build() -> None:
    """Compile the kernel unless that was done before; takes about a minute.

    Raises:
        ImportError: if there is no compiler or it fails.
    """
    folder = build_folder()
    if _library(folder).is_file():
        return
    for program in ("g++", "ninja"):
        if shutil.which(program) is None:
            raise ImportError(f"{program} is not installed")
    from torch.utils import cpp_extension

    folder.mkdir(parents=True, exist_ok=True)
    try:
        cpp_extension.load(  # pyright: ignore[reportUnknownMemberType]
            folder.name,
            [str(SOURCE)],
            extra_cflags=list(FLAGS),
            extra_ldflags=["-fopenmp"],
            build_directory=str(folder),
        )
    except (RuntimeError, subprocess.SubprocessError) as error:
        raise ImportError(f"the compiler fails: {str(error).splitlines()[0]}") from error


def load() -> Any:
    """The extension, with its `forward` and `backward`; raises ImportError if it is not built."""
    folder = build_folder()
    if not _library(folder).is_file():
        raise ImportError("not built yet; python -m dnamdlm.doctor build=true builds it")
    return _load(folder)


@functools.cache
def _load(folder: Path) -> Any:
    """Import a finished build."""
    spec = importlib.util.spec_from_file_location(folder.name, _library(folder))
    if spec is None or spec.loader is None:
        raise ImportError(f"{_library(folder)} is no extension module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _library(folder: Path) -> Path:
    """The extension module of a build."""
    return folder / f"{folder.name}.so"


def _processor() -> str:
    """What code for this processor depends on: its instruction sets, else its name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return f"{platform.machine()} {platform.processor()}"


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the kernel cannot serve this device and element type, or None."""
    if device.type != "cpu":
        return f"the compiled scan runs on the CPU, not on {device.type}"
    if dtype == torch.float64:
        return "the compiled scan computes in float32"
    return None


COMPILED_SCAN = FusedKernel("selective scan", "compiled scan", load, refusal, build)


def compiled_scan(inputs: ScanInputs, *, softplus: bool, reverse: bool) -> Float[Tensor, "B L D"]:
    """The compiled scan in float32; a state of fewer than 16 numbers is filled up with zeros."""
    missing = MAX_STATE_SIZE - inputs.A.shape[1]
    states = [functional.pad(x, (0, missing)) for x in (inputs.A, inputs.B, inputs.C)]
    zeros = inputs.u.new_zeros(inputs.u.shape[2])
    fixed = [zeros if x is None else x for x in (inputs.D, inputs.delta_bias)]
    run: Any = CompiledScan.apply  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    out: Tensor = run(inputs.u, inputs.delta, *states, *fixed, inputs.z, softplus, reverse)
    return out


class CompiledScan(torch.autograd.Function):
    """The whole scan, gate included, with the backward pass of the kernel."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Arguments: u, delta, A, B, C, D, delta_bias, z or None, softplus, reverse."""
        *tensors, softplus, reverse = inputs
        tensors = [None if x is None else x.contiguous() for x in tensors]
        keeps = any(ctx.needs_input_grad)
        out, borders = load().forward(*tensors, softplus, reverse, keeps)
        ctx.softplus, ctx.reverse = softplus, reverse
        if keeps:
            ctx.save_for_backward(*tensors, borders)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the tensors; the others have none."""
        (grad_out,) = gradients
        *tensors, borders = ctx.saved_tensors
        *grads, grad_z = load().backward(
            *tensors, borders, grad_out.contiguous(), ctx.softplus, ctx.reverse
        )
        return *grads, grad_z, None, None
