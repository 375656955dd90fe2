"""Objectives and ablations of the MDLM paper on the embedded genome, at small scale.

    python -m benchmarks.quality.objectives [--steps 1000] [--seeds 3] [--only NAME]

Every row trains the same transformer (64 channels, 2 blocks) on the same windows in the same order
with the same optimizer; only the objective, or one switch of it, differs. The autoregressive row
has the same blocks with causal attention. Chromosome XVI is tested; nothing is selected.

Two measures stand side by side. The model's own measure is what its paper reports: the bound of its
objective, or the exact likelihood. The second one reads the same network as the denoiser of a
masked diffusion model and takes the bound with exact counts, so that rows differ in training alone.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.results_table import Cell, ResultTable, environment_of_run, store
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.data_source import BatchStream, WindowSequence
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.evaluation.window_scores import score_windows
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import (
    ContinuousTime,
    DiscreteTime,
    ExactCount,
    MaskedPrediction,
    Objective,
    ScoreEntropy,
    SimpleCrossEntropy,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.averaging import MovingAverage
from dnamdlm.training.optimizers import AdamWSettings, WarmupCosine

Model = TypeVar("Model", bound=Any)

LENGTH = 128
BATCH_SIZE = 32
HIDDEN_SIZE, NUM_BLOCKS, NUM_HEADS = 64, 2, 2
LEARNING_RATE = 3e-3
DRAWS = 8
NUM_STEPS = 1000
EVALUATED_STEPS = (10, 100)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as shown.
        objective: what is trained; None is the autoregressive model.
        paper: what the paper reports for this variant; never compared digit by digit.
        time_conditioning: whether the network sees the time.
        evaluate_as: objective that replaces the trained one in evaluation.
    """

    name: str
    objective: Objective | None
    paper: str = "-"
    time_conditioning: bool = False
    evaluate_as: Objective | None = None

    @property
    def trained_as(self) -> tuple[Objective | None, bool]:
        """Rows that share this share their networks."""
        return self.objective, self.time_conditioning


def _table() -> list[Row]:
    subs = ContinuousTime()
    without_carry = DiscreteTime(NUM_STEPS, carry_over=False)
    rows = [
        Row("MDLM (SUBS, continuous time)", subs, "HG38 3.199; LM1B 27.04"),
        Row("MDLM, time conditioning", subs, "OWT 23.21 (23.05 without)", time_conditioning=True),
        Row("MDLM, exact counts", ExactCount()),
        Row("MDLM, simple cross-entropy", SimpleCrossEntropy()),
        Row(f"SUBS, T = {NUM_STEPS}", DiscreteTime(NUM_STEPS), "LM1B 27.19"),
        Row(f"T = {NUM_STEPS}, no carry-over", without_carry, "LM1B 28.56"),
        Row(
            f"D3PM: T = {NUM_STEPS}, no carry-over, no zero mask",
            DiscreteTime(NUM_STEPS, carry_over=False, zero_mask=False),
            "LM1B 28.51",
        ),
        Row("SEDD (sees the time)", ScoreEntropy(), "HG38 3.216; LM1B 32.79", True),
        Row("SEDD, no time conditioning", ScoreEntropy()),
        Row("MLM as in BERT", MaskedPrediction(), "C4 78 (BERT)"),
        Row("AR", None, "HG38 3.067 (Mamba); LM1B 22.32"),
    ]
    rows += [
        Row(f"MDLM, evaluated with T = {steps}", subs, paper, evaluate_as=DiscreteTime(steps))
        for steps, paper in zip(EVALUATED_STEPS, ("OWT 42.18", "OWT 24.35"), strict=True)
    ]
    return rows


ROWS = _table()


def build(row: Row, seed: int) -> MaskedDiffusionLM | CausalLM:
    """The model of a row with random weights."""
    torch.manual_seed(seed)
    sizes = (len(NUCLEOTIDE_VOCABULARY), HIDDEN_SIZE, NUM_BLOCKS, NUM_HEADS)
    if row.objective is None:
        return CausalLM(CausalTransformer(*sizes), NUCLEOTIDE_VOCABULARY)
    backbone = DiT(*sizes, time_conditioning=row.time_conditioning)
    return MaskedDiffusionLM(
        backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), row.objective
    )


def train(row: Row, genome: OpenGenome, seed: int, num_steps: int) -> MaskedDiffusionLM | CausalLM:
    """Train a row's model; returns it with averaged weights."""
    return trained(build(row, seed), genome.training_stream(seed, BATCH_SIZE), num_steps)


