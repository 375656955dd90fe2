"""Our own compiled scan for CPUs: `selective_scan.cpp`, built on demand with a C++ compiler.

Nothing is built on import, nor in mode `auto`, where the kernel runs if it was built before, by
`python -m dnamdlm.doctor build=true` or by a run with `ops=fused`. The build is kept in the folder
`kernels` of $DNAMDLM_CACHE_DIR, else $XDG_CACHE_HOME/dnamdlm, else ~/.cache/dnamdlm, under a name
derived from the source, the processor and the version of torch.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
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
# the compiler may reorder sums only where the source allows it
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"),
    *("-Wno-psabi", "-shared", "-fPIC"),
)
MAX_STATE_SIZE = 16


def build_folder() -> Path:
    """Folder of the build for this source, processor and torch, whether it exists or not."""
    return kernels_folder() / f"scan_{_fingerprint()}"


def kernels_folder() -> Path:
    """Folder of all that is compiled on demand, whether it exists or not."""
    chosen = os.environ.get("DNAMDLM_CACHE_DIR")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dnamdlm"
    return (Path(chosen) if chosen else base) / "kernels"


@functools.cache
def _fingerprint() -> str:
    """Hash of all that a build depends on, 16 hexadecimal digits."""
    parts = [SOURCE.read_text(encoding="ascii"), *FLAGS, torch.__version__, _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def build() -> None:
    """Compile the kernel unless it is compiled already; takes about two seconds.

    Raises:
        ImportError: if g++ is missing or fails.
    """
    folder = build_folder()
    if _library(folder).is_file():
        return
    if shutil.which("g++") is None:
        raise ImportError("g++ is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    # under a temporary name until it is finished: two runs may build at once.
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        made = Path(partial) / "scan.so"
        done = subprocess.run(
            ["g++", *FLAGS, str(SOURCE), "-o", str(made)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise ImportError(f"g++ fails: {errors[0] if errors else 'without an error message'}")
        made.replace(_library(folder))


def load() -> Any:
    """The library; raises ImportError if it has not been built."""
    folder = build_folder()
    if not _library(folder).is_file():
        raise ImportError("not built yet; python -m dnamdlm.doctor build=true builds it")
    return _load(folder)


@functools.cache
def _load(folder: Path) -> Any:
    """Open a finished build."""
    return ctypes.CDLL(str(_library(folder)))


def _library(folder: Path) -> Path:
    """The shared library of a build."""
    return folder / "scan.so"


def _processor() -> str:
    """The instruction sets of the processor, else its name."""
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
    """The compiled scan in float32; a state of fewer than 16 numbers is padded with zeros."""
    missing = MAX_STATE_SIZE - inputs.A.shape[1]
    states = [functional.pad(x, (0, missing)) for x in (inputs.A, inputs.B, inputs.C)]
    zeros = inputs.u.new_zeros(inputs.u.shape[2])
    fixed = [zeros if x is None else x for x in (inputs.D, inputs.delta_bias)]
    tensors = [inputs.u, inputs.delta, *states, *fixed]
    if torch.compiler.is_compiling():
        from dnamdlm.ops.kernels.compiled_scan_ops import scan_operator

        return scan_operator(tensors, inputs.z, softplus=softplus, reverse=reverse)
    run: Any = CompiledScan.apply  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    out: Tensor = run(*tensors, inputs.z, softplus, reverse)
    return out


class _Shape(ctypes.Structure):
    """As `Shape` in the source."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "length", "channels")),
        *((name, ctypes.c_int32) for name in ("softplus", "reverse", "threads")),
    ]


