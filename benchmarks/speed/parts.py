"""Memory and time of `score` and `tracks` against the number of rows and bases, in parts.

    python -m benchmarks.speed.parts [--rows 10000 100000] [--megabases 1 10] [--part-rows 10240]
        [--figure FILE.png]

A network of 16 channels and one block, one process and one thread: what is measured is all but the
network. `score`: windows of 32 bases, llr on one strand. `tracks`: one record, every second base
of a window of 128 bases hidden at a time, one strand. Peak memory is that of the process. It counts
pages of a genome that is mapped into memory while they are there; the memory of its own, which is
looked at four times a second, does not. Times are those of the processor, so that other programs of
the machine count little; the time of a row is that of the command less its start, which a run of 64
variants, or of 2,000 bases, takes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.reporting.drawing import BASELINE, EXTRA, OURS, REFERENCE, drawn

GENOME_BASES = 1_000_000
_SECONDS_BETWEEN = 0.25
_POINTS = 200
# of the flags in /proc/PID/stat: the kernel takes the process apart (PF_EXITING).
_ENDS = 0x4
_TRAIN = (
    "config=tiny", "data.fasta=g.fa", "data.annotation=null", "data.length=128", "data.valid=[b]",
    "data.test=[c]", "trainer.max_steps=2", "trainer.valid_windows=2",
    "trainer.global_batch_size=4", "trainer.accelerator=cpu", "backbone.hidden_size=16",
    "backbone.num_blocks=1", "run_dir=run",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: of the processor, in all.
        peak: most memory, bytes.
        own: memory that is not mapped from files, bytes, at equal times.
    """

    seconds: float
    peak: int
    own: tuple[int, ...]


def command(folder: Path, entry: str, *settings: str) -> Measured:
    """Run a command, and look at its memory.

    Raises:
        RuntimeError: if it fails.
    """
    words = [sys.executable, "-m", f"dnamdlm.{entry}", *settings]
    place = {"PYTHONPATH": str(Path.cwd()), "DNAMDLM_CACHE_DIR": str(folder / "cache")}
    child = subprocess.Popen(words, cwd=folder, env=os.environ | place, stdout=sys.stderr)
    own: list[int] = []
    while True:
        found, status, usage = os.wait4(child.pid, os.WNOHANG)
        if found:
            child.returncode = os.waitstatus_to_exitcode(status)
            break
        # a process that has ended just now has none.
        own += filter(None, [own_memory(child.pid)])
        time.sleep(_SECONDS_BETWEEN)
    if child.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {child.returncode}")
    return Measured(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, tuple(own))


def own_memory(process: int) -> int:
    """Bytes of a process that are not mapped from files; 0 once it ends, when they are freed."""
    folder = Path(f"/proc/{process}")
    try:
        lines = (folder / "status").read_text(encoding="ascii").splitlines()
        # looked at afterwards: what was found before the end is that of the running process.
        flags = int((folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[6])
    except OSError:
        return 0
    if flags & _ENDS:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


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


def of_scores(
    folder: Path, numbers: list[int], part_rows: int
) -> Iterator[tuple[str, int, Measured]]:
    """What each number of variants takes."""
    for number in numbers:
        yield "score", number, command(
            folder, "score", "model=run", f"variants={number}.vcf", "data.fasta=g.fa",
            f"out={number}.tsv", "scores=[llr]", "length=32", "strands=one", "threads=1",
            "workers=1", f"part_rows={part_rows}",
        )  # fmt: skip


def of_tracks(
    folder: Path, sizes: list[int], rng: np.random.Generator
) -> Iterator[tuple[str, int, Measured]]:
    """What each number of bases takes."""
    for size in sizes:
        make_sequence(folder / "long.fa", size, rng)
        words = ("model=run", "data.fasta=long.fa", "out=tracks", "stride=2", "strands=one")
        found = command(folder, "tracks", *words, "threads=1", "workers=1")
        shutil.rmtree(folder / "tracks")
        shutil.rmtree(folder / "cache")
        yield "tracks", size, found


def row_of(entry: str, number: int, found: Measured, start: Measured) -> tuple[Cell, ...]:
    """A row of the table; `start` is what few rows took."""
    later = found.seconds - start.seconds
    each = 1e6 * later / number if later > 0 else None
    return entry, number, found.peak / 1e6, max(found.own, default=0) / 1e6, found.seconds, each


@drawn
def memory_figure(measured: Sequence[tuple[str, int, Measured]]) -> tuple[str, Figure]:
    """Memory of its own over the course of each command."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    units = {"score": "variants", "tracks": "bases"}
    for axes, (entry, unit) in zip(figure.subplots(1, 2, sharey=True), units.items(), strict=True):
        own = [(number, found) for name, number, found in measured if name == entry]
        for (number, found), colour in zip(own, (BASELINE, REFERENCE, OURS, EXTRA), strict=False):
            # of each stretch of the time the highest value.
            cuts = np.array_split(np.array(found.own), min(_POINTS, len(found.own)))
            shown = np.array([stretch.max() for stretch in cuts]) / 1e6
            share = 100 * (np.arange(len(shown)) + 0.5) / len(shown)
            axes.plot(share, shown, color=colour, linewidth=1.3, label=f"{number:,} {unit}")
        axes.set_title(entry)
        axes.set_xlabel("time, % of the command")
        axes.legend(loc="lower right")
    figure.axes[0].set_ylabel("memory, MB")
    # of both, since they share it.
    figure.axes[0].set_ylim(0, 1.05e-6 * max(max(found.own) for _, _, found in measured))
    return "inference_memory", figure


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Memory and time per row, in parts.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--megabases", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--part-rows", type=int, default=10_240)
    parser.add_argument("--figure", type=Path, help="PNG file of memory over time")
    parser.add_argument("--smoke", action="store_true", help="few rows, store nothing")
    arguments = parser.parse_args()
    numbers = [640] if arguments.smoke else arguments.rows
    sizes = [4000] if arguments.smoke else [number * 10**6 for number in arguments.megabases]
    measured: list[tuple[str, int, Measured]] = []
    rows: list[tuple[Cell, ...]] = []
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, [64, *numbers], rng)
        command(folder, "train", *_TRAIN)
        starts: dict[str, Measured] = {}
        for entry, number, found in chain(
            of_scores(folder, [64, *numbers], arguments.part_rows),
            of_tracks(folder, [2000, *sizes], rng),
        ):
            rows.append(row_of(entry, number, found, starts.setdefault(entry, found)))
            print(*rows[-1], flush=True)
            measured.append((entry, number, found))
        figure = memory_figure([item for item in measured if item[1] not in (64, 2000)])
        figure.save(arguments.figure or folder / "memory.png")
    table = ResultTable(
        theme="speed-parts",
        title="Memory and time of score and tracks against the number of variants and bases",
        columns=(
            "command", "rows", "peak memory, MB", "memory of its own, MB", "CPU seconds",
            "microseconds per row",
        ),
        rows=rows,
        notes=(
            "rows are variants of score and bases of tracks; 16 channels, one block, windows of "
            "32 and 128 bases; score in parts of "
            f"{arguments.part_rows:,} variants",
            "memory of its own is what is not mapped from files, such as a prepared genome",
            "times are those of the processor; that of a row is without the start of the command, "
            "the time of the first row",
            "tracks reads a new genome, computes, and writes 10 bigWig files",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
