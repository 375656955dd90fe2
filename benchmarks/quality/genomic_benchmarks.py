"""Prediction tasks x seeds x a small sweep, compared with baselines, in one table.

    python -m benchmarks.quality.genomic_benchmarks --model RUN --out DIR
        [--config genomic_benchmarks] [--set data.folder=DIR ...] [--tasks A B]
        [--methods full probe] [--sweep training.learning_rate=0.001,0.002 ...] [--seeds 5]
        [--name NAME] [--smoke]

Each task, method and point of the sweep is one run of `dnamdlm.finetune` in DIR, resumed where
it stopped. The point of the sweep is chosen per task, method and weights (those of the model, or
random ones) by the mean of the validation figure; the test figure of that point is shown, and the
area under the ROC curve of the test rows without a copy in train. Chance has an area of one half,
also where the copies leave classes of different sizes. The other baselines are run once, at the
first point. Promoters of GUE have rows of their own for the areas that were published for
classifiers on frozen embeddings of larger models. With `{task}` in a setting the name of the task
is put there, such as data.train=tables/{task}/train.csv.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from benchmarks.results_table import Cell, ResultTable, finish, mean_interval
from benchmarks.trained import model_note
from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.finetune.finetuning import finetune
from dnamdlm.assembly.models import load_model
from dnamdlm.command_line import config_folder
from dnamdlm.data.tasks.genomic_benchmarks import SUITE

# areas under the ROC curve; Nature Communications 2025, doi 10.1038/s41467-025-65823-8
PUBLISHED = {
    "prom_core_tata": {"Caduceus-PH": 0.810, "NT-v2": 0.795, "DNABERT-2": 0.778},
    "prom_core_notata": {"Caduceus-PH": 0.896, "NT-v2": 0.873, "DNABERT-2": 0.853},
}


def settings_of(config: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The composed tree of `dnamdlm.finetune`."""
    folder = str(config_folder("finetune"))
    with hydra.initialize_config_dir(version_base="1.3", config_dir=folder):
        composed = hydra.compose("finetune", overrides=[f"config={config}", *overrides])
    tree = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def sweep_points(sweeps: Sequence[str]) -> list[list[str]]:
    """All combinations of `key=a,b` as lists of overrides."""
    choices = []
    for sweep in sweeps:
        key, _, values = sweep.partition("=")
        choices.append([f"{key}={value}" for value in values.split(",")])
    return [list(point) for point in itertools.product(*choices)]


def run_folder(arguments: argparse.Namespace, task: str, method: str, point: Sequence[str]) -> Path:
    """The folder of one run."""
    return Path(arguments.out) / task / ",".join([method, *point])


def wants_random(settings: Sequence[str]) -> bool:
    """Whether the settings of the user leave random weights among the baselines."""
    given = [text for text in settings if text.startswith("baselines=")]
    return not given or "random_weights" in given[-1]


def run_points(
    task: str, method: str, arguments: argparse.Namespace, points: list[list[str]]
) -> list[dict[str, Any]]:
    """Results of every point for one task and method; words and the CNN with the first of all."""
    results = []
    for index, point in enumerate(points):
        run_dir = run_folder(arguments, task, method, point)
        own = [setting.replace("{task}", task) for setting in arguments.set]
        overrides = [
            f"model={arguments.model}", f"task={task}", f"method={method}",
            f"run_dir='{run_dir}'", f"seeds={arguments.seeds}", *own, *point,
        ]  # fmt: skip
        if index or method != arguments.methods[0]:
            overrides.append(f"baselines=[{'random_weights' * wants_random(own)}]")
        path, headline = finetune(
            read_settings(FinetuneEntry, settings_of(arguments.config, overrides))
        )
        print(f"{', '.join([method, *point])}: {headline}")
        results.append(json.loads(path.read_text(encoding="utf-8")))
    return results


