"""Noise of the gradient for several ways to hide bases, at equal passes of the network.

    python -m benchmarks.quality.gradient_noise --model RUN [--updates 96] [--smoke]

The weights of a trained run of a genome are kept, and the gradients of many updates are taken on
windows of its training, the same for every row. All rows have the same mean gradient: that of the
bound without shares of hidden bases below a tenth. What differs is the variance, summed over the
weights; complementary masks have half as many windows, each of which is read twice.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.quality.objectives import mean_and_error
from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.evaluation.window_scores import score_windows
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount

ROWS = 32
LOWEST = 0.1
GROUPS = 8
FITTED_ON, DRAWS = 512, 4


@dataclass(frozen=True)
class Way:
    """One row: a name, the objective, and windows per update."""

    name: str
    objective: ExactCount
    windows: int = ROWS


def ways(density: tuple[float, ...]) -> list[Way]:
    """The rows, the recipe of the demo first."""
    pairs = ROWS // 2
    found = [
        Way("power 2, as in the recipe demo", ExactCount(2.0, LOWEST)),
        Way("power 1, equally likely counts", ExactCount(1.0, LOWEST)),
        Way("power 2, complementary", ExactCount(2.0, LOWEST, complementary=True), pairs),
        Way("power 1, complementary", ExactCount(1.0, LOWEST, complementary=True), pairs),
    ]
    if density:
        fitted = ExactCount(1.0, LOWEST, density=density)
        found.insert(2, Way("density fitted to deviations", fitted))
    return found


def gradient(model: MaskedDiffusionLM, genome: OpenGenome, way: Way, update: int) -> Tensor:
    """The gradient of one update per base, as one vector."""
    batch = genome.training_stream(1, way.windows).batch(update)
    model.objective = way.objective
    nats = model.loss_terms(batch).nats
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    parts = torch.autograd.grad(nats.sum() / batch.tokens.numel(), weights, allow_unused=True)
    return nn.utils.parameters_to_vector([part for part in parts if part is not None]).double()


def variances(
    model: MaskedDiffusionLM, genome: OpenGenome, way: Way, updates: int
) -> tuple[list[float], Tensor]:
    """The summed variance of the gradient in each of some groups of updates, and its mean."""
    size = updates // GROUPS
    found: list[float] = []
    total = torch.zeros(())
    for group in range(GROUPS):
        vectors = torch.stack(
            [gradient(model, genome, way, group * size + number) for number in range(size)]
        )
        found.append(float(vectors.var(dim=0).sum()))
        total = total + vectors.sum(dim=0)
    return found, total / (size * GROUPS)


def rows_of(found: Sequence[tuple[Way, list[float], Tensor]]) -> list[tuple[Cell, ...]]:
    """Variances in units of the squared mean gradient, and their ratios to the first row."""
    (_, first, mean), *_ = found
    unit = float(mean.square().sum())
    rows: list[tuple[Cell, ...]] = []
    for way, each, own in found:
        logs = [math.log(ours / theirs) for ours, theirs in zip(each, first, strict=True)]
        ratio, error = mean_and_error(logs)
        assert isinstance(ratio, float)
        angle = float(nn.functional.cosine_similarity(own, mean, dim=0))
        cells = (None, None) if each is first else (math.exp(ratio), error)
        rows.append((way.name, mean_and_error(each)[0] / unit, *cells, angle))  # type: ignore[operator]
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help="run folder of a genome, lm=mdlm_count")
    parser.add_argument("--updates", type=int, default=96)
    parser.add_argument("--smoke", action="store_true", help="few updates, print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(arguments.model)
    genome = genome_data(loaded, DataChanges()).open()
    model = loaded.language_model
    assert isinstance(model, MaskedDiffusionLM)
    assert isinstance(genome, OpenGenome)
    updates, windows = (2 * GROUPS, 64) if arguments.smoke else (arguments.updates, FITTED_ON)
    sweep = genome.evaluation_windows("valid", limit=windows)
    density = score_windows(model, sweep, draws=DRAWS, batch_size=16).best_mask_rates()
    density = tuple(round(value, 3) for value in density)
    rows = rows_of([(way, *variances(model, genome, way, updates)) for way in ways(density)])
    table = ResultTable(
        theme="quality-gradient-noise",
        title="Noise of the gradient by the way that bases are hidden",
        columns=(
            "way", "variance / squared mean gradient", "ratio to the first row", "+- of its log",
            "cosine of the mean gradients",
        ),
        rows=rows,
        notes=(
            f"{Path(arguments.model).name}, weights kept; {updates} updates of {ROWS} rows read, "
            f"errors from {GROUPS} groups of them",
            "every row has the same expected gradient; the cosine is below 1 by the noise of both",
            "density, relative to a uniform share of hidden bases, by tenth: "
            f"{', '.join(map(str, density)) or 'not fitted'}",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
