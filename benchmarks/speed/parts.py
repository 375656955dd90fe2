"""Memory and time of `score` and `tracks` against the number of rows and bases, in parts.

    python -m benchmarks.speed.parts [--rows 10000 100000] [--megabases 1 10] [--part-rows 10240]

A network of 16 channels and one block, one process and one thread: what is measured is all but the
network. `score`: windows of 32 bases, llr on one strand. `tracks`: one record, every second base of
a window hidden at a time, one strand. Peak memory is that of the process; pages of a genome that is
mapped into memory count while they are there. The time of a row is that of the command less its
start, which a run of 64 variants, or of 2,000 bases, takes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
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


def make_sequence(path: Path, num_bases: int, rng: np.random.Generator) -> None:
    """A FASTA file of one random record, written in pieces."""
    with path.open("wb") as file:
        file.write(b">long\n")
        for first in range(0, num_bases, 1 << 20):
            size = min(1 << 20, num_bases - first)
            file.write(np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, size)].tobytes() + b"\n")


def of_scores(folder: Path, numbers: list[int], part_rows: int) -> Iterator[tuple[Cell, ...]]:
    """A row of the table for each number of variants, after one of 64."""
    start = 0.0
    for number in (64, *numbers):
        seconds, memory = command(
            folder, "score", "model=run", f"variants={number}.vcf", "data.fasta=g.fa",
            f"out={number}.tsv", "scores=[llr]", "strands=one", "threads=1", "workers=1",
            f"part_rows={part_rows}",
        )  # fmt: skip
        start = start or seconds
        each = 1e6 * (seconds - start) / number if seconds > start else None
        yield "score", number, memory / 1e6, seconds, each


def of_tracks(
    folder: Path, sizes: list[int], rng: np.random.Generator
) -> Iterator[tuple[Cell, ...]]:
    """A row of the table for each number of bases, after one of 2,000."""
    start = 0.0
    for size in (2000, *sizes):
        make_sequence(folder / "long.fa", size, rng)
        words = ("model=run", "data.fasta=long.fa", "out=tracks", "stride=2", "strands=one")
        seconds, memory = command(folder, "tracks", *words, "threads=1", "workers=1")
        shutil.rmtree(folder / "tracks")
        shutil.rmtree(folder / "cache")
        start = start or seconds
        each = 1e6 * (seconds - start) / size if seconds > start else None
        yield "tracks", size, memory / 1e6, seconds, each


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Memory and time per row, in parts.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--megabases", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--part-rows", type=int, default=10_240)
    parser.add_argument("--smoke", action="store_true", help="few rows, store nothing")
    arguments = parser.parse_args()
    numbers = [640] if arguments.smoke else arguments.rows
    sizes = [4000] if arguments.smoke else [number * 10**6 for number in arguments.megabases]
    rows: list[tuple[Cell, ...]] = []
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, [64, *numbers], rng)
        command(folder, "train", *_TRAIN)
        for row in chain(
            of_scores(folder, numbers, arguments.part_rows), of_tracks(folder, sizes, rng)
        ):
            print(*row, flush=True)
            rows.append(row)
    table = ResultTable(
        theme="speed-parts",
        title="Memory and time of score and tracks against the number of variants and bases",
        columns=("command", "rows", "peak memory, MB", "seconds", "microseconds per row"),
        rows=rows,
        notes=(
            "rows are variants of score and bases of tracks; 16 channels, one block, windows of "
            f"32 bases; score in parts of {arguments.part_rows:,} variants",
            "the time per row is without the start of the command, the time of the first row",
            "tracks reads a new genome, computes, and writes 10 bigWig files",
        ),
    )
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
