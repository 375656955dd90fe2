"""Processor time of llr for every substitution of an interval; a million by extrapolation or whole.

    python -m benchmarks.speed.substitutions [--model yeast-demo] [--fasta embedded:yeast]
        [--chrom chrIV] [--positions 10000] [--smoke]
    python -m benchmarks.speed.substitutions --million [--workers 2]

`score variants=all bed=` in one process of one thread, on one strand and on both. The time of a
substitution is that of the command less its start, which a hundred positions take; times are those
of the processor. With `--million` all substitutions of 333,334 positions are scored by the command
as a user gives it, in `--workers` processes of one thread: minutes of the clock, start included,
which mean something where nothing else runs.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.speed.parts import command

FIRST, START = 100_000, 100
MILLION = 10**6


def seconds_of(
    folder: Path, options: argparse.Namespace, positions: int, strands: str, workers: int = 1
) -> float:
    """Processor seconds of the command."""
    bed = folder / "positions.bed"
    bed.write_text(f"{options.chrom}\t{FIRST}\t{FIRST + positions}\n", encoding="ascii")
    found = command(
        folder, "score", f"model={options.model}", "variants=all", f"bed={bed}", "scores=[llr]",
        f"data.fasta={options.fasta}", f"strands={strands}", "threads=1", f"workers={workers}",
        f"out={folder}/{strands}.{positions}.tsv",
    )  # fmt: skip
    return found.seconds


def million(options: argparse.Namespace) -> ResultTable:
    """The table of a million substitutions that are scored, on one strand and on both."""
    positions = 300 if options.smoke else -(-MILLION // 3)
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        # the genome is read for the first time.
        seconds_of(Path(name), options, START, "one")
        for strands in ("one", "both"):
            begin = time.perf_counter()
            seconds = seconds_of(Path(name), options, positions, strands, options.workers)
            minutes = (time.perf_counter() - begin) / 60
            table = pd.read_csv(Path(name) / f"{strands}.{positions}.tsv", sep="\t", comment="#")
            # a row has the three of a position; one without a score has a point in place of it.
            scored = int((table["llr"].str.split(",").explode() != ".").sum())
            rows.append((strands, scored, minutes, seconds / 60, scored / minutes / 60))
            print(*rows[-1], flush=True)
    return ResultTable(
        theme="speed-million-substitutions",
        title="llr of a million substitutions",
        columns=(
            "strands", "substitutions", "minutes of the clock", "minutes of the processor",
            "substitutions per second of the clock",
        ),
        rows=rows,
        notes=(
            f"model {options.model}, {options.fasta}, the three substitutions of each of "
            f"{positions:,} positions of {options.chrom}; {options.workers} processes of one "
            "thread, the start of the command included; the machine was idle otherwise",
        ),
    )  # fmt: skip


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Time of all substitutions of an interval.")
    parser.add_argument("--model", default="yeast-demo")
    parser.add_argument("--fasta", default="embedded:yeast")
    parser.add_argument("--chrom", default="chrIV")
    parser.add_argument("--positions", type=int, default=10_000)
    parser.add_argument("--million", action="store_true", help="score a million, by the clock")
    parser.add_argument("--workers", type=int, default=2, help="processes of --million")
    parser.add_argument("--smoke", action="store_true", help="few positions, store nothing")
    options = parser.parse_args()
    if options.million:
        finish(million(options), smoke=options.smoke, threads=options.workers)
        return
    positions = 300 if options.smoke else options.positions
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        for strands in ("one", "both"):
            # the first reads the genome for the first time.
            start = min(seconds_of(Path(name), options, START, strands) for _ in range(2))
            taken = seconds_of(Path(name), options, positions, strands) - start
            number = 3 * (positions - START)
            rows.append((strands, number, taken, number / taken, MILLION * taken / number / 60))
            print(*rows[-1], flush=True)
    table = ResultTable(
        theme="speed-substitutions",
        title="llr of every substitution of an interval, one core",
        columns=(
            "strands", "substitutions", "CPU seconds", "substitutions per CPU second",
            "a million, CPU minutes (extrapolated)",
        ),
        rows=rows,
        notes=(
            f"model {options.model}, {options.fasta}, the three substitutions of each of "
            f"{positions:,} positions of {options.chrom}; one process, one thread",
            "seconds of the processor, less those of the start of the command; the machine was "
            "shared with other work",
        ),
    )  # fmt: skip
    finish(table, smoke=options.smoke, threads=1)


if __name__ == "__main__":
    main()
