"""One offline HTML file about a run, and the numbers behind it as CSV.

The page loads nothing: styles and figures are inside it, and its content policy forbids requests.
Every text that comes from files is escaped by the template engine; only figures are trusted, and
the scripts of a genome browser, which are known by their hashes.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from dnamdlm.data.files import make_folder, text_file, write_together
from dnamdlm.reporting import figures, tables
from dnamdlm.reporting.browser_section import browser_content
from dnamdlm.reporting.drawing import Drawing, drawing_files, inline
from dnamdlm.reporting.locus_figure import locus_figure
from dnamdlm.reporting.multiqc_content import multiqc_files
from dnamdlm.reporting.quality_section import (
    quality_cards,
    quality_content,
    quality_drawings,
    quality_files,
)
from dnamdlm.reporting.run_files import RunFiles, read_run_files
from dnamdlm.reporting.tables import csv_text

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(run_dir: str | Path) -> Path:
    """Write run_dir/report.html and run_dir/report_data/ from what the run folder holds.

    Parts that are missing are listed in the report, each with the command that makes it.

    Returns:
        Path of the HTML file.

    Raises:
        DataError: if the folder does not hold a run, or a file in it is damaged.
    """
    files = read_run_files(Path(run_dir))
    drawings = _drawings(files)
    page = environment().get_template("report.html.j2").render(_content(files, drawings))
    folder = files.run_dir / "report_data"
    texts = {folder / name: text_file(text) for name, text in data_files(files).items()}
    make_folder(folder)
    target = files.run_dir / "report.html"
    write_together(texts | drawing_files(drawings.values(), folder) | {target: text_file(page)})
    return target


def data_files(files: RunFiles) -> dict[str, str]:
    """Name -> CSV text of the numbers behind each figure and table, and JSON for MultiQC."""
    texts: dict[str, str] = {}
    if files.metrics:
        names = list(files.metrics)
        rows = zip(*(files.metrics[name].tolist() for name in names), strict=True)
        texts["training_curve.csv"] = csv_text(names, ([_cell(v) for v in row] for row in rows))
    if (found := files.section("likelihood")) is not None:
        split, likelihood = found
        columns = ("bases", "bits_per_base", "standard_error", "nats_per_base", "perplexity")
        texts["likelihood.csv"] = csv_text(
            ("split", "name", "label", "class", *columns),
            (
                (split, row["name"], row["label"], name, *(cell[column] for column in columns))
                for row in likelihood["rows"]
                for name, cell in row["classes"].items()
            ),
        )
        texts["differences.csv"] = csv_text(
            ("split", "baseline", "class", "bits_per_base", "standard_error"),
            (
                (split, entry["baseline"], name, cell["bits_per_base"], cell["standard_error"])
                for entry in likelihood["differences"]
                for name, cell in entry["classes"].items()
            ),
        )
        columns = ("above", "to", "hidden_bases", "bits_per_base", "standard_error")
        if likelihood.get("mask_rates"):
            texts["mask_rates.csv"] = csv_text(
                ("split", *columns),
                ((split, *(entry[c] for c in columns)) for entry in likelihood["mask_rates"]),
            )
        texts |= multiqc_files(files.run_dir.resolve().name, split, likelihood)
    if (found := files.section("quality")) is not None:
        texts |= quality_files(found[1])
    return texts


def _content(files: RunFiles, drawings: Mapping[str, Drawing]) -> dict[str, Any]:
    likelihood_split, likelihood = files.section("likelihood") or ("", None)
    _, quality = files.section("quality") or ("", None)
    run = shlex.quote(str(files.run_dir))
    return {
        "run_name": files.run_dir.resolve().name,
        "headline": tables.headline(likelihood_split, likelihood) if likelihood else None,
        "quality_cards": quality_cards(quality) if quality else [],
        "missing": tables.missing_parts(files),
        "report_command": f"python -m dnamdlm.report run_dir={run}",
        "curve": inline(drawings.get("training")),
        "likelihood": likelihood,
        "likelihood_split": likelihood_split,
        "likelihood_table": tables.likelihood_table(likelihood, every_order=False)
        if likelihood
        else None,
        "mask_rates": tables.mask_rate_rows(likelihood) if likelihood else [],
        "full_table": tables.likelihood_table(likelihood, every_order=True) if likelihood else None,
        "loci": [inline(drawings[f"locus_{number}"]) for number in range(1, len(files.loci) + 1)],
        "browser": browser_content(files.browser) if files.browser else None,
        "quality": quality_content(quality, drawings) if quality else None,
        "examples": tables.examples(files.samples),
        "facts": list(tables.flat(files.run)),
        "config": files.config,
    }


def _drawings(files: RunFiles) -> dict[str, Drawing]:
    """All figures of a run by name."""
    _, likelihood = files.section("likelihood") or ("", None)
    train, valid = files.column("train_bits_per_base"), files.column("valid_bits_per_base")
    found: list[Drawing] = []
    if len(train[0]) or len(valid[0]):
        lines = tables.markov_lines(likelihood) if likelihood else {}
        found.append(figures.training_curve(train, valid, lines, x_label="training step"))
    if (section := files.section("quality")) is not None:
        found += quality_drawings(section[1])
    found += [
        locus_figure(record, name=f"locus_{number}")
        for number, record in enumerate(files.loci, start=1)
    ]
    return {drawing.name: drawing for drawing in found}


def environment() -> jinja2.Environment:
    """The template engine, which escapes every text."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    engine.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return engine


def _cell(value: float) -> str:
    """A number as short text; empty where it was not measured."""
    return "" if math.isnan(value) else f"{value:.10g}"
