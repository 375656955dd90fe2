"""What pre-training is worth: backbone x objective x bases of genome at equal processor time.

    python -m benchmarks.quality.pretraining --table FILE.tsv.gz --column expression --length 150
        --genome FASTA --runs DIR [--minutes 1] [--shares 0.016 0.125 1] [--changes seed-2 ...]
        [--whole 150] [--start 0] [--log] [--place start_U00096.2] [--region 50000] [--no-sweep]
        [--smoke]

Each network is trained from nothing on a prefix of a genome for the same processor time, summed
over threads, so that a slower one takes fewer steps; a short trial measures how many. Its frozen
states are then read by ridge regression, which learns measured activities from all rows; the
strength is chosen on the validation rows, and the test rows are read once. The networks have about
100,000 parameters. The last twentieth of the genome is in no prefix, and the bound of its windows
says what was learned of the genome itself.

| group of rows | |
| --- | --- |
| sweep | every backbone with every objective that it can have, on every prefix |
| change | one thing changed in the network with convolutions, MDLM and the largest prefix |
| floor | random weights of each backbone, composition, words |

The note fits r = a + backbone + objective + slope x log2(bases) to the masked models of the sweep
by least squares; its errors are those of the residuals. With `--no-sweep` only the
network that is changed is trained of the sweep, nothing is fitted, and the table has its own name.
All runs are kept in `--runs`, and an interrupted command continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measured_rows import add_row_arguments, floors, read_parts, row_settings
from benchmarks.pretraining_runs import (
    BATCH,
    MASKED,
    Point,
    Work,
    bits_of,
    changes,
    sweep,
    unchanged,
)
from benchmarks.results_table import Cell, ResultTable, finish, mean_interval
from benchmarks.started import start
from benchmarks.trained import sha256_note


def row_of(point: Point, bases: int, found: dict[str, Any], cost: Sequence[Cell]) -> tuple:
    """A row of the table from the first split of one predictor."""
    test = found["test"]
    reach, other = (mean_interval([test["intervals"][key]]) for key in ("pearson", "spearman"))
    group = "change" if point.change else "sweep"
    label = f"{point.backbone}, {point.change}" if point.change else point.backbone
    return (
        group, label, point.objective, bases, *cost, test["figures"]["pearson"], reach,
        test["figures"]["spearman"], other,
    )  # fmt: skip


def measured(work: Work, points: Sequence[Point]) -> list[tuple[Cell, ...]]:
    """Rows of all points, and of random weights once for each backbone."""
    rows: list[tuple[Cell, ...]] = []
    random: list[tuple[Cell, ...]] = []
    seen: set[str] = set()
    for point in points:
        steps = work.steps(point)
        seconds = work.trained(work.folder / point.name, point, steps)
        baselines = [] if point.backbone in seen else ["random_weights"]
        seen.add(point.backbone)
        result = work.results(point, baselines)
        splits = {split["predictor"]: split for split in result["splits"]}
        bits = None
        if point.objective != "mlm" and not point.change.startswith("windows"):
            bits = bits_of(work.folder / point.name, work.held_windows(point.length))
        cost = (steps, steps * BATCH * point.length / 1e6, seconds, result["model_parameters"])
        bases = work.bases(point.share)
        rows.append(row_of(point, bases, splits["model"], (*cost, bits)))
        if baselines:
            none = (None, None, None, result["model_parameters"], None)
            found = row_of(replace(point, objective=""), 0, splits["random_weights"], none)
            random.append(("floor", f"{point.backbone}, random weights", *found[2:]))
        print(json.dumps(rows[-1]), flush=True)
    return rows + random


def fit(points: Sequence[Point], values: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Effects on r, by least squares, of the masked models of a sweep.

    Args:
        points: of the sweep; causal ones are left out.
        values: r of each.

    Returns:
        Effect -> value and standard error, from the residuals. Backbones are compared with the
        first, MLM with MDLM, and the slope is that of a doubling of the bases. What all points
        share, as with one prefix, has no effect.
    """
    chosen = [(p, v) for p, v in zip(points, values, strict=True) if p.backbone in MASKED]
    columns: dict[str, list[float]] = {
        "constant": [1.0 for _ in chosen],
        **{name: [float(p.backbone == name) for p, _ in chosen] for name in list(MASKED)[1:]},
        "mlm": [float(p.objective == "mlm") for p, _ in chosen],
        "a doubling of the bases": [float(np.log2(p.share)) for p, _ in chosen],
    }
    names = [name for name, of in columns.items() if name == "constant" or len(set(of)) > 1]
    matrix: NDArray[np.float64] = np.array([columns[name] for name in names], dtype=np.float64).T
    wanted: NDArray[np.float64] = np.array([value for _, value in chosen])
    effects, _, rank, _ = np.linalg.lstsq(matrix, wanted, rcond=None)
    assert rank == len(names)
    residuals = wanted - matrix @ effects
    freedom = len(wanted) - len(names)
    variance = float(residuals @ residuals) / freedom if freedom else np.nan
    errors = np.sqrt(variance * np.diag(np.linalg.inv(matrix.T @ matrix)))
    return {
        name: (float(effect), float(error))
        for name, effect, error in zip(names, effects, errors, strict=True)
    }


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="What pre-training is worth.")
    add_row_arguments(parser)
    parser.add_argument("--genome", required=True, type=Path, help="FASTA to train on")
    parser.add_argument("--runs", required=True, type=Path)
    parser.add_argument("--minutes", type=float, default=1.0, help="of the processor, per network")
    parser.add_argument("--shares", type=float, nargs="+", default=[1 / 64, 1 / 8, 1.0])
    names = [point.change.replace(" ", "-") for point in changes(1.0, 1.0, 100)]
    parser.add_argument("--changes", nargs="*", default=names, choices=names, help="default: all")
    parser.add_argument("--no-sweep", action="store_true", help="the changes and what they change")
    parser.add_argument("--smoke", action="store_true", help="two networks of seconds, print only")
    return parser.parse_args()


