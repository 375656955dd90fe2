"""Pages other than reports of training runs: samples, fine-tuned predictors, and tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnamdlm.data.files import make_folder, text_file, write_together
from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import DataError
from dnamdlm.evaluation.evaluation_files import read_evaluation
from dnamdlm.reporting.browser_section import browser_content
from dnamdlm.reporting.drawing import Drawing, drawing_files, inline
from dnamdlm.reporting.prediction_figures import (
    confusion_figure,
    numbers_figure,
    reliability_figure,
)
from dnamdlm.reporting.quality_section import quality_content, quality_drawings, quality_files
from dnamdlm.reporting.run_report import environment
from dnamdlm.reporting.tables import flat

_RESULTS = "results.json"
_DRAWINGS = ("confusion", "reliability", "numbers")


def tracks_page(record: Mapping[str, Any]) -> str:
    """A page with a genome browser.

    Args:
        record: see `dnamdlm.evaluation.likelihood.browser_record`.
    """
    template = environment().get_template("browser.html.j2")
    return template.render(browser=browser_content(record), label=record["label"])


def write_samples_report(path: Path) -> Path:
    """Write the page of an evaluation file with a section "quality", and a folder of its figures.

    Raises:
        DataError: if the file is damaged or has no such section.
    """
    content = read_evaluation(path)
    quality = content.get("quality")
    if quality is None and "text" in content:
        raise DataError(
            f"{path} is an evaluation of a model of text, which the report of its run shows; give "
            "run_dir=RUN"
        )
    if quality is None:
        raise DataError(f"{path} compares no samples; run dnamdlm.judge with samples=FILE.fa first")
    drawings = {drawing.name: drawing for drawing in quality_drawings(quality)}
    folder = path.with_name(f"{path.stem}_data")
    texts = {folder / name: text_file(text) for name, text in quality_files(quality).items()}
    page = (
        environment()
        .get_template("samples.html.j2")
        .render(
            title=path.stem,
            quality=quality_content(quality, drawings),
            facts=list(flat(content.get("provenance", {}))),
            folder=folder.name,
        )
    )
    target = path.with_suffix(".html")
    make_folder(folder)
    write_together(texts | drawing_files(drawings.values(), folder) | {target: text_file(page)})
    return target


def is_finetuning(run_dir: Path) -> bool:
    """Whether a folder holds results of `dnamdlm.finetune`."""
    return (run_dir / _RESULTS).is_file()


def write_finetune_report(run_dir: Path) -> Path:
    """Write report.html and report_data/ of a fine-tuning run.

    Raises:
        DataError: if the results are damaged.
    """
    path = run_dir / _RESULTS
    try:
        results = read_json_file(path)
        splits, summary, names = results["splits"], results["summary"], results["label_names"]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as results of finetune ({error})") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not readable as results of finetune; run it again") from error
    drawings = finetune_drawings(splits, names) | _drawings_of_numbers(run_dir, results)
    folder = run_dir / "report_data"
    metrics = list(next(iter(summary.values()))["test"])
    num_splits, leaks = len({split["seed"] for split in splits}), results["leaks"]["any"]
    page = (
        environment()
        .get_template("finetune.html.j2")
        .render(
            title=f"{results['task']}, {run_dir.resolve().name}",
            task=results["task"],
            # without a part of its own, validation takes rows of train, others in each split.
            rows=", ".join(
                f"{count:,} {part} rows"
                for part, count in results["rows"].items()
                if count is not None
            ),
            num_splits=num_splits,
            metrics=metrics,
            table=[
                _row(name, parts, metrics, [s for s in splits if s["predictor"] == name], leaks)
                for name, parts in summary.items()
            ],
            leaks=leaks,
            drawings={name: inline(drawing) for name, drawing in drawings.items()}
            | {
                name: None
                for name in ("confusion", "reliability", "numbers")
                if name not in drawings
            },
            facts=[
                item
                for key in ("model", "model_sha256", "method", "strand", "windows", "training")
                for item in flat({key: results.get(key)})
            ],
            folder=folder.name,
        )
    )
    target = run_dir / "report.html"
    make_folder(folder)
    write_together(drawing_files(drawings.values(), folder) | {target: text_file(page)})
    return target


def finetune_drawings(
    splits: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Drawing]:
    """Confusion matrices and reliability curves, where the task has classes."""
    by_predictor: dict[str, list[Mapping[str, Any]]] = {}
    for split in splits:
        by_predictor.setdefault(_label(split["predictor"]), []).append(split)
    matrices = {
        label: np.sum([split["confusion"] for split in own], axis=0).tolist()
        for label, own in by_predictor.items()
        if all("confusion" in split for split in own)
    }
    curves = {
        label: _joined([split["reliability"] for split in own])
        for label, own in by_predictor.items()
        if all("reliability" in split for split in own)
    }
    drawings = {}
    if matrices:
        drawings["confusion"] = confusion_figure(matrices, names)
    if curves:
        drawings["reliability"] = reliability_figure(curves)
    return drawings


def _joined(curves: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The bins of several splits together."""
    joined = []
    for bins in zip(*curves, strict=True):
        count = sum(item["count"] for item in bins)
        used = [item for item in bins if item["count"]]
        joined.append(
            {"count": count}
            | {
                name: sum(item["count"] * item[name] for item in used) / count
                for name in ("confidence", "accuracy")
                if count
            }
        )
    return joined


