"""Which results of inference have the same bytes for every number of threads of a process.

    python -m benchmarks.quality.thread_bits [--model yeast-demo] [--threads 2 3 4] [--rows 12]
        [--smoke]

The kernels of PyTorch divide a product or a sum among threads, and may round another way for
another number of them. The commands score, embed and sample are run with one thread and with
several, in one process, on a CPU: with a model, and with networks of other kinds after two steps of
training. A cell says how many rows of the result have other bytes than with one thread.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.started import start
from benchmarks.trained import model_note
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import ConfigError

_CHROMOSOME, _FIRST, _LENGTH, _SAMPLED = "chrIV", 100_000, 200, 60
_TRAIN = (
    "config=tiny", "data.fasta=embedded:yeast", "data.valid=[chrXV]", "data.test=[chrXVI]",
    "trainer.max_steps=2", "trainer.valid_windows=2", "trainer.global_batch_size=4", "threads=1",
)  # fmt: skip
NETWORKS: Mapping[str, Sequence[str]] = {
    "transformer": ("backbone=dit", "backbone.zero_init=false"),
    "transformer that is given the time": ("backbone=dit", "backbone.time_conditioning=true"),
    "transformer of 512 channels": ("backbone=dit", "backbone.hidden_size=512"),
    "Caduceus-PS": ("backbone=caduceus_ps",),
    "convolutions": ("backbone=convnet", "backbone.hidden_size=128", "backbone.num_blocks=8"),
    "DiMamba": ("backbone=dimamba", "backbone.hidden_size=128", "backbone.num_blocks=2"),
}
"""Name -> settings of a network that is trained for two steps."""
RESULTS = ("score", "embed", "sample")


def run(entry: str, *settings: str) -> None:
    """A command.

    Raises:
        ConfigError: if it fails.
    """
    done = subprocess.run([sys.executable, "-m", f"dnamdlm.{entry}", *settings], check=False)
    if done.returncode:
        raise ConfigError(f"{entry} failed; its message stands above")


def results(model: str, folder: Path, threads: int, rows: int) -> dict[str, list[bytes]]:
    """Name of a result -> its rows, made in one process of some threads.

    Args:
        model: a run, or the name of a model.
        folder: has the files of `write_beds`.
        threads: of the process.
        rows: samples.
    """
    places = (f"model={model}", f"threads={threads}", "workers=1", "device=cpu")
    data = "data.fasta=embedded:yeast"
    scores, states, samples = (
        folder / f"{threads}_{name}" for name in ("score.tsv", "embed.npz", "sample.fa")
    )
    run("score", *places, data, "variants=all", f"bed={folder / 'positions.bed'}", "scores=[llr]",
        f"out={scores}")  # fmt: skip
    run("embed", *places, data, f"data.bed={folder / 'intervals.bed'}", f"out={states}")
    run("sample", *places, f"num_sequences={rows}", f"length={_SAMPLED}", f"out={samples}")
    with np.load(states) as table:
        embedded = [row.tobytes() for row in table["embedding"]]
    return {
        "score": scores.read_bytes().splitlines(),
        "embed": embedded,
        "sample": samples.read_bytes().split(b">"),
    }


def write_beds(folder: Path, rows: int) -> None:
    """Positions whose substitutions are scored, and intervals of several lengths."""
    last = _FIRST + rows
    (folder / "positions.bed").write_text(f"{_CHROMOSOME}\t{_FIRST}\t{last}\n", encoding="ascii")
    lines = [
        f"{_CHROMOSOME}\t{_FIRST + 300 * row}\t{_FIRST + 300 * row + _LENGTH - 7 * (row % 5)}\n"
        for row in range(rows)
    ]
    (folder / "intervals.bed").write_text("".join(lines), encoding="ascii")


def differing(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Rows that are not the same; all of them if their numbers differ.

    >>> differing([b"a", b"b"], [b"a", b"c"])
    1
    """
    if len(one) != len(other):
        return max(len(one), len(other))
    return sum(a != b for a, b in zip(one, other, strict=True))


def row_of(
    name: str, model: str, folder: Path, threads: Sequence[int], rows: int
) -> tuple[Cell, ...]:
    """A row of the table: of each result, the rows that any number of threads changes."""
    write_beds(folder, rows)
    one = results(model, folder, 1, rows)
    others = [results(model, folder, number, rows) for number in threads]
    changed = {
        result: [differing(one[result], other[result]) for other in others] for result in RESULTS
    }
    return (name, *(", ".join(map(str, changed[result])) for result in RESULTS))


def main() -> None:
    """Train, run, compare, print and store."""
    parser = argparse.ArgumentParser(description="Bytes of results by the number of threads.")
    parser.add_argument("--model", default="yeast-demo")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--rows", type=int, default=12, help="positions, intervals and samples")
    parser.add_argument("--smoke", action="store_true", help="one model, few rows, print only")
    options = parser.parse_args()
    rows = 5 if options.smoke else options.rows
    networks = {} if options.smoke else NETWORKS
    found: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found.append(row_of(options.model, options.model, folder, options.threads, rows))
        for number, (label, settings) in enumerate(networks.items()):
            model = str(folder / f"run{number}")
            run("train", *_TRAIN, *settings, f"run_dir={model}")
            found.append(row_of(label, model, folder, options.threads, rows))
            print(*found[-1], flush=True)
    numbers = ", ".join(map(str, options.threads))
    table = ResultTable(
        theme="quality-thread-bits",
        title=f"Rows with other bytes than with one thread, for {numbers} threads",
        columns=("network", *RESULTS),
        rows=found,
        notes=(
            f"{rows} positions (score, llr on both strands), intervals of 172 to 200 bases (embed) "
            f"and sequences of {_SAMPLED} bases (sample), in one process on a CPU; all networks "
            "but the first after two steps of training",
            model_note(load_model(options.model)),
        ),
    )
    finish(table, smoke=options.smoke)


if __name__ == "__main__":
    start(main)