def main() -> None:
    """Train, read, fit, print and store."""
    arguments = parsed()
    if arguments.smoke:
        arguments.minutes = 0.02
    parts = read_parts(arguments.table, row_settings(arguments))
    stem = arguments.table.name.split(".")[0]
    work = Work(arguments.runs / stem, arguments.genome, parts)
    points = sweep(arguments.shares, arguments.minutes, arguments.length)
    others = [
        point
        for point in changes(max(arguments.shares), arguments.minutes, arguments.length)
        if point.change.replace(" ", "-") in arguments.changes
    ]
    if arguments.no_sweep:
        points = [unchanged(max(arguments.shares), arguments.minutes, arguments.length)]
    if arguments.smoke:
        points, others = points[:1], others[:1]
    rows = measured(work, [*points, *others])
    effects = {}
    if not arguments.smoke and not arguments.no_sweep:
        effects = fit(points, [float(str(row[9])) for row in rows[: len(points)]])
    for floor in floors(parts):
        pearson, spearman = floor.figures["pearson"], floor.figures["spearman"]
        reach, other = floor.intervals["pearson"], floor.intervals["spearman"]
        none = [None] * 5
        rows.append(("floor", floor.name, "", 0, *none, pearson, reach, spearman, other))
    table = ResultTable(
        f"quality-pretraining-{stem.replace('_', '-')}" + "-changes" * arguments.no_sweep,
        f"What pre-training is worth: {arguments.table.name} from frozen states",
        ("group", "network", "objective", "bases of genome", "steps", "million bases read",
         "processor seconds", "parameters", "bits per base, held out", "Pearson r",
         "95 % interval (rows)", "Spearman", "95 % interval of Spearman (rows)"),
        rows,
        (
            f"rows: train {len(parts.train):,}, validation {len(parts.valid):,}, test "
            f"{len(parts.test):,}; left out: {parts.left_out}",
            f"{arguments.minutes:g} minutes of the processor for the steps of each network; the "
            "processor seconds of the table have its start, about 10 s, and one validation",
            *["fit of r to the masked models of the sweep: "
              + "; ".join(f"{name} {value:+.4f} +- {error:.4f}" for name, (value, error) in
                          effects.items())] * bool(effects),
            sha256_note(arguments.table),
            sha256_note(arguments.genome),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    start(main)
