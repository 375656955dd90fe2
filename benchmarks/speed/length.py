"""Cost per token of Caduceus-PS as sequences grow: training and inference.

    python -m benchmarks.speed.length [--threads N] [--repeats 3] [--width 32] [--blocks 2] [--long]

A linear network costs the same per token at any length. Each row holds about the same number of
tokens in all, so that short sequences come in larger batches, and is a process of its own, whose
peak memory is its own. `--long` adds inference at one million bases.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch.nn import functional

from benchmarks.results_table import ResultTable, environment_of_run, store
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.selection import set_mode
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

LENGTHS = (1024, 4096, 16_384, 65_536, 131_072)
LONGEST = 1_048_576
MIB = 1024


def measure(length: int, arguments: argparse.Namespace, *, training: bool) -> dict[str, float]:
    """Best seconds of one pass over a batch, and the peak memory of the process in MiB."""
    batch = max(1, arguments.tokens // length)
    torch.manual_seed(0)
    vocabulary = NUCLEOTIDE_VOCABULARY
    assert vocabulary.complement is not None
    network = CaduceusPS(len(vocabulary), vocabulary.complement, arguments.width, arguments.blocks)
    tokens = torch.randint(7, 11, (batch, length))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds: list[float] = []
    for turn in range(1 + arguments.repeats):
        start = time.perf_counter()
        with torch.set_grad_enabled(training):
            logits = network(tokens)
            if training:
                functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        if turn:
            seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "batch": batch,
        "seconds": min(seconds),
        "memory": (after - before) / MIB,
    }


def arguments_of() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=32, help="channels of one strand")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=LENGTHS[-1], help="tokens in each row")
    parser.add_argument("--ops", default="auto", help="as in dnamdlm.train")
    parser.add_argument("--long", action="store_true", help="add inference at a million bases")
    parser.add_argument("--small", action="store_true", help="two short rows; stores nothing")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--training", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print and store."""
    arguments = arguments_of()
    torch.set_num_threads(arguments.threads)
    set_mode(arguments.ops)
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments, training=arguments.training)))
        return
    if arguments.ops in ("auto", "fused"):
        try:
            compiled_scan.build()
        except ImportError as error:
            print(f"the compiled scan is left out: {error}", file=sys.stderr)
    if arguments.small:
        arguments.tokens = 1024
    lengths = (256, 1024) if arguments.small else LENGTHS
    plan = [(length, kind) for kind in ("training", "inference") for length in lengths]
    if arguments.long:
        plan.append((LONGEST, "inference"))
    rows: list[tuple[str | int | float | None, ...]] = []
    first: dict[str, float] = {}
    for length, kind in plan:
        command = [
            sys.executable, "-m", "benchmarks.speed.length", "--child", str(length),
            *(["--training"] if kind == "training" else []),
            *(
                f"--{name}={getattr(arguments, name)}"
                for name in ("threads", "repeats", "width", "blocks", "tokens", "ops")
            ),
        ]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            rows.append((kind, length, None, None, None, None))
            continue
        found = json.loads(done.stdout.strip().splitlines()[-1])
        cost = 1e6 * found["seconds"] / (found["batch"] * length)
        ratio = cost / first.setdefault(kind, cost)
        rows.append((kind, length, int(found["batch"]), cost, ratio, found["memory"]))
    table = ResultTable(
        "speed-length",
        f"Caduceus-PS {arguments.width} x {arguments.blocks}: cost per token and length",
        ("pass", "length", "batch", "microseconds per token", "of the shortest", "extra MiB"),
        rows,
        (
            f"best of {arguments.repeats} after one that is not counted; each row is a process",
            "training: forward, cross-entropy, backward; tokens are counted once, though both "
            "strands are computed",
            f"ops={arguments.ops}; extra MiB: peak memory above network and tokens",
        ),
    )
    if arguments.small:
        print(table.markdown(environment_of_run(threads=arguments.threads)))
        return
    store(table, threads=arguments.threads)


if __name__ == "__main__":
    main()
