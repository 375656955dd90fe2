"""The results of a fine-tuning run: `results.json`, `results.tsv` and a line per predictor."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.finetune.predictors import Fit
from dnamdlm.data.files import write_text
from dnamdlm.data.tasks.labelled import LabelledTask
from dnamdlm.data.tasks.leaks import Leaks
from dnamdlm.evaluation.tasks.prediction_metrics import (
    METRICS,
    confusion,
    figure_intervals,
    figures,
    reliability,
    summary,
)

RESULTS_JSON, RESULTS_TSV = "results.json", "results.tsv"
FORMAT, FORMAT_VERSION = "dnamdlm.finetune", 1
_SETS = ("test", "test_without_leaks")


def split_figures(
    task: LabelledTask, fit: Fit, leaks: Leaks, settings: FinetuneEntry
) -> dict[str, Any]:
    """Figures of one predictor on one split, with intervals, on all test rows and on clean ones."""
    result: dict[str, Any] = {"valid": dict(fit.valid), **fit.details}
    for name, rows in (("test", leaks.any | True), ("test_without_leaks", ~leaks.any)):
        targets, outputs = task.test.targets[rows], fit.outputs[rows]
        result[name] = {
            "rows": int(rows.sum()),
            "figures": figures(task.kind, targets, outputs),
            "intervals": figure_intervals(
                task.kind, targets, outputs, repeats=settings.bootstrap, seed=settings.seed
            ),
        }
    if task.kind == "classes":
        result["confusion"] = confusion(task.test.targets, fit.outputs).tolist()
        result["reliability"] = reliability(task.test.targets, fit.outputs)
    return result


def write_results(
    run_dir: Path, description: Mapping[str, Any], splits: Sequence[Mapping[str, Any]]
) -> tuple[Path, str]:
    """Write both files.

    Args:
        run_dir: the run folder.
        description: what was done, see `dnamdlm.assembly.finetune.finetuning`.
        splits: results of all predictors on all splits.

    Returns:
        The JSON file, and a headline per predictor.
    """
    metrics = METRICS[description["kind"]]
    names = list(dict.fromkeys(split["predictor"] for split in splits))
    summaries: dict[str, Any] = {}
    for name in names:
        own = [split for split in splits if split["predictor"] == name]
        summaries[name] = {
            part: {
                metric: summary({split["seed"]: _figure(split, part, metric) for split in own})
                for metric in metrics
            }
            for part in _SETS
        }
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **description,
        "summary": summaries,
        "splits": list(splits),
    }
    path = run_dir / RESULTS_JSON
    write_text(path, json.dumps(finite(content), indent=1, allow_nan=False) + "\n")
    write_text(run_dir / RESULTS_TSV, _table(metrics, splits))
    return path, headline(description, summaries, splits)


def finite(value: Any) -> Any:
    """The same JSON value with null in place of numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _figure(split: Mapping[str, Any], part: str, metric: str) -> float:
    value = split[part]["figures"][metric]
    return math.nan if value is None else value


def _table(metrics: Sequence[str], splits: Sequence[Mapping[str, Any]]) -> str:
    """One line per predictor, seed, set and metric."""
    lines = ["predictor\tseed\tset\trows\tmetric\tvalue\tlow\thigh"]
    for split in splits:
        for part in _SETS:
            for metric in metrics:
                low, high = split[part]["intervals"].get(metric, (math.nan, math.nan))
                cells = [split["predictor"], split["seed"], part, split[part]["rows"], metric]
                numbers = [_figure(split, part, metric), low, high]
                lines.append("\t".join([*map(str, cells), *map(_shown, numbers)]))
    return "\n".join(lines) + "\n"


def _shown(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def headline(
    description: Mapping[str, Any],
    summaries: Mapping[str, Any],
    splits: Sequence[Mapping[str, Any]],
) -> str:
    """A line per predictor: one split with its interval, or the mean and range of several."""
    metric = description["metric"]
    count = len({split["seed"] for split in splits})
    how = f"mean of {count} splits, and the smallest and largest"
    if count == 1:
        has_interval = splits[0]["test"]["intervals"].get(metric) is not None
        how = "one split" + ", with the 95 % interval of the test rows" * has_interval
    lines = [f"{description['task']}, test {metric} ({how}):"]
    leaks = description["leaks"]["any"]
    for name, parts in summaries.items():
        own = [split for split in splits if split["predictor"] == name]
        label = f"{name} ({description['method']})" if name in ("model", "random_weights") else name
        line = f"  {label}: {_with_range(parts, own, 'test', metric)}"
        if leaks:
            line += f"; without leaked rows {_with_range(parts, own, _SETS[1], metric)}"
        lines.append(line)
    return "\n".join(lines)


def _with_range(
    parts: Mapping[str, Any], splits: Sequence[Mapping[str, Any]], part: str, metric: str
) -> str:
    mean = parts[part][metric]["mean"]
    if math.isnan(mean):
        return "not defined"
    if len(splits) > 1:
        values = [_figure(split, part, metric) for split in splits]
        return f"{mean:.4f} [{min(values):.4f}, {max(values):.4f}]"
    found = splits[0][part]["intervals"].get(metric)
    return f"{mean:.4f}" if found is None else f"{mean:.4f} [{found[0]:.4f}, {found[1]:.4f}]"
