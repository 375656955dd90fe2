"""The evaluation file of a split: run_dir/evaluation/<split>.json.

One JSON object, UTF-8, without NaN:

    format          "dnamdlm.evaluation"
    format_version  1
    split           "valid" or "test"; "reference" for sequences compared with a FASTA file
    provenance      what made the figures: checkpoint, command, versions, seeds
    likelihood      LikelihoodReport.to_json(), optional
    text            TextReport.to_json() of a model of text, optional
    generated_text  generated and held-out text (TextQuality.to_json() of each), optional
    genomes         name -> LikelihoodReport.to_json() of each genome of a mixture, optional
    quality         the result of evaluate_quality(), optional
    overlap         OverlapReport.to_json(), or {"genomes": {name: such a report}}, optional

In a section of likelihoods, the classes "unique windows" and "repeats" are windows without and with
a word of the training split, "repeats" says how long the word is and which Markov row is best in
each class, "mask_rates" is the cross-entropy of hidden bases by tenth of the mask rate, and
"mask_rate_density" the density of the mask rate with which a training loss varies least.

A section that is written replaces the section of that name and leaves the others; older files may
have a section "generated", which is not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.files import make_folder, write_text
from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import DataError

FORMAT = "dnamdlm.evaluation"
FORMAT_VERSION = 1
SECTIONS = (
    "provenance",
    "likelihood",
    "text",
    "generated_text",
    "genomes",
    "quality",
    "overlap",
)


def read_evaluation(path: str | Path) -> dict[str, Any]:
    """Content of an evaluation file.

    Raises:
        DataError: if the file is missing, damaged or of another format.
    """
    path = Path(path)
    try:
        content = read_json_file(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run dnamdlm.evaluate first") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable evaluation file ({error})") from error
    found = (content.get("format"), content.get("format_version")) if _is_object(content) else None
    if found != (FORMAT, FORMAT_VERSION):
        raise DataError(
            f"{path}: not an evaluation file of version {FORMAT_VERSION}; run dnamdlm.evaluate"
        )
    return content


def check_evaluation(path: Path, split: str) -> None:
    """Refuse a file to which sections of `split` cannot be added; one that is absent is accepted.

    Raises:
        DataError: if it is not an evaluation file, or belongs to another split.
    """
    if path.is_file() and (found := read_evaluation(path)["split"]) != split:
        raise DataError(f"{path}: holds split {found!r}, not {split!r}; use another file name")


def write_evaluation(
    path: str | Path, split: str, sections: Mapping[str, Any], *, keep_others: bool = True
) -> Path:
    """Write or replace sections of the evaluation file of a split.

    Args:
        path: the file; missing folders are made.
        split: "valid", "test" or "reference".
        sections: name -> JSON values, the names being those of `SECTIONS`.
        keep_others: keep the other sections of a file that is there.

    Raises:
        DataError: for an unknown section, or if the file belongs to another split.
    """
    path = Path(path)
    if unknown := sorted(set(sections) - set(SECTIONS)):
        raise DataError(f"unknown section {unknown[0]!r}; use {', '.join(SECTIONS)}")
    content: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, "split": split}
    check_evaluation(path, split)
    if keep_others and path.is_file():
        content = read_evaluation(path)
    make_folder(path.parent)
    write_text(path, json.dumps(content | dict(sections), indent=1, allow_nan=False))
    return path


def _is_object(content: object) -> bool:
    return isinstance(content, dict)