def _drawings_of_numbers(run_dir: Path, results: Mapping[str, Any]) -> dict[str, Drawing]:
    """Predicted against measured numbers of the first split, where the task is a regression."""
    if results.get("kind") != "regression":
        return {}
    first = min(split["seed"] for split in results["splits"])
    points: dict[str, list[tuple[float, float]]] = {}
    notes: dict[str, str] = {}
    for split in results["splits"]:
        if split["seed"] != first:
            continue
        path = run_dir / "splits" / f"{split['predictor']}_seed_{first}" / "predictions.tsv"
        label = _label(split["predictor"])
        points[label] = _first_numbers(path)
        metric = results["metric"]
        value = _shown(split["test"]["figures"][metric])
        found = split["test"]["intervals"].get(metric)
        interval = "" if found is None else f" [{_shown(found[0])}, {_shown(found[1])}]"
        notes[label] = f"{metric} {value}{interval}"
    return {"numbers": numbers_figure(points, notes, results["label_names"][0])}


def _first_numbers(path: Path) -> list[tuple[float, float]]:
    """Measured and predicted numbers of a table of predictions, of the first number of each."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        columns = header.split("\t")
        target, value = columns.index("target"), columns.index("in_train") + 1
        rows = [line.split("\t") for line in lines]
        return [(float(row[target].split(";")[0]), float(row[value])) for row in rows]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: not readable as predictions of finetune ({error})") from error


def _row(
    name: str,
    parts: Mapping[str, Any],
    metrics: Sequence[str],
    splits: Sequence[Mapping[str, Any]],
    leaks: int,
) -> dict[str, Any]:
    """The figures of a predictor, each with its range and its value without leaked rows."""
    cells = []
    for metric in metrics:
        whole, clean = parts["test"][metric], parts["test_without_leaks"][metric]
        if len(splits) > 1:
            values = [split["test"]["figures"][metric] for split in splits]
            known = [value for value in values if value is not None]
            ends = [min(known), max(known)] if known else None
        else:
            ends = splits[0]["test"]["intervals"].get(metric)
        notes = [] if ends is None else [f"[{_shown(ends[0])}, {_shown(ends[1])}]"]
        notes += [_shown(clean["mean"])] if leaks else []
        cells.append({"value": _shown(whole["mean"]), "note": "; ".join(notes)})
    return {"name": name, "label": _label(name), "cells": cells}


def _label(name: str) -> str:
    labels = {"model": "this model", "random_weights": "random weights", "kmer": "k-mers"}
    return labels.get(name, name.upper() if name == "cnn" else name)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
