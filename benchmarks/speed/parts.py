"""Memory and time per row of `score` against the number of rows, in parts.

    python -m benchmarks.speed.parts [--rows 20000 200000] [--part-rows 10240] [--smoke]

A network of 16 channels and one block, windows of 32 bases, llr on one strand, one process and one
thread: what is measured is all but the network. Peak memory is that of the process; the time is
that of the command less its start, which a run of 64 rows takes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.results_table import Cell, ResultTable, finish

GENOME_BASES = 1_000_000
_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_TRAIN = (
    "config=tiny", "data.fasta=g.fa", "data.annotation=null", "data.length=32", "data.valid=[b]",
    "data.test=[c]", "trainer.max_steps=2", "trainer.valid_windows=2",
    "trainer.global_batch_size=4", "trainer.accelerator=cpu", "backbone.hidden_size=16",
    "backbone.num_blocks=1", "run_dir=run",
)  # fmt: skip


def command(folder: Path, entry: str, *settings: str) -> tuple[float, int]:
    """Seconds and peak memory in bytes of a command."""
    words = [sys.executable, "-m", f"dnamdlm.{entry}", *settings]
    place = {"PYTHONPATH": str(Path.cwd()), "DNAMDLM_CACHE_DIR": str(folder / "cache")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *words], cwd=folder, env=os.environ | place,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return time.monotonic() - began, int(done.stdout) * 1024


def make_files(folder: Path, numbers: list[int], rng: np.random.Generator) -> None:
    """A random genome, and variants of its first record in order."""
    letters = {name: rng.choice(list("ACGT"), GENOME_BASES) for name in "abc"}
    records = (f">{name}\n{''.join(found)}\n" for name, found in letters.items())
    (folder / "g.fa").write_text("".join(records))
    for number in numbers:
        with (folder / f"{number}.vcf").open("w") as file:
            file.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
            for place in np.sort(rng.integers(0, GENOME_BASES, number)):
                ref = str(letters["a"][place])
                alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
                file.write(f"a\t{place + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n")


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Memory and time per row, in parts.")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--part-rows", type=int, default=10_240)
    parser.add_argument("--smoke", action="store_true", help="few rows, store nothing")
    arguments = parser.parse_args()
    numbers = [64, 640] if arguments.smoke else [64, *arguments.rows]
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, numbers, np.random.default_rng(0))
        command(folder, "train", *_TRAIN)
        start = 0.0
        for number in numbers:
            seconds, memory = command(
                folder, "score", "model=run", f"variants={number}.vcf", "data.fasta=g.fa",
                f"out={number}.tsv", "scores=[llr]", "strands=one", "threads=1", "workers=1",
                f"part_rows={arguments.part_rows}",
            )  # fmt: skip
            start = start or seconds
            each = 1e6 * (seconds - start) / number if seconds > start else None
            rows.append((number, memory / 1e6, seconds, each))
    table = ResultTable(
        theme="speed-parts",
        title="Memory and time of score against the number of rows",
        columns=("variants", "peak memory, MB", "seconds", "microseconds per variant"),
        rows=rows,
        notes=(
            f"parts of {arguments.part_rows:,} rows; windows of 32 bases, 16 channels, one block",
            "the time per variant is without the start of the command, the time of 64 variants",
        ),
    )
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
