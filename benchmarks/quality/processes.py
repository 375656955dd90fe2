"""Diffusion processes at equal steps: autoregressive, blocks, masks, IUPAC codes, replaced tokens.

    python -m benchmarks.quality.processes [--corpus DIR] [--steps 2000] [--seeds 3] [--only NAME]

Every row trains the same transformer (64 channels, 2 blocks) on the same windows in the same order
with the same optimizer; only the process differs. The autoregressive row has the same blocks with
causal attention, and the network of uniform noise sees the time. Models of masks are trained on
exact counts. Data are the embedded genome of yeast, with chrXVI for the test, or a prepared corpus
of text (`--corpus`, such as sentences of LM1B), without the row of IUPAC codes.

Sequences are made in windows of the training length by ancestral steps, half as many as positions
in all rows, blocks included, and one step per position from left to right. Blocks are made with the
keys and values of finished blocks, and once more without.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from benchmarks.quality.objectives import (
    BATCH_SIZE,
    HIDDEN_SIZE,
    NUM_BLOCKS,
    NUM_HEADS,
    bits,
    mean_and_error,
    trained,
)
from benchmarks.results_table import Cell, ResultTable, environment_of_run, store
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.text.corpus import TextData
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.tokens.iupac import with_codes
from dnamdlm.tokens.vocabulary import Vocabulary

LENGTH = 256
MODEL_ROWS = 4
Trained = CausalLM | MaskedDiffusionLM | BlockDiffusionLM | UniformDiffusionLM


@dataclass(frozen=True)
class Process:
    """One row of the table.

    Attributes:
        name: as shown.
        kind: class of the model.
        block_length: positions per block.
        paper: what the papers report for it; never compared digit by digit.
    """

    name: str
    kind: Literal["ar", "block", "masks", "iupac", "uniform"]
    block_length: int = LENGTH
    paper: str = "-"


ROWS = (
    Process("masks (MDLM)", "masks", paper="LM1B 31.78"),
    Process("autoregressive", "ar", 1),
    Process("blocks of 4", "block", 4, "LM1B 28.23"),
    Process("blocks of 16", "block", 16, "LM1B 30.60"),
    Process("blocks of 64", "block", 64),
    Process("blocks of 256", "block", 256),
    Process("IUPAC codes", "iupac"),
    Process("uniform", "uniform"),
)


def build(row: Process, vocabulary: Vocabulary, seed: int) -> Trained:
    """The model of a row with random weights."""
    torch.manual_seed(seed)
    of_network = with_codes(vocabulary) if row.kind == "iupac" else vocabulary
    sizes = (len(of_network), HIDDEN_SIZE, NUM_BLOCKS, NUM_HEADS)
    if row.kind == "ar":
        return CausalLM(CausalTransformer(*sizes), vocabulary)
    network = DiT(*sizes, time_conditioning=row.kind == "uniform")
    if row.kind == "block":
        return BlockDiffusionLM(
            network, vocabulary, objective=ExactCount(), block_length=row.block_length
        )
    if row.kind == "uniform":
        return UniformDiffusionLM(network, vocabulary)
    model = IupacDiffusionLM if row.kind == "iupac" else MaskedDiffusionLM
    return model(network, vocabulary, objective=ExactCount())


def generating(row: Process, model: Trained, length: int) -> Callable[..., Generated]:
    """Makes some sequences of the training length; blocks take `use_cache`."""
    make: Callable[..., Any] = partial(
        model.generate, row_keys(1, torch.arange(MODEL_ROWS)), length
    )
    if row.kind == "ar":
        return make
    size = min(row.block_length, length)
    return partial(make, num_steps=max(1, size // 2))


def seconds_per_thousand(make: Callable[[], Generated]) -> tuple[float, float]:
    """Seconds, and rows that the network read, per thousand positions; the second of two runs."""
    make()
    begin = time.perf_counter()
    made = make()
    thousands = made.tokens.numel() / 1000
    return (time.perf_counter() - begin) / thousands, made.row_calls / thousands


def measure(
    row: Process,
    vocabulary: Vocabulary,
    data: OpenData,
    *,
    num_steps: int,
    seeds: Sequence[int],
    num_windows: int,
) -> tuple[list[float], tuple[Cell, ...]]:
    """Bits per token of each seed, and what follows the bits in the table."""
    found: list[float] = []
    timed: list[tuple[float, float]] = []
    without: list[float] = []
    for seed in seeds:
        model = trained(
            build(row, vocabulary, seed), data.training_stream(seed, BATCH_SIZE), num_steps
        )
        windows = data.evaluation_windows("test", limit=num_windows, seed=seed)
        found.append(bits(model, windows))
        make = generating(row, model, data.length)
        timed.append(seconds_per_thousand(make))
        if row.kind == "block":
            without.append(seconds_per_thousand(partial(make, use_cache=False))[0])
    seconds, calls = (statistics.median(each[i] for each in timed) for i in (0, 1))
    return found, (calls, seconds, statistics.median(without) if without else None)


def result_table(
    rows: Sequence[Process],
    vocabulary: Vocabulary,
    data: OpenData,
    *,
    num_steps: int,
    num_seeds: int,
    num_windows: int,
    report: Callable[[str], object] = print,
) -> ResultTable:
    """Train and measure all rows."""
    seeds = range(1, num_seeds + 1)
    cells: list[tuple[Cell, ...]] = []
    first: list[float] = []
    for row in rows:
        own, rest = measure(
            row, vocabulary, data, num_steps=num_steps, seeds=seeds, num_windows=num_windows
        )
        differences = [ours - theirs for ours, theirs in zip(own, first, strict=False)]
        is_exact = row.kind == "ar" or row.block_length == 1
        kind = "exact" if is_exact else "upper bound"
        cells.append(
            (row.name, *mean_and_error(own), kind, *mean_and_error(differences), *rest, row.paper)
        )
        first = first or own
        report(f"{row.name}: {cells[-1][1:-1]}")
    unit = data.unit
    return ResultTable(
        f"quality-processes-{unit}",
        f"Processes at small scale: {num_steps} steps of {BATCH_SIZE} x {data.length} {unit}s",
        (
            "process",
            f"bits per {unit}",
            "+- (seeds)",
            "kind",
            "minus the first row",
            "+- (paired)",
            f"rows read by the network per 1,000 {unit}s",
            f"seconds per 1,000 {unit}s",
            "without a cache",
            "perplexity in the paper (data)",
        ),
        cells,
        (
            "small scale: a network of 0.1 M parameters and minutes of training; the order of rows "
            "need not be that of long training",
            "last column: as quoted from Arriola et al. 2025 (arXiv:2503.09573), 65 B tokens of "
            "text and a large network; nothing of it was measured here",
            f"{num_seeds} seeds, the same windows and noise keys in every row; standard error of "
            "the mean over seeds; windows and noise cancel in the paired difference",
            f"generation: {MODEL_ROWS} sequences of one window at once, ancestral steps half as "
            f"many as positions, one per {unit} from left to right; the second of two runs, the "
            "median of the seeds; seconds of the clock of a machine that may do other work",
        ),
    )


def main() -> None:
    """Train, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpus", help="a prepared corpus of text in place of the yeast genome")
    parser.add_argument("--length", type=int, default=LENGTH, help="positions per window")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--only", default="", help="measure and print only rows whose name contains this"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    length = arguments.length
    source = (
        GenomeData(fasta="embedded:yeast", length=length, valid=("chrXV",), test=("chrXVI",))
        if arguments.corpus is None
        else TextData(corpus=arguments.corpus, length=length)
    )
    rows = [
        row
        for row in ROWS
        if arguments.only in row.name
        and (row.kind != "block" or length % row.block_length == 0)
        and not (row.kind == "iupac" and arguments.corpus)
    ]
    table = result_table(
        rows,
        source.vocabulary,
        source.open(),
        num_steps=arguments.steps,
        num_seeds=arguments.seeds,
        num_windows=arguments.windows,
    )
    if arguments.only or arguments.steps < 100:
        print(table.markdown(environment_of_run(threads=arguments.threads)))
        return
    store(table, threads=arguments.threads)


if __name__ == "__main__":
    main()
