"""Speed and memory of the selective scan, compared with mambapy and the slow path of transformers.

    python -m benchmarks.speed.scan [--threads N] [--seconds 8] [--only NAME] [--small]

Times of one shape are taken in one process, all rows in turn, and the best of each counts: a busy
machine then slows all rows alike. Peak memory is that of one pass in a process of its own. All
implementations of the scan get the same numbers and do the same work: softplus, scan, direct path
and gate. The rows of the mixer add projections and convolution around it, because transformers
offers nothing smaller. Its slow path costs more than the square of the length, 1.3 s at 256
positions and more than a minute at 1,024, so that it is run at 256 alone.

Mamba-2 (SSD, one decay rate per head, chunks of 64 positions as products of matrices) was measured
in plain torch and is not built: at 4 x 1024 x 256 with state 16, on one thread of a Zen 4, forward
and backward took 67 ms against 32 ms of the compiled and 120 ms of the portable scan of Mamba-1,
which decays each channel and state at its own rate. It would pay only where there is no compiler.

mambapy and transformers are optional (pip install mambapy transformers); a row whose package is
absent, or that is too slow for a shape, is shown without figures.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.results_table import ResultTable, environment_of_run, store
from dnamdlm.backbones.mamba import MambaMixer
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.scan import selective_scan
from dnamdlm.ops.selection import Mode, forced

STATE = 16
SHAPES = ((4, 256, 256), (4, 1024, 256), (1, 16_384, 256), (1, 131_072, 256))
SMALL_SHAPES = ((2, 128, 32),)
LIMIT_SECONDS = 120
MIB = 1024
YARDSTICK = "scan: mambapy"
SHORTEST_FOR_MEMORY = 1024

Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Row:
    """One implementation.

    Attributes:
        name: shown in the table.
        build: makes the timed forward pass and the inputs whose gradients are asked for.
        package: what must be installed, or None.
        longest: greatest length that is tried.
    """

    name: str
    build: Callable[[int, int, int], tuple[Step, list[Tensor]]]
    package: str | None = None
    longest: int = 1_000_000


def scan_inputs(batch: int, length: int, channels: int) -> list[Tensor]:
    """Random inputs u, delta, A, B, C, D, z, delta_bias with steps as at the start of training."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    rates = -torch.arange(1.0, STATE + 1).expand(channels, STATE).clone()
    moving = (batch, length, channels)
    inputs = [
        normal(*moving), normal(*moving), rates, normal(batch, length, STATE),
        normal(batch, length, STATE), normal(channels), normal(*moving), normal(channels) - 4.6,
    ]  # fmt: skip
    return [x.requires_grad_() for x in inputs]


def ours(mode: Mode) -> Callable[[int, int, int], tuple[Step, list[Tensor]]]:
    """Our scan under one mode."""

    def build(*shape: int) -> tuple[Step, list[Tensor]]:
        inputs = scan_inputs(*shape)
        return lambda: selective_scan(*inputs, mode=mode), inputs

    return build


def mambapy(*shape: int) -> tuple[Step, list[Tensor]]:
    """The parallel scan of mambapy with what its block does around it."""
    from mambapy.pscan import pscan  # pyright: ignore[reportMissingImports]

    inputs = scan_inputs(*shape)
    u, delta, rates, write, read, direct, gate, bias = inputs

    def step() -> Tensor:
        dt = functional.softplus(delta + bias)
        decay = torch.exp(dt.unsqueeze(-1) * rates)
        added = (dt * u).unsqueeze(-1) * write.unsqueeze(2)
        states = pscan(decay, added)
        y = (states @ read.unsqueeze(-1)).squeeze(3) + direct * u
        return y * functional.silu(gate)

    return step, inputs


