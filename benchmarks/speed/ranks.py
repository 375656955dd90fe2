"""Memory of each rank of a network that torchrun divides, and the time of a pass against the whole.

    python -m benchmarks.speed.ranks [--ranks 2] [--hidden 768] [--blocks 14] [--smoke]

A transformer of random weights on CPUs, one thread in each process. Memory is that of each process
that is not mapped from files, less what it had before there was a network. Seconds are those of the
processor of rank 0, the only one that computes: passes of the whole network and, once it is
divided, of the same network, whose outputs must have the same bits.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.results_table import ResultTable, finish
from benchmarks.speed.parts import own_memory
from dnamdlm.assembly.divided_network import placed
from dnamdlm.assembly.weight_ranks import sharing_weights
from dnamdlm.backbones.dit import DiT

ROWS, LENGTH = 1, 256


def network_of(hidden: int, blocks: int) -> DiT:
    """A network of random weights, none of them zero."""
    torch.manual_seed(0)
    network = DiT(12, hidden, blocks, max(1, hidden // 64), zero_init=False)
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(std=0.02)
    return network.eval()


def ranks_here() -> list[int]:
    """The processes of the ranks, the first of which is this one."""
    parent = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [int(number) for number in found.split()]


def passes(network: DiT, ids: torch.Tensor, repeats: int) -> tuple[torch.Tensor, float]:
    """The output, and the median time of a pass after one more."""
    seconds: list[float] = []
    with torch.inference_mode():
        out = network(ids)
        for _ in range(repeats):
            began = time.process_time()
            out = network(ids)
            seconds.append(time.process_time() - began)
    return out, statistics.median(seconds)


def work(hidden: int, blocks: int, repeats: int, out: Path) -> None:
    """What rank 0 does; the others serve it and do not return."""
    torch.set_num_threads(1)
    with sharing_weights():
        ranks = ranks_here()
        before = [own_memory(number) for number in ranks]
        network = network_of(hidden, blocks)
        ids = torch.randint(7, 11, (ROWS, LENGTH))
        wanted, whole_seconds = passes(network, ids, repeats)
        whole = own_memory(ranks[0]) - before[0]
        placed(network, torch.device("cpu"))
        found, seconds = passes(network, ids, repeats)
        if not torch.equal(found, wanted):
            raise ValueError("the divided network computes something else")
        divided = [own_memory(number) - first for number, first in zip(ranks, before, strict=True)]
        number = sum(weight.numel() for weight in network.parameters())
        facts = {
            "parameters": number, "whole": whole, "divided": divided,
            "seconds": [whole_seconds, seconds],
        }  # fmt: skip
        out.write_text(json.dumps(facts), encoding="ascii")


def main() -> None:
    """Start the ranks, print and store."""
    parser = argparse.ArgumentParser(description="Memory of the ranks of a divided network.")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--blocks", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", type=Path, help="used by the command itself")
    parser.add_argument("--smoke", action="store_true", help="a small network, store nothing")
    options = parser.parse_args()
    if options.worker is not None:
        work(options.hidden, options.blocks, options.repeats, options.worker)
        return
    hidden, blocks = (64, 3) if options.smoke else (options.hidden, options.blocks)
    rows = []
    for ranks in options.ranks:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "facts.json"
            subprocess.run(
                [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "-m",
                 "benchmarks.speed.ranks", "--worker", out, "--hidden", str(hidden), "--blocks",
                 str(blocks), "--repeats", str(options.repeats)],
                check=True, stdout=sys.stderr,
            )  # fmt: skip
            facts = json.loads(out.read_text(encoding="ascii"))
        whole_seconds, seconds = facts["seconds"]
        rows.append((
            ranks, facts["parameters"] / 1e6, 4 * facts["parameters"] / 1e6, facts["whole"] / 1e6,
            facts["divided"][0] / 1e6, max(facts["divided"][1:]) / 1e6, whole_seconds, seconds,
        ))  # fmt: skip
        print(*rows[-1], flush=True)
    table = ResultTable(
        theme="speed-ranks",
        title="Memory of the ranks of a divided network",
        columns=(
            "ranks", "parameters, million", "weights, MB", "whole, MB", "rank 0, MB",
            "largest other rank, MB", "CPU s per pass, whole", "CPU s per pass, divided",
        ),
        rows=rows,
        notes=(
            f"a DiT of {hidden} channels and {blocks} blocks, random weights of 32 bits; passes of "
            f"{ROWS} windows of {LENGTH}, medians of {options.repeats}, the same bits",
            "memory that is not mapped from files, less that before the network was built; whole: "
            "rank 0 after passes of the undivided network",
            "seconds of the processor of rank 0, on which gloo copies the weights, too",
        ),
    )  # fmt: skip
    finish(table, smoke=options.smoke, threads=1)


if __name__ == "__main__":
    main()
