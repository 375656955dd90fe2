"""Bits per base of the backbones after equal training time on the embedded genome.

    python -m benchmarks.quality.backbones [--minutes 8] [--seeds 3] [--windows 512] [--only NAME]

Every row has about the same number of parameters, the same windows in the same order, the same
optimizer and the same processor time (summed over threads, so that other work on the machine takes
nothing from a row); a slower network takes fewer steps. A short trial measures each
network's steps per second first, so that the learning rate can decay over the whole run. Nothing is
selected; chromosome XV is the validation split, read by default, and XVI the test split.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.results_table import Cell, ResultTable, environment_of_run, store
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.evaluation.window_scores import score_windows
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.averaging import MovingAverage
from dnamdlm.training.optimizers import AdamWSettings, WarmupCosine

VOCAB_SIZE = len(NUCLEOTIDE_VOCABULARY)
COMPLEMENT = NUCLEOTIDE_VOCABULARY.complement or ()
LENGTH = 128
BATCH_SIZE = 32
DRAWS = 8
TRIAL_STEPS = 12


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: shown in the table.
        build: makes the backbone.
        learning_rate: peak step size.
        averages: evaluate the mean over both strands.
    """

    name: str
    build: Callable[[], nn.Module]
    learning_rate: float = 3e-3
    averages: bool = False


def _demo() -> nn.Module:
    return DiT(
        VOCAB_SIZE, 64, 3, 1, mlp_ratio=2, activation="relu", conv_width=9,
        local_radius=12, local_size=256, attention_window=32,
    )  # fmt: skip


def _ph() -> nn.Module:
    return Mamba(VOCAB_SIZE, 72, 4, tie_embeddings=True)


ROWS = (
    Row("DiT 64 x 4", lambda: DiT(VOCAB_SIZE, 64, 4, 2)),
    Row("DiT 64 x 3 of the demo", _demo),
    Row(
        "Caduceus-PS 72 x 4",
        lambda: CaduceusPS(VOCAB_SIZE, COMPLEMENT, 72, 4),
    ),
    Row("Caduceus-PH 72 x 4", _ph),
    Row("Caduceus-PH 72 x 4, mean of strands", _ph, averages=True),
    Row(
        "DiMamba 68 x 3, sees the time",
        lambda: Mamba(VOCAB_SIZE, 68, 3, time_conditioning=True, cond_size=64),
    ),
)


def language_model(backbone: nn.Module) -> MaskedDiffusionLM:
    """A diffusion model around a backbone."""
    return MaskedDiffusionLM(
        backbone,  # pyright: ignore[reportArgumentType]
        NUCLEOTIDE_VOCABULARY,
        LogLinear(),
        Stratified(),
    )


def train(row: Row, genome: OpenGenome, seed: int, seconds: float) -> tuple[nn.Module, int]:
    """Train for a given time; returns the network with averaged weights and its steps."""
    stream = genome.training_stream(seed, BATCH_SIZE)
    torch.manual_seed(seed)
    trial = language_model(row.build())
    durations: list[float] = []
    for step in range(TRIAL_STEPS):
        start = time.process_time()
        batch = stream.batch(step)
        (trial.loss_terms(batch).nats.sum() / batch.tokens.numel()).backward()
        durations.append(time.process_time() - start)
    # a tenth for the optimizer and the moving average.
    num_steps = max(1, int(seconds / (1.1 * statistics.median(durations))))

    torch.manual_seed(seed)
    model = language_model(row.build())
    optimizer = AdamWSettings(row.learning_rate, beta2=0.95, weight_decay=0.01).build(model)
    schedule = WarmupCosine(warmup_steps=min(50, num_steps), hold_fraction=0.3)
    rate = LambdaLR(optimizer, lambda step: schedule.factor(step, num_steps))
    average = MovingAverage(model, 0.995)
    start = time.process_time()
    done = 0
    for step in range(num_steps):
        batch = stream.batch(step)
        optimizer.zero_grad(set_to_none=True)
        (model.loss_terms(batch).nats.sum() / batch.tokens.numel()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        average.update(model)
        done = step + 1
        # a machine that slowed down after the trial must not give a network more time.
        if time.process_time() - start > 1.1 * seconds:
            break
    model.load_state_dict({**model.state_dict(), **average.shadow})
    return model.backbone.eval(), done  # pyright: ignore[reportReturnType,reportAttributeAccessIssue]


def measured_rows(
    arguments: argparse.Namespace, genome: OpenGenome, windows: Sweep[SplitWindows]
) -> list[tuple[Cell, ...]]:
    """A row of the table for each network: its size, steps and bits per base over the seeds."""
    trained: dict[tuple[Callable[[], nn.Module], int], tuple[nn.Module, int]] = {}
    rows: list[tuple[Cell, ...]] = []
    for row in ROWS:
        if arguments.only not in row.name:
            continue
        values: list[float] = []
        steps: list[int] = []
        for seed in range(1, arguments.seeds + 1):
            # rows that share a network differ in evaluation alone.
            key = (row.build, seed)
            if key not in trained:
                trained[key] = train(row, genome, seed, 60 * arguments.minutes)
            network, num_steps = trained[key]
            if row.averages:
                network = StrandAverage(network, COMPLEMENT)  # pyright: ignore[reportArgumentType]
            model = language_model(network)
            values.append(score_windows(model, windows, draws=DRAWS).bits().value)
            steps.append(num_steps)
            print(f"{row.name}, seed {seed}: {values[-1]:.4f} after {num_steps} steps", flush=True)
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        size = sum(parameter.numel() for parameter in row.build().parameters())
        rows.append(
            (
                row.name,
                size,
                round(statistics.fmean(steps)),
                f"{statistics.fmean(values):.4f}",
                None if error is None else f"{error:.4f}",
            )
        )
    return rows


def main() -> None:
    """Train, evaluate, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="processor minutes of training per network"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=512, help="windows that are evaluated")
    parser.add_argument("--split", default="valid", help="valid or test")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--only", default="", help="measure and print only rows whose name contains this"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        compiled_scan.build()
    except ImportError as error:
        print(f"the compiled scan is left out: {error}")
    genome = GenomeData(
        fasta="embedded:yeast", length=LENGTH, valid=("chrXV",), test=("chrXVI",)
    ).open()
    windows = genome.evaluation_windows(arguments.split, limit=arguments.windows, seed=0)
    rows = measured_rows(arguments, genome, windows)
    table = ResultTable(
        "quality-backbones",
        f"Backbones after {arguments.minutes:g} processor minutes each on the embedded genome",
        ("network", "parameters", "steps", f"bits per base, {arguments.split}", "standard error"),
        rows,
        (
            f"mean over {arguments.seeds} seeds and its standard error; upper bounds, "
            f"{DRAWS} draws on {len(windows)} windows of {LENGTH}",
            f"batches of {BATCH_SIZE}; AdamW, cosine decay, moving average of the weights",
            "training windows are turned over at random for every network",
        ),
    )
    if arguments.only:
        print(table.markdown(environment_of_run(threads=arguments.threads)))
        return
    store(table, threads=arguments.threads)


if __name__ == "__main__":
    main()