def our_mixer(mode: Mode) -> Callable[[int, int, int], tuple[Step, list[Tensor]]]:
    """Our causal mixer with as many inner channels as the scan rows have."""

    def build(batch: int, length: int, channels: int) -> tuple[Step, list[Tensor]]:
        torch.manual_seed(0)
        mixer = MambaMixer(channels // 2, directions="forward")
        x = torch.randn(batch, length, channels // 2, requires_grad=True)

        def step() -> Tensor:
            with forced(mode):
                return mixer(x)

        return step, [x, *mixer.parameters()]

    return build


def transformers_mixer(batch: int, length: int, channels: int) -> tuple[Step, list[Tensor]]:
    """The mixer of transformers, which runs its slow path without CUDA kernels."""
    from transformers import MambaConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.mamba.modeling_mamba import (  # pyright: ignore[reportMissingImports]
        MambaMixer as TheirMixer,
    )

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=channels // 2, state_size=STATE, num_hidden_layers=1)
    mixer = TheirMixer(config, layer_idx=0)
    x = torch.randn(batch, length, channels // 2, requires_grad=True)
    return lambda: mixer(x), [x, *mixer.parameters()]


ROWS = (
    Row("scan: sequential reference", ours("reference"), longest=1024),
    Row("scan: portable", ours("portable")),
    Row("scan: compiled", ours("fused")),
    Row("scan: mambapy", mambapy, "mambapy", longest=16_384),
    Row("mixer: portable", our_mixer("portable")),
    # the convolution has no fused form on a CPU; auto takes the compiled scan once it is built.
    Row("mixer: compiled", our_mixer("auto")),
    Row("mixer: transformers, slow path", transformers_mixer, "transformers", longest=256),
)


def chosen_rows(shape: tuple[int, int, int], only: str) -> list[Row]:
    """The rows that are run at a shape."""
    return [
        row
        for row in ROWS
        if only in row.name
        and shape[1] <= row.longest
        and (row.package is None or importlib.util.find_spec(row.package) is not None)
    ]


def one_pass(step: Step, inputs: list[Tensor]) -> tuple[float, float]:
    """Seconds forward, and forward with backward."""
    start = time.perf_counter()
    out = step()
    middle = time.perf_counter()
    torch.autograd.grad(out.square().sum(), inputs)
    return middle - start, time.perf_counter() - start


def measure_times(
    shape: tuple[int, int, int], only: str, seconds: float
) -> dict[str, tuple[float, float]]:
    """Best seconds of each row; the first round warms up, and counts for rows that are slow."""
    built = {row.name: row.build(*shape) for row in chosen_rows(shape, only)}
    if not built:
        return {}
    best = {name: one_pass(*parts) for name, parts in built.items()}
    # a slow row is not run again, and a fast one several times in a row.
    share = seconds / len(built)
    again = {name: parts for name, parts in built.items() if best[name][1] < 2 * share}
    until = time.perf_counter() + seconds
    while again and time.perf_counter() < until:
        for name, parts in again.items():
            for _ in range(max(1, min(5, int(share / 10 / best[name][1])))):
                found = one_pass(*parts)
                best[name] = (min(best[name][0], found[0]), min(best[name][1], found[1]))
    return best


def measure_memory(shape: tuple[int, int, int], name: str) -> float:
    """Peak memory of one pass above the inputs, in MiB."""
    (row,) = [row for row in ROWS if row.name == name]
    parts = row.build(*shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one_pass(*parts)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / MIB


def apart(
    shape: tuple[int, int, int], arguments: argparse.Namespace, *, memory_of: str = ""
) -> Any:
    """A measurement in a process of its own; None where it fails or takes too long."""
    command = [
        sys.executable, "-m", "benchmarks.speed.scan", "--shape", *map(str, shape),
        f"--threads={arguments.threads}", f"--seconds={arguments.seconds}",
        f"--only={arguments.only}", f"--memory-of={memory_of}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"{memory_of or shape}: no figures ({type(error).__name__})", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def rows_of(
    shape: tuple[int, int, int], arguments: argparse.Namespace
) -> list[tuple[str | float | None, ...]]:
    """The rows of the table for one shape."""
    times = apart(shape, arguments) or {}
    rows: list[tuple[str | float | None, ...]] = []
    for row in ROWS:
        if arguments.only not in row.name:
            continue
        figures: tuple[float | None, ...] = (None, None, None, None)
        if row.name in times:
            forward, both = times[row.name]
            ratio = None
            if YARDSTICK in times and row.name.startswith("scan"):
                ratio = times[YARDSTICK][1] / both
            is_telling = shape[1] >= SHORTEST_FOR_MEMORY or arguments.small
            memory = apart(shape, arguments, memory_of=row.name) if is_telling else None
            figures = (1e3 * forward, 1e3 * both, ratio, memory)
        rows.append((row.name, " x ".join(map(str, shape)), *figures))
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=8.0, help="of timing for each shape")
    parser.add_argument("--only", default="", help="measure and print rows with this in their name")
    parser.add_argument("--small", action="store_true", help="a tiny shape; prints, stores nothing")
    parser.add_argument("--memory-of", default="", help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.shape:
        warnings.simplefilter("ignore")
        batch, length, channels = arguments.shape
        shape = (batch, length, channels)
        if arguments.memory_of:
            print(json.dumps(measure_memory(shape, arguments.memory_of)))
        else:
            print(json.dumps(measure_times(shape, arguments.only, arguments.seconds)))
        return
    try:
        compiled_scan.build()
    except ImportError as error:
        print(f"the compiled scan is left out: {error}", file=sys.stderr)
    rows: list[tuple[str | float | None, ...]] = []
    for shape in SMALL_SHAPES if arguments.small else SHAPES:
        rows += rows_of(shape, arguments)
    table = ResultTable(
        "speed-scan",
        "Selective scan of Mamba-1 on a CPU, state size 16",
        (
            "implementation", "B x L x D", "forward ms", "forward + backward ms",
            "times mambapy", "extra MiB",
        ),
        rows,
        (
            f"best of {arguments.seconds:g} s per shape, all rows in turn in one process",
            "times mambapy: its forward + backward time over that of the row",
            "extra MiB: peak memory of one pass above its inputs, in a process of its own",
            "no figures: package absent, or too slow for this length",
            "the mixers have half as many channels as D outside and D inside",
        ),
    )  # fmt: skip
    if arguments.only or arguments.small:
        print(table.markdown(environment_of_run(threads=arguments.threads)))
        return
    store(table, threads=arguments.threads)


if __name__ == "__main__":
    main()
