"""A simulated genome of human size: preparation, memory, and windows from a cold and a warm cache.

    python -m benchmarks.speed.genome_scale --folder SCRATCH [--gigabases 3.1] [--kinds plain bgzip]

The FASTA file is made in the scratch folder from a block of random bases with soft-masked
stretches and runs of N, turned differently for each piece, so that it takes no memory; file and
store are removed at the end. Preparation runs in a process of its own, whose peak memory is
the largest that the system has seen of it. Windows are then read one random place at a time from
the store, first after the system was asked to forget its pages (posix_fadvise), then again.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.results_table import Cell, ResultTable, store
from dnamdlm.data.genome.store import GenomeStore, prepare_genome

WIDTH = 60
PIECE = 6_000_000  # bases; a whole number of lines
BGZIP_BLOCK = 0xFF00
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
CHROMOSOMES = 24
LENGTHS = (1024, 32_768)


def pieces(num_bases: int) -> Iterator[bytes]:
    """Text of a FASTA file of about so many bases in 24 records, piece by piece."""
    random = np.random.default_rng(0)
    letters = random.choice(np.frombuffer(b"ACGT", dtype=np.uint8), PIECE)
    letters[: PIECE // 50] = ord("N")
    masked = np.repeat(random.random(PIECE // 300) < 0.5, 300)
    letters[masked] |= 0x20
    per_record = max(1, round(num_bases / CHROMOSOMES / PIECE))
    for record in range(CHROMOSOMES):
        yield f">chr{record + 1}\n".encode()
        for turn in range(per_record):
            lines = np.roll(letters, 7919 * (record * per_record + turn)).reshape(-1, WIDTH)
            ends = np.full((len(lines), 1), ord("\n"), dtype=np.uint8)
            yield np.concatenate([lines, ends], axis=1).tobytes()


def bgzip_block(data: bytes) -> bytes:
    """One bgzip block; level 1, since the level changes little for the reader."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    head = bytes.fromhex("1f8b08040000000000ff060042430200") + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


def write_fasta(path: Path, num_bases: int, *, compress: bool) -> None:
    """Write the simulated genome."""
    with path.open("wb") as out:
        for piece in pieces(num_bases):
            if not compress:
                out.write(piece)
                continue
            for start in range(0, len(piece), BGZIP_BLOCK):
                out.write(bgzip_block(piece[start : start + BGZIP_BLOCK]))
        if compress:
            out.write(BGZIP_END)
        out.flush()
        os.fsync(out.fileno())


def forget(path: Path) -> None:
    """Ask the system to drop the pages of a file from its cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def prepare_in_process(fasta: Path, cache: Path) -> dict[str, float]:
    """Prepare in a new process: seconds of wall and processor, MB at its peak and before."""
    command = [sys.executable, "-m", "benchmarks.speed.genome_scale", "--prepare", str(fasta)]
    done = subprocess.run(
        [*command, "--folder", str(cache)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def prepare(fasta: Path, cache: Path) -> None:
    """The inside of that process; prints its figures as JSON."""
    before = _peak_mb()
    start, processor = time.perf_counter(), time.process_time()
    made = prepare_genome(fasta, cache_dir=cache)
    figures = {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "peak_mb": _peak_mb(),
        "before_mb": before,
        "num_bases": made.num_bases,
        "folder": str(made.folder),
    }
    print(json.dumps(figures))


def window_rate(genome: GenomeStore, length: int, number: int, seed: int) -> float:
    """Windows per second at random places, one copy each."""
    places = np.random.default_rng(seed).integers(0, genome.num_bases - length, number).tolist()
    target = np.empty(length, dtype=np.uint8)
    start = time.perf_counter()
    for place in places:
        np.copyto(target, genome.codes[place : place + length])
    return number / (time.perf_counter() - start)


def measure(
    folder: Path, num_bases: int, kinds: list[str], say: Callable[[str], None]
) -> tuple[list[tuple[Cell, ...]], int]:
    """Rows of the table, and the bases of the genome."""
    rows: list[tuple[Cell, ...]] = []
    found = 0
    for kind in kinds:
        fasta = folder / ("genome.fa" if kind == "plain" else "genome.fa.gz")
        write_fasta(fasta, num_bases, compress=kind == "bgzip")
        size = fasta.stat().st_size
        say(f"{fasta.name}: {size / 1e9:.2f} GB written")
        forget(fasta)
        cache = folder / f"cache_{kind}"
        figures = prepare_in_process(fasta, cache)
        say(str(figures))
        fasta.unlink()
        found = int(figures["num_bases"])
        rows.append(
            (
                f"preparation, {kind} FASTA of {size / 1e9:.2f} GB", None,
                found / 1e6 / figures["seconds"], found / 1e6 / figures["processor_seconds"],
                figures["before_mb"], figures["peak_mb"],
            )
        )  # fmt: skip
        if kind != kinds[-1]:
            shutil.rmtree(cache)
            continue
        codes = Path(str(figures["folder"])) / "codes.bin"
        for length, number in zip(LENGTHS, (20_000, 4_000), strict=True):
            # a mapped page is not dropped, so that each turn opens the store anew
            forget(codes)
            genome = GenomeStore.open(codes.parent)
            cold = window_rate(genome, length, number, seed=length)
            warm = window_rate(genome, length, number, seed=length)
            del genome
            for name, rate in (("cold", cold), ("warm", warm)):
                text = f"{number:,} random windows of {length:,} bp, {name} cache"
                rows.append((text, rate, rate * length / 1e6, None, None, None))
    return rows, found


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gigabases", type=float, default=3.1)
    parser.add_argument("--kinds", nargs="+", choices=("plain", "bgzip"), default=["plain"])
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare is not None:
        prepare(arguments.prepare, arguments.folder)
        return
    num_bases = int(arguments.gigabases * 1e9)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(arguments.folder).free
    needed = int(2.1 * num_bases)
    if free < needed:
        parser.error(f"{free / 1e9:.1f} GB are free in {arguments.folder}, {needed / 1e9:.1f} need")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        rows, found = measure(Path(name), num_bases, arguments.kinds, print)
    table = ResultTable(
        "speed-genome-scale",
        "A genome of human size",
        ("step", "windows/s", "Mb/s", "Mb per processor second", "MB before", "MB at its peak"),
        rows,
        (
            f"simulated genome: {found:,} bp in {CHROMOSOMES} records, half soft-masked, 2 % N",
            "preparation: one run from a cold cache; checked, hashed and written in one read",
            "memory: resident size of the preparing process once its packages are imported, and "
            "the largest that it had, mapped pages included",
            "cold: after posix_fadvise(DONTNEED) on the store, so that the disk of this machine "
            "is what is measured; warm: the same windows again",
            f"load average of the machine at the start: {load:.1f} on {os.cpu_count()} processors",
        ),
    )
    store(table, threads=1)


def _peak_mb() -> float:
    """Largest resident size of this process so far, in MB."""
    # not getrusage, which also counts what the parent held when it started this process
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no line VmHWM; this benchmark needs Linux")


if __name__ == "__main__":
    main()
