"""Registers, spills and shared memory of our Triton kernels, compiled without a GPU.

    python -m benchmarks.speed.kernel_code [--cards 80 90] [--smoke]

Every kernel is compiled for the arguments with which the operators launch it: those of the backbone
of `config=hg38` (236 inner channels, 16 states, windows of 1,024, bfloat16, no padding), those of a
long window (131,072 bases, with padding and gate, float32), and a DiT's centred convolution. The
launches are recorded, not made; `ptxas` of the installed Triton assembles the code. Needs the extra
`triton`. A card that its `ptxas` does not know is shown without figures.
"""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.ops.kernels.programs import (
    triton_conv,
    triton_norm,
    triton_philox,
    triton_scan,
    triton_scan_backward,
)
from dnamdlm.ops.kernels.triton_conv_ops import triton_conv as run_conv
from dnamdlm.ops.kernels.triton_norm_ops import triton_norm as run_norm
from dnamdlm.ops.kernels.triton_philox_ops import philox_numbers
from dnamdlm.ops.kernels.triton_scan_ops import triton_scan as run_scan
from dnamdlm.ops.scan_inputs import ScanInputs

PROGRAMS = (triton_scan, triton_scan_backward, triton_conv, triton_norm, triton_philox)
CARDS = (80, 86, 89, 90, 100, 120)
# with these the code of a card is tied to it, as Triton compiles it.
EXACT = {90: "sm_90a", 100: "sm_100a", 120: "sm_120a"}
NAMES = {
    torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float64: "*fp64",
    torch.int64: "*i64", torch.bool: "*i1",
}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """One recorded launch.

    Attributes:
        kernel: the kernel.
        arguments: its arguments in order, compile-time constants left out.
        named: compile-time constants and options of the launch.
    """

    kernel: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class _Recorder:
    """Takes the place of a kernel: `kernel[grid](...)` is noted."""

    def __init__(self, kernel: Any, launches: list[Launch]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return lambda *arguments, **named: self.launches.append(
            Launch(self.kernel, arguments, named)
        )


@contextmanager
def recording() -> Iterator[list[Launch]]:
    """Note the launches of our operators instead of making them."""
    from triton.runtime.jit import JITFunction

    launches: list[Launch] = []
    places = [(module, name, kernel) for module in PROGRAMS
              for name, kernel in _kernels_of(module, JITFunction)]  # fmt: skip
    patches = [
        mock.patch.object(module, name, _Recorder(kernel, launches))
        for module, name, kernel in places
    ]
    for patch in patches:
        patch.start()
    try:
        yield launches
    finally:
        for patch in patches:
            patch.stop()


def _kernels_of(module: ModuleType, kind: type) -> list[tuple[str, Any]]:
    """The kernels of a module that are launched: the others are called by kernels alone."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, kind) and value.fn.__module__ == module.__name__
        and any(argument.endswith("_ptr") for argument in value.arg_names)
    ]  # fmt: skip


def cases() -> dict[str, Callable[[], None]]:
    """Calls of the operators, forward and backward, by name."""

    def hg38() -> None:
        outs = run_scan([_scan_inputs(1024, torch.bfloat16) for _ in range(2)],
                        softplus=True, reverse=False, present=None)  # fmt: skip
        torch.stack(outs).sum().backward()
        x = _empty(2, 1024, 236, dtype=torch.bfloat16)
        outs = run_conv(x, [_empty(236, 4)] * 2, [_empty(236)] * 2,
                        offset=3, active=True, reverse=False, present=None)  # fmt: skip
        torch.stack(outs).sum().backward()

    def long() -> None:
        present = torch.empty(1, 131_072, dtype=torch.bool)
        ways = [_scan_inputs(131_072, torch.float32, gate=True) for _ in range(2)]
        outs = run_scan(ways, softplus=True, reverse=False, present=present)
        torch.stack(outs).sum().backward()

    def dit() -> None:
        x = _empty(2, 1024, 768)
        (out,) = run_conv(x, [_empty(768, 9)], [], offset=4, active=False, reverse=False,
                          present=None)  # fmt: skip
        out.sum().backward()

    def norms_of_mamba() -> None:
        _, out = run_norm(_empty(2, 1024, 118), _empty(118), None, centred=False, eps=1e-5)
        out.sum().backward()

    def norms_of_dit() -> None:
        factors = [_empty(2, 1, 768, dtype=torch.bfloat16) for _ in range(3)]
        outs = run_norm(
            _empty(2, 1024, 768), _empty(768), _empty(768), centred=True, eps=1e-5,
            branch=_empty(2, 1024, 768, dtype=torch.bfloat16), gate=factors[0],
            modulation=(factors[1], factors[2]),
        )  # fmt: skip
        torch.stack(outs).sum().backward()

    def widest_norm() -> None:
        factors = [_empty(2, 1, 4096) for _ in range(3)]
        outs = run_norm(
            _empty(2, 1024, 4096), _empty(4096), _empty(4096), centred=True, eps=1e-5,
            branch=_empty(2, 1024, 4096), gate=factors[0], modulation=(factors[1], factors[2]),
        )  # fmt: skip
        torch.stack(outs).sum().backward()

    def noise() -> None:
        philox_numbers(torch.arange(128), 1, 0, 0, 1024)

    return {
        "hg38": hg38, "131 k, gate, padding": long, "DiT, 768 channels": dit,
        "norm of hg38": norms_of_mamba, "norm of a DiT with time": norms_of_dit,
        "norm of 4,096 channels": widest_norm, "noise of 128 x 1,024": noise,
    }  # fmt: skip


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, requires_grad=True)


def _scan_inputs(length: int, dtype: torch.dtype, *, gate: bool = False) -> ScanInputs:
    batch, channels, states = 1, 236, 16
    moving = [_empty(batch, length, channels, dtype=dtype) for _ in range(3)]
    by_state = [_empty(batch, length, states, dtype=dtype) for _ in range(2)]
    fixed = [_empty(channels, states), _empty(channels), _empty(channels)]
    return ScanInputs(
        moving[0], moving[1], fixed[0], by_state[0], by_state[1], fixed[1],
        moving[2] if gate else None, fixed[2],
    )  # fmt: skip


def compiled(launch: Launch, card: int) -> tuple[Cell, ...]:
    """Registers, bytes spilled (stored and loaded), bytes of shared memory; None where unknown."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    options = {name: value for name, value in launch.named.items() if name.startswith("num_")}
    source = ASTSource(launch.kernel, **_signature(launch))
    try:
        made = triton.compile(source, target=GPUTarget("cuda", card, 32), options=options)
    except (RuntimeError, triton.errors.TritonError):
        return None, None, None
    assembler = Path(str(triton.__file__)).parent / "backends/nvidia/bin"
    program = assembler / ("ptxas-blackwell" if card >= 100 else "ptxas")
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(made.asm["ptx"])
        file.flush()
        name = f"--gpu-name={EXACT.get(card, f'sm_{card}')}"
        done = subprocess.run([program, "-v", name, file.name, "-o", "/dev/null"],
                              capture_output=True, text=True, check=True)  # fmt: skip
    (registers,) = re.findall(r"Used (\d+) registers", done.stderr)
    spilled = "/".join(re.findall(r"(\d+) bytes spill", done.stderr))
    return int(registers), spilled, made.metadata.shared


def _signature(launch: Launch) -> dict[str, Any]:
    """Types, constants and divisibility of the arguments, as Triton derives them at a launch."""
    kernel = launch.kernel
    values = dict(zip(kernel.arg_names, launch.arguments, strict=False)) | launch.named
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for i, (parameter, name) in enumerate(zip(kernel.params, kernel.arg_names, strict=True)):
        value = values[name]
        if parameter.is_constexpr or (value == 1 if isinstance(value, int) else False):
            signature[name], constants[i,] = "constexpr", value
            continue
        signature[name] = NAMES[value.dtype] if isinstance(value, Tensor) else "i32"
        if isinstance(value, Tensor) or value % 16 == 0:
            attributes[i,] = [["tt.divisibility", 16]]
    return {"signature": signature, "constexprs": constants, "attrs": attributes}


def main() -> None:
    """Compile every kernel for every card and store the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cards", type=int, nargs="+", default=CARDS)
    parser.add_argument("--smoke", action="store_true", help="two kernels; nothing is stored")
    given = parser.parse_args()
    rows: list[tuple[Cell, ...]] = []
    for case, run in cases().items():
        with recording() as launches:
            run()
        for launch in launches[: 2 if given.smoke else None]:
            name = launch.kernel.fn.__name__
            rows += [(name, case, f"sm_{card}", *compiled(launch, card)) for card in given.cards]
        if given.smoke:
            break
    finish(
        ResultTable(
            theme="speed-kernel-code",
            title="Our Triton kernels, compiled without a GPU",
            columns=("kernel", "case", "card", "registers", "spilled, bytes stored/loaded",
                     "shared memory, bytes"),
            rows=rows,
            notes=("Compiled only: nothing was run on a GPU.",
                   "An A100 is sm_80, an H100 sm_90; 255 registers per thread are the most."),
        ),
        smoke=given.smoke,
        device="compiled",
    )  # fmt: skip


if __name__ == "__main__":
    main()
