"""The parts of the recipe of the demo, each changed alone, at equal passes of the network.

    python -m benchmarks.quality.recipe [--steps 400] [--seeds 3] [--windows 1500] [--only NAME]
        [--runs FOLDER] [--smoke]

Every row trains `config=demo` with one change, on the same windows in the same order; complementary
masks have half as many windows per update, each of which is read twice. The density of the mask
rate is fitted to the deviations in the first run of the recipe as it is, on windows of chrXV. Rows
are compared on the same windows of chrXVI with the same noise. A folder of runs is resumed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality.objectives import mean_and_error
from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.evaluation.rates import Rate
from dnamdlm.evaluation.window_scores import WindowScores, score_windows

DRAWS = 4
DENSITY = "DENSITY"
BATCH_SIZE = 32


@dataclass(frozen=True)
class Change:
    """One row of the table.

    Attributes:
        name: as shown.
        folder: of its runs.
        settings: that differ from the recipe; STEPS / 5 is written as RAMP.
    """

    name: str
    folder: str
    settings: tuple[str, ...] = ()


CHANGES = (
    Change("as it is: shares from 0.1, power 2", "plain"),
    Change(
        "largest share from 0.3 to 1 over a fifth of the updates",
        "ramp",
        ("lm.objective.ramp_steps=RAMP", "lm.objective.ramp_from=0.3"),
    ),
    Change(
        "complementary masks of half as many windows",
        "complementary",
        ("lm.objective.complementary=true", f"trainer.global_batch_size={BATCH_SIZE // 2}"),
    ),
    Change(
        "density fitted to deviations",
        "density",
        ("lm.objective.power=1", f"lm.objective.density={DENSITY}"),
    ),
    Change("shares from 0.001", "nearly-clean", ("lm.objective.lowest=0.001",)),
    Change("AdamW, peak 0.003", "adamw", ("optimizer=adamw", "optimizer.learning_rate=0.003")),
)


def trained(change: Change, folder: Path, seed: int, steps: int, density: Sequence[float]) -> Path:
    """The run of a row and a seed, which is trained or resumed where it is not complete."""
    run = folder / f"{change.folder}-{seed}"
    values = {"RAMP": str(max(1, steps // 5)), DENSITY: f"[{','.join(map(str, density))}]"}
    settings = list(change.settings)
    for name, value in values.items():
        settings = [text.replace(f"={name}", f"={value}") for text in settings]
    arguments = [
        "config=demo", f"seed={seed}", f"run_dir={run}", f"trainer.max_steps={steps}",
        f"trainer.valid_every={steps}", "threads=1", *settings,
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "dnamdlm.train", *arguments], check=True)
    return run


def scored(run: Path, windows: int, split: str, seed: int) -> tuple[WindowScores, OpenGenome]:
    """Scores of a run on windows of a split, with noise that depends on the seed alone."""
    loaded = load_model(str(run))
    genome = genome_data(loaded, DataChanges()).open()
    assert isinstance(genome, OpenGenome)
    sweep = genome.evaluation_windows(split, limit=windows, seed=seed)
    model = loaded.language_model
    return score_windows(model, sweep, draws=DRAWS, batch_size=16), genome


def row_of(
    name: str, found: Sequence[WindowScores], first: Sequence[WindowScores]
) -> tuple[Cell, ...]:
    """Bits per base over seeds, and the paired difference to the first row with two errors."""
    bits = mean_and_error([scores.bits().value for scores in found])
    apart: list[Rate] = [ours.bits_above(theirs) for ours, theirs in zip(found, first, strict=True)]
    mean, over_seeds = mean_and_error([rate.value for rate in apart])
    over_windows = statistics.fmean(rate.standard_error for rate in apart)
    is_first = all(ours is theirs for ours, theirs in zip(found, first, strict=True))
    differences = (None,) * 3 if is_first else (mean, over_seeds, over_windows)
    return (name, *bits, *differences)


def measured(
    changes: Sequence[Change], folder: Path, *, steps: int, num_seeds: int, windows: int
) -> tuple[list[tuple[Cell, ...]], tuple[float, ...]]:
    """Rows of the table, and the fitted density."""
    seeds = range(1, num_seeds + 1)
    density: tuple[float, ...] = ()
    rows: list[tuple[Cell, ...]] = []
    first: list[WindowScores] = []
    for change in changes:
        if any(DENSITY in text for text in change.settings) and not density:
            plain = trained(CHANGES[0], folder, 1, steps, ())
            scores, _ = scored(plain, windows, "valid", seed=1)
            density = tuple(round(value, 3) for value in scores.best_mask_rates())
        runs = [trained(change, folder, seed, steps, density) for seed in seeds]
        found = [
            scored(run, windows, "test", seed)[0] for run, seed in zip(runs, seeds, strict=True)
        ]
        first = first or found
        rows.append(row_of(change.name, found, first))
        print(json.dumps(rows[-1]), flush=True)
    return rows, density


def main() -> None:
    """Train, measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=1500)
    parser.add_argument("--only", default="", help="the first row, and those with this in the name")
    parser.add_argument("--runs", type=Path, help="folder of the runs; none: a temporary one")
    parser.add_argument("--smoke", action="store_true", help="two updates each, print only")
    arguments = parser.parse_args()
    steps, windows, seeds = arguments.steps, arguments.windows, arguments.seeds
    if arguments.smoke:
        steps, windows, seeds = 2, 60, 2
    changes = [CHANGES[0], *(row for row in CHANGES[1:] if arguments.only in row.name)]
    with tempfile.TemporaryDirectory() as temporary:
        rows, density = measured(
            changes, arguments.runs or Path(temporary),
            steps=steps, num_seeds=seeds, windows=windows,
        )  # fmt: skip
    table = ResultTable(
        theme="quality-recipe",
        title=f"The recipe demo with one change each: {steps} updates",
        columns=(
            "recipe", "bits per base", "+- (seeds)", "minus the first row", "+- (seeds)",
            "+- (windows)",
        ),
        rows=rows,
        notes=(
            f"upper bounds on {windows} windows of chrXVI, {DRAWS} draws, {seeds} seeds; the same "
            "windows, order and noise in every row; nothing is selected",
            f"every update reads {BATCH_SIZE} rows of 256 bases",
            "density, relative to a uniform share of hidden bases, by tenth: "
            f"{', '.join(map(str, density)) or 'not fitted'}",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke or bool(arguments.only), threads=1)


if __name__ == "__main__":
    main()