def trained(
    model: Model, stream: BatchStream, num_steps: int, learning_rate: float = LEARNING_RATE
) -> Model:
    """The model after some steps on a stream, with averaged weights and in evaluation mode."""
    optimizer = AdamWSettings(learning_rate, beta2=0.95, weight_decay=0.01).build(model)
    schedule = WarmupCosine(warmup_steps=min(50, num_steps), hold_fraction=0.3)
    rate = LambdaLR(optimizer, lambda step: schedule.factor(step, num_steps))
    average = MovingAverage(model, 0.995)
    for step in range(num_steps):
        batch = stream.batch(step)
        terms = model.loss_terms(batch)
        loss = terms.nats if terms.minimised is None else terms.minimised
        optimizer.zero_grad(set_to_none=True)
        (loss.sum() / batch.tokens.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        average.update(model)
    model.load_state_dict({**model.state_dict(), **average.shadow})
    return model.eval()


def bits(model: LanguageModel, windows: WindowSequence, estimator: str = "auto") -> float:
    """Bits per base on the test windows."""
    return score_windows(model, windows, draws=DRAWS, estimator=estimator).bits().value


@torch.no_grad()
def pseudo_bits(model: MaskedDiffusionLM, windows: Sweep[SplitWindows], limit: int) -> float:
    """Bits per base with all other bases visible: no likelihood, since the terms do not chain."""
    nats, count = 0.0, 0
    for batch in windows.batches(1):
        if count >= limit * LENGTH:
            break
        places = batch.valid[0].nonzero().squeeze(1)
        xt = batch.tokens.repeat(len(places), 1)
        hidden = torch.arange(len(places))
        xt[hidden, places] = model.mask_id
        log_probs = model.denoise(xt)[hidden, places]
        nats -= log_probs.gather(-1, batch.tokens[0, places, None]).double().sum().item()
        count += len(places)
    return nats / count / math.log(2.0)


def mean_and_error(values: Sequence[float]) -> tuple[Cell, Cell]:
    """Mean over seeds and its standard error, which needs two seeds."""
    if not values:
        return None, None
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return statistics.fmean(values), error


def measure(
    row: Row,
    models: Sequence[MaskedDiffusionLM | CausalLM],
    windows_of_seed: Sequence[Sweep[SplitWindows]],
    first: Sequence[float],
) -> tuple[tuple[Cell, ...], list[float]]:
    """The cells of one row, and its own measure per seed.

    Args:
        row: what is measured.
        models: one per seed.
        windows_of_seed: windows and noise of each seed, the same in every row.
        first: own measure of the first row per seed, or empty.
    """
    own: list[float] = []
    shared: list[float] = []
    pseudo: list[float] = []
    for model, windows in zip(models, windows_of_seed, strict=True):
        if isinstance(model, CausalLM):
            own.append(bits(model, windows))
            continue
        trained = model.objective
        model.objective = row.evaluate_as or trained
        if not isinstance(trained, MaskedPrediction):
            own.append(bits(model, windows))
        model.objective = trained
        if not row.time_conditioning and row.evaluate_as is None:
            shared.append(bits(model, windows, "count"))
            pseudo.append(pseudo_bits(model, windows, limit=32))
    kind = "exact" if row.objective is None else "upper bound"
    differences = [ours - theirs for ours, theirs in zip(own, first, strict=False)]
    cells: tuple[Cell, ...] = (
        row.name,
        *mean_and_error(own),
        kind if own else None,
        *mean_and_error(differences),
        *mean_and_error(shared),
        mean_and_error(pseudo)[0],
        row.paper,
    )
    return cells, own


def result_table(
    rows: Sequence[Row],
    genome: OpenGenome,
    *,
    num_steps: int,
    num_seeds: int,
    num_windows: int,
    report: Callable[[str], object] = print,
) -> ResultTable:
    """Train and measure all rows."""
    seeds = range(1, num_seeds + 1)
    # the noise of the estimate differs between seeds, so that their spread includes it.
    windows = [genome.evaluation_windows("test", limit=num_windows, seed=seed) for seed in seeds]
    models: dict[tuple[Objective | None, bool], list[MaskedDiffusionLM | CausalLM]] = {}
    cells: list[tuple[Cell, ...]] = []
    first: list[float] = []
    for row in rows:
        if row.trained_as not in models:
            models[row.trained_as] = [train(row, genome, seed, num_steps) for seed in seeds]
        measured, own = measure(row, models[row.trained_as], windows, first)
        cells.append(measured)
        first = first or own
        report(f"{row.name}: {cells[-1][1:-1]}")
    return ResultTable(
        "quality-objectives",
        f"Objectives at small scale: {num_steps} steps of {BATCH_SIZE} x {LENGTH} bases",
        (
            "training objective",
            "bits per base, own measure",
            "+- (seeds)",
            "kind",
            "minus the first row",
            "+- (paired)",
            "bits per base, count bound",
            "+- (seeds)",
            "pseudo-likelihood, bits",
            "perplexity in the paper (data)",
        ),
        cells,
        (
            "small scale: a network of 0.1 M parameters, minutes of training, baker's yeast; the "
            "order of rows need not be that of long training",
            "last column: quoted from Sahoo et al. 2024 (tables 1, 2, 4, 6, 8, 11, 12), other "
            "data, networks and tokens: LM1B and OWT are text, HG38 is the human genome; "
            "not comparable in size with what was measured here",
            f"{num_seeds} seeds each, the same windows and noise keys in every row; standard error "
            "of the mean over seeds, in which windows and noise of the seed are included; they "
            "cancel in the paired difference",
            f"{len(windows[0])} windows of chrXVI, {DRAWS} draws each",
            "own measure: bound of the objective that was trained (T steps, score entropy), or the "
            "exact likelihood; count bound: the same network as a SUBS denoiser, bound with exact "
            "counts",
            "the pseudo-likelihood shows each base to the network with all others visible; it is "
            "no likelihood and bounds none",
        ),
    )


def main() -> None:
    """Train, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--only", default="", help="measure and print only rows whose name contains this"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    genome = GenomeData(
        fasta="embedded:yeast", length=LENGTH, valid=("chrXV",), test=("chrXVI",)
    ).open()
    table = result_table(
        [row for row in ROWS if arguments.only in row.name],
        genome,
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