class _Inputs(ctypes.Structure):
    """As `Inputs` in the source."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("u", "delta", "A", "B", "C", "D", "bias", "z")]


class _Gradients(ctypes.Structure):
    """As `Gradients` in the source."""

    _fields_ = _Inputs._fields_


def _pointers(tensors: Sequence[Tensor | None]) -> list[int | None]:
    """Addresses of the numbers, None for an absent tensor."""
    return [None if x is None else x.data_ptr() for x in tensors]


def scan_forward(
    tensors: Sequence[Tensor | None], *, softplus: bool, reverse: bool, keeps: bool
) -> tuple[Tensor, Tensor | None]:
    """The result, and the states at the boundaries of chunks if they are kept.

    Args:
        tensors: contiguous u, delta, A, B, C, D, delta_bias, and z or None.
        softplus: apply softplus to delta + delta_bias.
        reverse: run from the last position to the first.
        keeps: whether a backward pass follows.
    """
    u = tensors[0]
    assert u is not None
    shape = _Shape(*u.shape, softplus, reverse, torch.get_num_threads())
    borders = u.new_empty(_sizes(shape)[0]) if keeps else None
    out = torch.empty_like(u)
    load().scan_forward(
        ctypes.byref(_Inputs(*_pointers(tensors))),
        ctypes.byref(shape),
        *(ctypes.c_void_p(x) for x in _pointers((out, borders))),
    )
    return out, borders


def num_border_states(shape: Sequence[int]) -> int:
    """Numbers that `scan_forward` keeps for inputs of the shape (B, L, D)."""
    return _sizes(_Shape(*shape, True, False, torch.get_num_threads()))[0]


def scan_backward(
    tensors: Sequence[Tensor | None],
    borders: Tensor,
    gradient: Tensor,
    *,
    softplus: bool,
    reverse: bool,
) -> list[Tensor | None]:
    """Gradients of the tensors of `scan_forward`."""
    u, _, A, B, _, D, _, z = tensors  # noqa: N806
    assert u is not None
    assert A is not None
    assert B is not None
    assert D is not None
    shape = _Shape(*u.shape, softplus, reverse, torch.get_num_threads())
    groups = _sizes(shape)[1]
    # B and C in partial sums over groups of channels, A, D and the bias one per sequence.
    grads = [
        torch.empty_like(u),
        torch.empty_like(u),
        A.new_empty(len(u), *A.shape),
        B.new_zeros(groups, *B.shape),
        B.new_zeros(groups, *B.shape),
        D.new_empty(len(u), *D.shape),
        D.new_empty(len(u), *D.shape),
        None if z is None else torch.empty_like(z),
    ]
    grad_out = gradient.contiguous()
    load().scan_backward(
        ctypes.byref(_Inputs(*_pointers(tensors))),
        ctypes.byref(shape),
        *(ctypes.c_void_p(x) for x in _pointers((borders, grad_out))),
        ctypes.byref(_Gradients(*_pointers(grads))),
    )
    summed = (x.sum(0) for x in grads[2:-1] if x is not None)
    return [*grads[:2], *summed, grads[-1]]


class CompiledScan(torch.autograd.Function):
    """The complete scan, gate included, with the backward pass of the kernel."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Arguments: u, delta, A, B, C, D, delta_bias, z or None, softplus, reverse."""
        *given, ctx.softplus, ctx.reverse = inputs
        tensors = contiguous(given)
        keeps = any(ctx.needs_input_grad)
        out, borders = scan_forward(
            tensors, softplus=ctx.softplus, reverse=ctx.reverse, keeps=keeps
        )
        if keeps:
            ctx.save_for_backward(*tensors, borders)
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the tensors, None for other arguments."""
        *tensors, borders = ctx.saved_tensors
        found = scan_backward(
            tensors, borders, gradients[0], softplus=ctx.softplus, reverse=ctx.reverse
        )
        return *found, None, None


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The tensors as the kernel reads them."""
    return [None if x is None else x.contiguous() for x in tensors]


def _sizes(shape: _Shape) -> tuple[int, int]:
    """Numbers kept at the boundaries of chunks, and groups of partial sums."""
    borders, groups = ctypes.c_int64(), ctypes.c_int64()
    load().scan_sizes(ctypes.byref(shape), ctypes.byref(borders), ctypes.byref(groups))
    return borders.value, groups.value
