"""Processor time of the elbo of substitutions at equal standard error, elsewhere and here.

    python -m benchmarks.speed.elbo_error --before CHECKOUT --run RUN [--model yeast-demo]
        [--fasta embedded:yeast] [--chrom chrXVI] [--first 200000] [--positions 60] [--draws 4]
        [--seeds 8] [--smoke]

A standard error falls with the root of the draws, so that the time at equal standard error is the
time of a substitution times the variance of its score. All three substitutions of some positions
are scored with several seeds, which give the variance of each, and the time is that of the command
less its start, which those of one position take. RUN is a folder that both checkouts read, of a
network of the size of the demo; a change of the code between them does not change the variance, and
what it does to the time is the ratio of their times. The control variate needs counts, which RUN
has not: it is tried on the second model, and both gains are multiplied.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.command_times import Setting, timed
from benchmarks.results_table import Cell, ResultTable, commit_of, finish
from benchmarks.started import start
from dnamdlm.data.genome.genome_files import open_genome, resolve
from dnamdlm.errors import DataError

HERE = Path(__file__).resolve().parents[2]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@dataclass(frozen=True)
class Found:
    """What the runs of one row found.

    Attributes:
        seconds: of the processor, a substitution.
        scores: of each seed and substitution, (S, N).
    """

    seconds: float
    scores: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """Mean over substitutions of the variance over seeds."""
        return float(self.scores.var(axis=0, ddof=1).mean())

    @property
    def cost(self) -> float:
        """Seconds x variance."""
        return self.seconds * self.variance

    def taken(self, rows: NDArray[np.int64]) -> Found:
        """The same of some of the substitutions."""
        return Found(self.seconds, self.scores[:, rows])


def write_substitutions(path: Path, chrom: str, first: int, letters: str) -> None:
    """A VCF file of all three substitutions of each base from `first` (1-based) on."""
    rows = [
        f"{chrom}\t{first + place}\t.\t{ref}\t{alt}\t.\t.\t."
        for place, ref in enumerate(letters)
        for alt in "ACGT".replace(ref, "")
    ]
    path.write_text(_HEADER + "\n".join(rows) + "\n", encoding="ascii")


@dataclass(frozen=True)
class Way:
    """A checkout, a model, and other settings of score."""

    checkout: Path
    model: str
    settings: tuple[str, ...] = ()


class Runs:
    """The commands of a table, with one thread in one process."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.folder = arguments, folder
        self.fasta = resolve(arguments.fasta)[0]
        first, count = arguments.first, arguments.positions
        codes = open_genome(arguments.fasta).stretch(arguments.chrom, first - 1, first - 1 + count)
        letters = "".join("ACGTN"[code & 7] for code in codes)
        if "N" in letters:
            raise DataError(f"{arguments.chrom}:{first} has N within {count} bases; move --first")
        for name, text in (("all", letters), ("one", letters[:1])):
            write_substitutions(folder / f"{name}.vcf", arguments.chrom, first, text)

    def found(self, ways: Mapping[str, Way]) -> dict[str, Found]:
        """Time and scores of all ways, which take turns, so that they share what disturbs them."""
        settings = {
            name: Setting(
                "", _ONE_THREAD, (*(("workers=1",) if way.checkout == HERE else ()), *way.settings),
                folder=way.checkout,
            )
            for name, way in ways.items()
        }  # fmt: skip
        taken: dict[str, list[float]] = {name: [] for name in ways}
        scores: dict[str, list[NDArray[np.float64]]] = {name: [] for name in ways}
        for seed in range(self.arguments.seeds):
            for name, way in ways.items():
                start = self._seconds(settings[name], way.model, "one", seed)
                whole = self._seconds(settings[name], way.model, "all", seed)
                taken[name].append(whole - start)
                scores[name].append(read_scores(self.folder / "all.tsv"))
        each = 3 * (self.arguments.positions - 1)
        return {
            name: Found(float(np.median(taken[name])) / each, np.array(scores[name]))
            for name in ways
        }

    def _seconds(self, setting: Setting, model: str, name: str, seed: int) -> float:
        words = [
            f"model={model}", f"variants={self.folder / name}.vcf", "scores=[elbo]",
            f"data.fasta={self.fasta}", f"draws={self.arguments.draws}",
            f"seed={seed}", f"out={self.folder / name}.tsv",
        ]  # fmt: skip
        return timed("score", words, setting).cpu


def read_scores(path: Path) -> NDArray[np.float64]:
    """The column of the elbo of a table of scores, (N,)."""
    with path.open(newline="") as file:
        lines = (line for line in file if not line.startswith("##"))
        return np.array([float(row["delta_elbo"]) for row in csv.DictReader(lines, delimiter="\t")])


def ratio(above: Found, below: Found, *, repeats: int = 500) -> tuple[float, float, float]:
    """Cost of one way over that of another, with a 95 % interval over substitutions."""
    rng = np.random.default_rng(0)
    number = above.scores.shape[1]
    drawn = [rng.integers(number, size=number) for _ in range(repeats)]
    ratios = [above.taken(rows).cost / below.taken(rows).cost for rows in drawn]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return above.cost / below.cost, float(low), float(high)


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="The elbo at equal standard error.")
    parser.add_argument("--before", required=True, type=Path, help="another checkout")
    parser.add_argument("--run", required=True, help="run folder that both checkouts read")
    parser.add_argument(
        "--model", default="yeast-demo", help="with counts, for the control variate"
    )
    parser.add_argument("--fasta", default="embedded:yeast", help="of both models")
    parser.add_argument("--chrom", default="chrXVI")
    parser.add_argument("--first", type=int, default=200_000, help="position, from 1")
    parser.add_argument("--positions", type=int, default=60)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="few positions, store nothing")
    return parser.parse_args()


def main() -> None:
    """Measure, print and store."""
    arguments = parsed()
    if arguments.smoke:
        arguments.positions, arguments.seeds = 4, 2
    before = arguments.before.resolve()
    run = str(Path(arguments.run).resolve())
    with tempfile.TemporaryDirectory() as name:
        found = Runs(arguments, Path(name)).found(
            {
                "the other checkout": Way(before, run),
                "this checkout": Way(HERE, run),
                "with counts": Way(HERE, arguments.model),
                "with counts, control=experts": Way(HERE, arguments.model, ("control=experts",)),
            }
        )
    old, new, plain, controlled = found.values()
    code, control = old.seconds / new.seconds, ratio(plain, controlled)
    rows: list[tuple[Cell, ...]] = [
        (label, 1000 * way.seconds, 1 / way.seconds, way.variance) for label, way in found.items()
    ]
    commit = commit_of(before)
    total = [code * value for value in control]
    table = ResultTable(
        "speed-elbo-error",
        f"The elbo of substitutions at {commit} and at this commit",
        ("way", "CPU milliseconds a substitution", "substitutions per CPU second",
         f"variance of {arguments.draws} draws, nats^2"),
        rows,
        (
            f"{old.scores.shape[1]} substitutions, {arguments.seeds} seeds, both strands, one "
            "thread; the start of the command is not counted",
            f"time of the same work before / now: {code:.2f}",
            "without / with the control variate: variance "
            f"{plain.variance / controlled.variance:.2f}, time "
            f"{plain.seconds / controlled.seconds:.2f}, both together "
            f"{control[0]:.2f} (95 % interval over substitutions {control[1]:.2f} to "
            f"{control[2]:.2f})",
            f"time at equal standard error before / now: {total[0]:.1f} ({total[1]:.1f} to "
            f"{total[2]:.1f}), without the error of the times",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    start(main)