def rows_of(
    task: str, results: list[dict[str, Any]], points: list[list[str]]
) -> list[tuple[Cell, ...]]:
    """One row per predictor of a task and method; points are chosen by validation alone."""
    metric = results[0]["metric"]

    def valid(result: dict[str, Any], name: str) -> float:
        own = [split for split in result["splits"] if split["predictor"] == name]
        return statistics.mean(split["valid"][metric] or 0.0 for split in own)

    sign = -1.0 if metric == "mse" else 1.0
    rows: list[tuple[Cell, ...]] = []
    for name in results[0]["summary"]:
        trained = name in ("model", "random_weights")
        tried = range(len(points) if trained else 1)
        chosen = max(tried, key=lambda index: sign * valid(results[index], name))
        result = results[chosen]
        whole, clean = (result["summary"][name][part] for part in ("test", "test_without_leaks"))
        splits = [split for split in result["splits"] if split["predictor"] == name]
        seconds = statistics.mean(split["seconds"] for split in splits)
        reaches = [split["test_without_leaks"]["intervals"].get("auroc") for split in splits]
        rows.append(
            (
                task,
                name,
                result["method"] if trained else "",
                ", ".join(points[chosen]) if trained else "",
                metric,
                whole[metric]["mean"],
                whole[metric]["max_minus_min"],
                clean[metric]["mean"],
                clean["auroc"]["mean"] if "auroc" in clean else None,
                mean_interval(reaches) if None not in reaches else None,
                result["leaks"]["any"],
                result["leaks"]["rows"],
                seconds,
                None,
            )
        )
    return rows


def published_rows(task: str) -> list[tuple[Cell, ...]]:
    """Areas under the ROC curve that others published for a task, for a label of their own."""
    return [
        (task, name, "published", *[None] * 10, area)
        for name, area in PUBLISHED.get(task, {}).items()
    ]


def main() -> None:
    """Run, print and store."""
    parser = argparse.ArgumentParser(description="Prediction tasks compared with baselines.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--out", required=True, help="folder of the runs")
    parser.add_argument("--config", default="genomic_benchmarks", help="recipe of finetune")
    parser.add_argument("--tasks", nargs="+", default=list(SUITE))
    parser.add_argument("--set", nargs="*", default=[], help="settings of finetune")
    parser.add_argument("--methods", nargs="+", default=["full"], help="full, lora or probe")
    parser.add_argument("--name", help="of the table; the recipe if not given")
    parser.add_argument("--sweep", nargs="*", default=[], help="key=a,b; tried in all combinations")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    arguments = parser.parse_args()
    points = sweep_points(arguments.sweep)
    rows: list[tuple[Cell, ...]] = []
    details: dict[str, Any] = {}
    hashes: dict[str, str] = {}
    for task in arguments.tasks:
        for method in arguments.methods:
            results = run_points(task, method, arguments, points)
            rows += rows_of(task, results, points)
            details = results[0]
            run_dir = run_folder(arguments, task, method, points[0])
            recorded = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
            hashes[task] = recorded["data"]["fingerprint"][:16]
        rows += published_rows(task)
    table = ResultTable(
        theme=f"quality-{(arguments.name or arguments.config).replace('_', '-')}",
        title=f"Prediction tasks, {arguments.seeds} seed{'s' * (arguments.seeds > 1)}",
        columns=("task", "predictor", "method", "chosen", "metric", "test", "max - min",
                 "test without leaked rows", "AUROC without leaked rows",
                 "mean of the 95 % intervals of rows", "leaked rows", "test rows",
                 "seconds per seed", "published AUROC, all test rows"),
        rows=rows,
        notes=(
            model_note(load_model(arguments.model)),
            f"strand {details['strand']}, pooling {details['windows']['pooling']}; SHA-256 of rows "
            "and labels: " + ", ".join(f"{task} {digest}" for task, digest in hashes.items()),
            "probe: a regression on frozen states; full: all weights, "
            f"{details['training']['epochs']} epochs of batches of "
            f"{details['training']['batch_size']} at the learning rate "
            f"{details['training']['learning_rate']}, unless `chosen` says otherwise",
            "mean over seeds; `chosen`: the point of the sweep, by the mean of validation rows",
            "leaked rows are test rows with an exact, reverse-complement or near copy in train",
            *["published: a classifier on frozen embeddings, averaged over positions, of models of "
              "other authors (doi 10.1038/s41467-025-65823-8), not run here"]
            * any(row[2] == "published" for row in rows),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
