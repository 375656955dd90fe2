"""Random fetches from a genome store by forked and spawned processes and by threads: none wrong.

    python -m benchmarks.fetches [--number 1000000] [--fasta FILE] [--beside]

The oracle is the sequence itself, kept in memory as text that no reader of the package has touched.
Each worker opens or inherits the store in its own way, fetches random intervals, and compares
letter by letter. `--beside` does the same, with fewer fetches, through one pysam and one pyfaidx
handle that is opened before the workers start, as a data set that opens its file in its constructor
does. The process ends with status 1 if a fetch of the store was wrong.
"""

import argparse
import gzip
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.words.codes import CODE_MASK

LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
MAX_LENGTH = 2000
# a reader whose handle is shared may fail in ways that it does not document
FAILURES = (
    OSError, ValueError, LookupError, ArithmeticError, RuntimeError, TypeError, AttributeError,
)  # fmt: skip
Fetch = Callable[[str, int, int], str]
Counts = tuple[int, int, int]


def oracle(fasta: Path) -> dict[str, str]:
    """Name -> upper-case letters, by splitting the text of the file."""
    raw = fasta.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    records = (part.partition("\n") for part in text.split(">")[1:])
    return {head.split()[0]: body.replace("\n", "").upper() for head, _, body in records}


def store_fetch(genome: GenomeStore) -> Fetch:
    """Letters of an interval of a store."""

    def fetch(name: str, start: int, end: int) -> str:
        codes = genome.fetch(Interval(name, start, end))
        return LETTERS[codes & CODE_MASK].tobytes().decode("ascii")

    return fetch


def check(fetch: Fetch, texts: dict[str, str], number: int, seed: int) -> Counts:
    """Right, wrong and failed among `number` random fetches."""
    random = np.random.default_rng(seed)
    names = list(texts)
    right = wrong = failed = 0
    records = random.integers(len(names), size=number)
    sizes = random.integers(1, MAX_LENGTH, size=number)
    places = random.random(number)
    for record, size, place in zip(records, sizes, places, strict=True):
        name = names[record]
        text = texts[name]
        length = min(int(size), len(text))
        start = int(place * (len(text) - length + 1))
        try:
            found = fetch(name, start, start + length)
        except FAILURES:
            failed += 1
            continue
        if found.upper() == text[start : start + length]:
            right += 1
        else:
            wrong += 1
    return right, wrong, failed


def _child(
    fetch: Fetch | Path,
    texts: dict[str, str] | Path,
    number: int,
    seed: int,
    results: SimpleQueue[Counts],
) -> None:
    if isinstance(texts, Path):
        texts = oracle(texts)
    if isinstance(fetch, Path):
        fetch = store_fetch(GenomeStore.open(fetch))
    results.put(check(fetch, texts, number, seed))


def in_processes(
    kind: Literal["fork", "spawn"],
    fetch: Fetch | Path,
    texts: dict[str, str] | Path,
    number: int,
    workers: int,
) -> Counts:
    """Sums over `workers` processes that share the work."""
    # a context of either kind has processes, which the common type does not say.
    context: Any = multiprocessing.get_context(kind)
    results = context.SimpleQueue()
    share = number // workers
    processes = [
        context.Process(target=_child, args=(fetch, texts, share, seed, results))
        for seed in range(workers)
    ]
    for process in processes:
        process.start()
    counts = []
    for process in processes:
        process.join()
        counts.append(results.get() if process.exitcode == 0 else (0, 0, share))
    return _sum(counts)


def in_threads(fetch: Fetch, texts: dict[str, str], number: int, workers: int) -> Counts:
    """Sums over `workers` threads that share one handle."""
    counts: list[Counts] = []
    threads = [
        threading.Thread(
            target=lambda seed=seed: counts.append(check(fetch, texts, number // workers, seed))
        )
        for seed in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _sum(counts)


def count_all(fasta: Path, cache: Path, number: int, workers: int = 4) -> dict[str, Counts]:
    """Right, wrong and failed fetches of the store, a third of them in each way."""
    genome = prepare_genome(fasta, cache_dir=cache)
    texts = oracle(fasta)
    third = -(-number // 3)
    third += -third % workers
    return {
        "store, fork": in_processes("fork", store_fetch(genome), texts, third, workers),
        "store, spawn": in_processes("spawn", genome.folder, fasta, third, workers),
        "store, threads": in_threads(store_fetch(genome), texts, third, workers),
    }


def count_beside(fasta: Path, folder: Path, number: int, workers: int = 4) -> dict[str, Counts]:
    """The same through one handle of pysam and pyfaidx, where these are installed."""
    texts = oracle(fasta)
    plain = folder / "plain.fa"
    with plain.open("w") as out:
        for name, text in texts.items():
            lines = (text[i : i + 60] for i in range(0, len(text), 60))
            out.write(f">{name}\n" + "\n".join(lines) + "\n")
    found: dict[str, Counts] = {}
    for package, opened in (("pysam", _pysam), ("pyfaidx", _pyfaidx)):
        if importlib.util.find_spec(package) is None:
            continue
        fetch = opened(plain)
        found[f"{package}, fork"] = in_processes("fork", fetch, texts, number, workers)
        found[f"{package}, threads"] = in_threads(opened(plain), texts, number, workers)
    return found


def _pysam(path: Path) -> Fetch:
    import pysam

    handle = pysam.FastaFile(str(path))
    handle.fetch(handle.references[0], 0, 10)
    return handle.fetch


def _pyfaidx(path: Path) -> Fetch:
    import pyfaidx

    handle = pyfaidx.Fasta(str(path), as_raw=True)
    return lambda name, start, end: handle[name][start:end]


def _sum(counts: list[Counts]) -> Counts:
    rights, wrongs, faileds = zip(*counts, strict=True)
    return sum(rights), sum(wrongs), sum(faileds)


def main() -> None:
    """Fetch, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    embedded = Path(__file__).parents[1] / "dnamdlm/data/genome/embedded"
    parser.add_argument("--fasta", type=Path, default=next(embedded.glob("*.fa.gz"), None))
    parser.add_argument("--number", type=int, default=1_000_000)
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--number-beside", type=int, default=80_000)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = count_all(arguments.fasta, folder / "cache", arguments.number)
        ours = _sum(list(found.values()))
        if arguments.beside:
            found |= count_beside(arguments.fasta, folder, arguments.number_beside)
    print("| reader, workers | fetches | wrong | failed |\n|---|---|---|---|")
    for what, (right, wrong, failed) in found.items():
        print(f"| {what} | {right + wrong + failed:,} | {wrong:,} | {failed:,} |")
    print(f"store: {sum(ours):,} fetches, {ours[1]} wrong, {ours[2]} failed, in "
          f"{time.monotonic() - began:.0f} s on {os.cpu_count()} processors")  # fmt: skip
    if ours[1] or ours[2]:
        sys.exit(1)


if __name__ == "__main__":
    main()
