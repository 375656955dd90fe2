"""Reading a genome of 1, 1,000 or 100,000 records in another checkout and in this one, in pairs.

    python -m benchmarks.speed.reading --before CHECKOUT [--megabases 100] [--rounds 5]
        [--most-rounds-of-many 3] [--no-store] [--smoke]

The FASTA file is simulated (lines of 60 bases, a tenth of them soft-masked) and has the same number
of bases whatever the number of records. A round reads it in both checkouts, each in a process of
its own, in turns first and second: the store is built, opened again, divided by fractions, and 20
batches of training windows are read, which must have the same bytes. The ratio is that of one
round; the peak is the largest memory that the system has seen of the process, imports included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results_table import Cell, ResultTable, commit_of, store

HERE = Path(__file__).resolve().parents[2]
RECORDS = (1, 1_000, 100_000)
STEPS = ("build the store", "open it again", "splits and windows", "20 batches", "all steps")
MEMORY = ("peak until the windows, MB", "memory of its own at the end, MB")
WIDTH = 60
LIMIT_S = 1800
# the modules of the loader had other names in earlier checkouts.
CODE = r"""
import hashlib, json, re, sys, time
from pathlib import Path
try:
    from dnamdlm.data.genome.genome_settings import GenomeData
    from dnamdlm.data.genome.store import prepare_genome
except ImportError:
    from dnamdlm.data.genome import prepare_genome
    from dnamdlm.data.source import GenomeData
fasta, cache = sys.argv[1:]
def memory(kind):
    # getrusage would count the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(re.search(kind + r":\s+(\d+) kB", status)[1]) / 1024
marks = [time.perf_counter()]
def mark():
    marks.append(time.perf_counter())
prepare_genome(fasta, cache_dir=cache)
mark()
prepare_genome(fasta, cache_dir=cache)
mark()
opened = GenomeData(fasta, cache_dir=cache, length=64).open()
stream = opened.training_stream(1, 64)
mark()
peak = memory("VmHWM")
tokens = [stream.batch(step).tokens for step in range(20)]
mark()
digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in tokens)).hexdigest()
seconds = [end - start for start, end in zip(marks, marks[1:])]
print(json.dumps([digest, *seconds, marks[-1] - marks[0], peak, memory("RssAnon")]))
"""


def write_fasta(path: Path, num_records: int, num_bases: int) -> None:
    """A simulated genome of records of equal length."""
    random = np.random.default_rng(0)
    size = num_bases // num_records
    with path.open("wb") as out:
        for number in range(num_records):
            letters = random.choice(np.frombuffer(b"ACGT", dtype=np.uint8), size)
            letters[size // 2 : size // 2 + size // 10] |= 0x20
            out.write(f">contig_{number}\n".encode())
            whole = size // WIDTH * WIDTH
            lines = letters[:whole].reshape(-1, WIDTH)
            ends = np.full((len(lines), 1), ord("\n"), dtype=np.uint8)
            out.write(np.concatenate([lines, ends], axis=1).tobytes())
            if whole < size:
                out.write(letters[whole:].tobytes() + b"\n")


def measured(checkout: Path, fasta: Path) -> tuple[str, list[float]]:
    """A digest of the batches; seconds of `STEPS` and MB of `MEMORY`, in one process."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory(dir=fasta.parent) as cache:
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(fasta), cache], cwd=checkout, env=variables,
            check=True, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
    digest, *values = json.loads(done.stdout.splitlines()[-1])
    return digest, values


def paired(
    before: Path, num_bases: int, rounds: int, most_of_many: int
) -> dict[int, list[tuple[list[float], list[float]]]]:
    """Number of records -> what was measured before and after, of each round."""
    found: dict[int, list[tuple[list[float], list[float]]]] = {}
    for num_records in RECORDS:
        with tempfile.TemporaryDirectory() as folder:
            fasta = Path(folder) / "genome.fa"
            write_fasta(fasta, num_records, num_bases)
            few = rounds if num_records < RECORDS[-1] else min(rounds, most_of_many)
            for number in range(few):
                order = (before, HERE) if number % 2 == 0 else (HERE, before)
                runs = {checkout: measured(checkout, fasta) for checkout in order}
                (digest, old), (other, new) = runs[before], runs[HERE]
                if digest != other:
                    sys.exit(f"the batches of {num_records} records differ between the checkouts")
                found.setdefault(num_records, []).append((old, new))
                print(num_records, old, new, file=sys.stderr)
    return found


def rows_of(
    found: Mapping[int, Sequence[tuple[Sequence[float], Sequence[float]]]],
) -> list[tuple[Cell, ...]]:
    """One row per number of records and step, and one for the memory: medians of the rounds."""
    rows: list[tuple[Cell, ...]] = []
    for num_records, pairs in found.items():
        for place, step in enumerate((*STEPS, *MEMORY)):
            values = [(before[place], after[place]) for before, after in pairs]
            ratios = [after / before for before, after in values]
            rows.append(
                (
                    num_records,
                    step,
                    statistics.median(before for before, _ in values),
                    statistics.median(after for _, after in values),
                    statistics.median(ratios),
                    f"{min(ratios):.2f} to {max(ratios):.2f}",
                    len(pairs),
                )
            )
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Reading genomes in two checkouts.")
    parser.add_argument("--before", required=True, type=Path, help="another checkout")
    parser.add_argument("--megabases", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--most-rounds-of-many", type=int, default=3, help="rounds with the most records"
    )
    parser.add_argument("--no-store", action="store_true", help="print the table alone")
    parser.add_argument(
        "--smoke", action="store_true", help="one round of ten megabases, store nothing"
    )
    arguments = parser.parse_args()
    megabases = 10 if arguments.smoke else arguments.megabases
    rounds = 1 if arguments.smoke else arguments.rounds
    before = arguments.before.resolve()
    commit = commit_of(before)
    found = paired(before, megabases * 1_000_000, rounds, arguments.most_rounds_of_many)
    table = ResultTable(
        theme="speed-reading",
        title=f"Reading a genome of {megabases} Mb at {commit} and at this commit",
        columns=(
            "records", "step", "s before", "s after", "after / before", "of the rounds", "rounds",
        ),
        rows=rows_of(found),
        notes=(
            "medians of pairs; rows of memory are in MB, imports included",
            "pages of the store that batches map belong to the cache of the system: not counted",
            "the 20 batches, of 64 windows of 64 bases, had the same bytes in both",
        ),
    )  # fmt: skip
    if arguments.smoke or arguments.no_store:
        print(table.markdown({}))
    else:
        store(table, threads=1)


if __name__ == "__main__":
    main()
