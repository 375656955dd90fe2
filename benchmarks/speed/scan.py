"""Speed and memory of the selective scan, beside mambapy and the slow path of transformers.

    python -m benchmarks.speed.scan [--threads N] [--repeats 7] [--only NAME] [--small]

Each row is a process of its own, so that its peak memory is its own. All implementations of the
scan get the same numbers and do the same work: softplus, scan, direct path and gate. The rows of
the mixer add projections and convolution around it, because transformers offers nothing smaller.
mambapy and transformers are optional (pip install mambapy transformers); a row whose package is
absent, or that exceeds the limit of time, is shown without figures.
"""

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.results_table import ResultTable, environment_of_run, store
from dnamdlm.backbones.mamba import MambaMixer
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.scan import selective_scan
from dnamdlm.ops.selection import Mode, forced

STATE = 16
SHAPES = ((4, 1024, 256), (1, 16_384, 256), (1, 131_072, 256))
SMALL_SHAPES = ((2, 128, 32),)
LIMIT_SECONDS = 300
MIB = 1024

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
    Row("scan: sequential reference", ours("reference"), longest=16_384),
    Row("scan: portable", ours("portable")),
    Row("scan: compiled", ours("fused")),
    Row("scan: mambapy", mambapy, "mambapy", longest=16_384),
    Row("mixer: portable", our_mixer("portable")),
    # the convolution has no fused form on a CPU; auto takes the compiled scan once it is built.
    Row("mixer: compiled", our_mixer("auto")),
    Row("mixer: transformers, slow path", transformers_mixer, "transformers", longest=1024),
)


def measure(row: Row, shape: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Median seconds forward, and forward with backward; peak memory above the inputs, in MiB."""
    step, inputs = row.build(*shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forward: list[float] = []
    both: list[float] = []
    warm_up = 1 if repeats > 1 else 0
    for turn in range(warm_up + repeats):
        start = time.perf_counter()
        out = step()
        middle = time.perf_counter()
        torch.autograd.grad(out.square().sum(), inputs)
        if turn >= warm_up:
            forward.append(middle - start)
            both.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "forward": statistics.median(forward),
        "both": statistics.median(both),
        "memory": (after - before) / MIB,
    }


def measure_apart(
    index: int, shape: tuple[int, int, int], arguments: argparse.Namespace
) -> dict[str, float] | None:
    """`measure` in a process of its own; None where it fails or takes too long."""
    row = ROWS[index]
    if shape[1] > row.longest or (row.package and importlib.util.find_spec(row.package) is None):
        return None
    command = [
        sys.executable, "-m", "benchmarks.speed.scan", "--child", str(index),
        "--shape", *map(str, shape), "--threads", str(arguments.threads),
        "--repeats", str(arguments.repeats),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"{row.name} {shape}: no figures ({type(error).__name__})", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="measure and print rows with this in their name")
    parser.add_argument("--small", action="store_true", help="a tiny shape; prints, stores nothing")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child is not None:
        warnings.simplefilter("ignore")
        batch, length, channels = arguments.shape
        result = measure(ROWS[arguments.child], (batch, length, channels), arguments.repeats)
        print(json.dumps(result))
        return
    try:
        compiled_scan.build()
    except ImportError as error:
        print(f"the compiled scan is left out: {error}", file=sys.stderr)
    rows: list[tuple[str | float | None, ...]] = []
    for shape in SMALL_SHAPES if arguments.small else SHAPES:
        for index, row in enumerate(ROWS):
            if arguments.only not in row.name:
                continue
            found = measure_apart(index, shape, arguments)
            figures = (None, None, None)
            if found is not None:
                figures = (1e3 * found["forward"], 1e3 * found["both"], found["memory"])
            rows.append((row.name, " x ".join(map(str, shape)), *figures))
    table = ResultTable(
        "speed-scan",
        "Selective scan of Mamba-1 on a CPU, state size 16",
        ("implementation", "B x L x D", "forward ms", "forward + backward ms", "extra MiB"),
        rows,
        (
            f"medians of {arguments.repeats} after one that is not counted; each row is a process",
            "extra MiB: peak memory above what the process held with its inputs",
            f"no figures: package absent, more than {LIMIT_SECONDS} s, or longer than is sensible",
            "the mixers have half as many channels as D outside and D inside",
        ),
    )
    if arguments.only or arguments.small:
        print(table.markdown(environment_of_run(threads=arguments.threads)))
        return
    store(table, threads=arguments.threads)


if __name__ == "__main__":
    main()
