"""What a run folder holds, read once and checked; every part but the config may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnamdlm.data.csv_rows import csv_rows
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import DataError
from dnamdlm.evaluation.evaluation_files import read_evaluation
from dnamdlm.evaluation.likelihood.browser_record import BROWSER_FILE, read_browser_record
from dnamdlm.evaluation.likelihood.locus_bits import read_record
from dnamdlm.tokens.nucleotide import BASE_CODES
from dnamdlm.words.codes import CODE_MASK

SPLITS = ("test", "valid")


@dataclass(frozen=True)
class RunFiles:
    """Content of a run folder.

    Attributes:
        run_dir: the folder.
        config: text of config.yaml.
        run: run.json, empty if absent.
        metrics: column -> float64 (rows,), nan where not measured; empty if absent.
        evaluations: split -> content of its evaluation file.
        samples: name -> sequence of samples.fa; empty if absent.
        loci: records of loci that were evaluated, by file name.
        browser: record of the newest folder of tracks, or None.
    """

    run_dir: Path
    config: str
    run: Mapping[str, Any]
    metrics: Mapping[str, np.ndarray]
    evaluations: Mapping[str, Mapping[str, Any]]
    samples: Mapping[str, str]
    loci: Sequence[Mapping[str, Any]] = ()
    browser: Mapping[str, Any] | None = None

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of a column of metrics.csv where it was measured."""
        if name not in self.metrics:
            return np.zeros(0), np.zeros(0)
        is_known = np.isfinite(self.metrics[name])
        return self.metrics["step"][is_known], self.metrics[name][is_known]

    def section(self, name: str) -> tuple[str, Mapping[str, Any]] | None:
        """The first split, test before valid, whose evaluation has a section."""
        found = (
            (split, self.evaluations[split][name])
            for split in SPLITS
            if name in self.evaluations.get(split, {})
        )
        return next(found, None)


def read_run_files(run_dir: Path) -> RunFiles:
    """Read a run folder.

    Raises:
        DataError: if it does not hold a run, or a file in it is damaged.
    """
    config = run_dir / "config.yaml"
    if not config.is_file():
        raise DataError(
            f"{run_dir} does not hold a run: it has no config.yaml; give run_dir of a run"
        )
    samples = run_dir / "samples.fa"
    evaluations = {split: run_dir / "evaluation" / f"{split}.json" for split in SPLITS}
    shown = run_dir / "evaluation" / BROWSER_FILE
    return RunFiles(
        run_dir=run_dir,
        config=config.read_text(encoding="utf-8"),
        run=_read_object(run_dir / "run.json"),
        metrics=_read_metrics(run_dir / "metrics.csv"),
        evaluations={
            split: read_evaluation(path) for split, path in evaluations.items() if path.is_file()
        },
        samples={name: _text(codes) for name, codes in read_fasta(samples).items()}
        if samples.is_file()
        else {},
        loci=[read_record(path) for path in sorted((run_dir / "evaluation").glob("locus_*.json"))],
        browser=read_browser_record(shown) if shown.is_file() else None,
    )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = read_json_file(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); restore the file") from error
    return content if isinstance(content, dict) else {"content": content}


def _read_metrics(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = [row for row in csv_rows(file, path) if row]
    names = lines[0] if lines else []
    # a killed process may have left a row without its end.
    rows = [dict(zip(names, row, strict=False)) for row in lines[1:] if len(row) >= len(names)]
    if not rows:
        return {}
    if "step" not in rows[0]:
        raise DataError(f"{path}: the first line names no column 'step'; restore the file")
    try:
        return {
            name: np.array([float(row[name]) if row[name] else math.nan for row in rows])
            for name in rows[0]
        }
    except ValueError as error:
        raise DataError(f"{path}: {error}; every value must be a number or empty") from error


def _text(codes: np.ndarray) -> str:
    return np.frombuffer(BASE_CODES, np.uint8)[codes & CODE_MASK].tobytes().decode("ascii")
