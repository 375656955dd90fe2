"""Measured activities predicted from pre-trained and random weights, beside words and a CNN.

    python -m benchmarks.quality.activity --table FILE.tsv.gz --column expression --length 150
        --genome FASTA --runs DIR [--whole 150] [--start 0] [--log] [--place start_U00096.2]
        [--region 50000] [--steps 600] [--rows 100 1000 all] [--methods probe lora full probe-full]
        [--objectives mdlm mlm ar] [--seeds 2] [--name NAME] [--smoke]

One small transformer is trained on a genome with each objective, on the same windows, and then
learns the activities as a probe of frozen states, by low-rank adapters, with all its weights, or
with all its weights from a head that begins as the probe, from few and from all rows. The table is
divided into train, validation and test by regions of the genome where it has places, and near
copies between the parts are left out. The epoch, the strength of a probe and that of the ridge
regression on words are chosen on the validation rows; the test rows are read once. Every run stays
in `--runs`, and an interrupted command continues.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measured_rows import (
    Parts,
    add_row_arguments,
    floors,
    read_parts,
    row_settings,
    write_parts,
)
from benchmarks.paired_predictions import lead
from benchmarks.results_table import Cell, ResultTable, finish, mean_interval
from benchmarks.started import completed, start
from benchmarks.trained import model_note, sha256_note
from dnamdlm.assembly.models import load_model

ALL = "all"
_SPLITS = "splits"
_FIGURES = ("pearson", "spearman", "r2")
_NETWORK = ("backbone.hidden_size=64", "backbone.num_blocks=3", "backbone.mlp_ratio=2")
# short convolutions, which the transformer that reads from left to right has not.
_CONVOLUTIONS = ("backbone=dit", "backbone.num_heads=2", "backbone.conv_width=9")
_OBJECTIVES = {
    "mdlm": ("lm=mdlm_count", "lm.objective.lowest=0.1", *_CONVOLUTIONS),
    "mlm": ("lm=mlm", *_CONVOLUTIONS),
    "ar": ("lm=ar", "backbone=ar", "backbone.num_heads=2"),
}
_METHODS = {
    "probe": ("method=probe", "probe=ridge"),
    "lora": ("method=lora",),
    "full": ("method=full",),
    "probe-full": ("method=full", "head=probe", "probe=ridge"),
}
_FEW_ROWS, _SMALL_BATCH, _BATCH = 1000, 16, 64


@dataclass(frozen=True)
class Point:
    """One fit of the table: weights of an objective, a method, and how many rows it learns from."""

    objective: str
    method: str
    rows: str


class Work:
    """The runs of one table, each done when it is wanted and then kept."""

    def __init__(self, arguments: argparse.Namespace, parts: Parts) -> None:
        self.arguments = arguments
        self.length = len(parts.train.texts[0])
        self.folder: Path = arguments.runs / arguments.table.name.split(".")[0]
        write_parts(self.folder, parts)

    def pretrained(self, objective: str) -> Path:
        """The run of an objective on the genome."""
        run, steps = self.folder / f"pretrained-{objective}", self.arguments.steps
        completed(
            run, "train", "config=tiny", *_OBJECTIVES[objective], *_NETWORK,
            f"data.fasta={self.arguments.genome}", "data.annotation=null", "data.valid=null",
            "data.test=null", f"data.length={self.length}", "optimizer.learning_rate=0.003",
            "learning_rate.warmup_steps=50", "learning_rate.hold_fraction=0.3",
            f"trainer.max_steps={steps}", f"trainer.valid_every={steps}", "trainer.log_every=50",
            "trainer.checkpoint_every=200", "trainer.valid_windows=256",
            "trainer.global_batch_size=32", "trainer.averaging_decay=0.99", "seed=1", "threads=1",
        )  # fmt: skip
        return run

    def run_of(self, point: Point) -> Path:
        """The folder of a fit."""
        return self.folder / "-".join((point.objective, point.method, point.rows))

    def results(self, point: Point, baselines: Sequence[str]) -> dict[str, Any]:
        """What `finetune` found for a point."""
        few = point.rows != ALL and int(point.rows) <= _FEW_ROWS
        run = self.run_of(point)
        settings = [
            "config=table", f"model={self.pretrained(point.objective)}",
            *(f"data.{name}={self.folder / name}.tsv" for name in ("train", "valid", "test")),
            "data.label_column=activity", "data.kind=regression", "data.metric=pearson",
            *_METHODS[point.method], f"seeds={self.arguments.seeds}", "threads=1",
            f"training.epochs={self.arguments.epochs}", "training.learning_rate=0.002",
            f"training.batch_size={_SMALL_BATCH if few else _BATCH}",
            f"baselines=[{','.join(baselines)}]",
        ]  # fmt: skip
        settings += [f"shots={point.rows}"] * (point.rows != ALL)
        completed(run, "finetune", *settings)
        return json.loads((run / "results.json").read_text(encoding="utf-8"))


def row_of(name: str, point: Point, result: dict[str, Any]) -> tuple[Cell, ...]:
    """The row of one predictor: means over seeds, and the spread and intervals of correlations."""
    own = [split for split in result["splits"] if split["predictor"] == name]
    found = {key: [split["test"]["figures"][key] for split in own] for key in _FIGURES}
    spread = statistics.stdev(found["pearson"]) if len(own) > 1 else None
    weights = {"model": f"{point.objective}, genome", "random_weights": "random"}.get(name)
    pearson, spearman, r2 = (statistics.mean(found[key]) for key in _FIGURES)
    reaches = {
        key: mean_interval([split["test"]["intervals"][key] for split in own])
        for key in ("pearson", "spearman")
    }
    return (
        point.rows, weights or name, point.method if weights else "", pearson, spread,
        reaches["pearson"], spearman, reaches["spearman"], r2,
        statistics.mean(split["seconds"] for split in own),
    )  # fmt: skip


def measured(work: Work) -> list[tuple[Cell, ...]]:
    """Rows of the table; random weights once for each method, words and the CNN once."""
    arguments = work.arguments
    rows: list[tuple[Cell, ...]] = []
    for count, method, objective in itertools.product(
        arguments.rows, arguments.methods, arguments.objectives
    ):
        baselines: list[str] = []
        if objective == arguments.objectives[0]:
            baselines.append("random_weights")
            if method == arguments.methods[0]:
                baselines += ["kmer", "cnn"]
        point = Point(objective, method, count)
        result = work.results(point, baselines)
        rows += [row_of(name, point, result) for name in result["summary"]]
        print(json.dumps(rows[-1 - len(baselines) :]), flush=True)
    return rows


def lead_notes(work: Work) -> list[str]:
    """How far the fits of all weights to all rows are ahead of words, on the same test rows."""
    arguments = work.arguments
    if ALL not in arguments.rows or "full" not in arguments.methods:
        return []
    words = work.run_of(Point(arguments.objectives[0], arguments.methods[0], ALL))
    found = []
    for objective in arguments.objectives:
        fitted = work.run_of(Point(objective, "full", ALL))
        ahead = lead(fitted / _SPLITS / "model_seed_1", words / _SPLITS / "kmer_seed_1", "activity")
        found.append(f"{objective} {ahead.value:+.3f} ({ahead.low:+.3f} to {ahead.high:+.3f})")
    return [f"r of all weights less r of kmer, first seed, paired over rows: {', '.join(found)}"]


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="Activities predicted from pre-trained weights.")
    add_row_arguments(parser)
    parser.add_argument("--genome", required=True, help="FASTA that is pre-trained on")
    parser.add_argument("--runs", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", nargs="+", default=["100", "1000", ALL])
    parser.add_argument("--methods", nargs="+", default=list(_METHODS), choices=_METHODS)
    parser.add_argument("--objectives", nargs="+", default=list(_OBJECTIVES), choices=_OBJECTIVES)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--name", help="of the table, after that of the file")
    parser.add_argument("--smoke", action="store_true", help="few rows and steps, print only")
    return parser.parse_args()


def main() -> None:
    """Train, fit, print and store."""
    arguments = parsed()
    if arguments.smoke:
        arguments.steps, arguments.epochs, arguments.seeds = 4, 1, 1
        arguments.rows, arguments.methods = ["100"], arguments.methods[:2]
    parts = read_parts(arguments.table, row_settings(arguments))
    work = Work(arguments, parts)
    rows = measured(work)
    for floor in floors(parts):
        pearson, spearman, r2 = (floor.figures[key] for key in _FIGURES)
        reach, other = (floor.intervals[key] for key in ("pearson", "spearman"))
        rows.append((ALL, floor.name, "", pearson, None, reach, spearman, other, r2, None))
    stem = arguments.table.name.split(".")[0]
    models = [load_model(str(work.pretrained(name))) for name in arguments.objectives]
    table = ResultTable(
        "-".join(filter(None, ("quality-activity", stem.replace("_", "-"), arguments.name))),
        f"Activities predicted: {arguments.table.name}, {arguments.seeds} seed"
        + "s" * (arguments.seeds > 1),
        (
            "rows learned from", "weights", "method", "Pearson r", "+- (seeds)",
            "mean of the 95 % intervals of rows", "Spearman",
            "mean of the 95 % intervals of Spearman", "R2", "seconds per seed",
        ),
        rows,
        (
            f"rows: train {len(parts.train):,}, validation {len(parts.valid):,}, test "
            f"{len(parts.test):,}; left out: {parts.left_out}",
            f"pre-trained for {arguments.steps} updates of 32 windows of {work.length} bases of "
            f"{Path(arguments.genome).name}; fine-tuned for {arguments.epochs} epochs with the "
            "learning rate 0.002, the epoch chosen on the validation rows",
            "kmer: ridge regression on shares of words of six bases; composition: the same on "
            "shares of bases; words: on those of the length that the validation rows choose; cnn: "
            "a small convolutional network without pre-training; random: the network of the first "
            "objective with random weights",
            *lead_notes(work),
            sha256_note(arguments.table),
            sha256_note(Path(arguments.genome)),
            *(f"{name}, {model_note(model)}" for name, model in
              zip(arguments.objectives, models, strict=True)),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    start(main)
