"""Figures that a run has of exactly the weights that were loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnamdlm.assembly.held_out import SPLITS
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import DataError
from dnamdlm.evaluation.evaluation_files import read_evaluation


def own_evaluations(loaded: LoadedModel) -> Iterator[tuple[str, dict[str, Any]]]:
    """Split and content of the evaluations of the run, without those of other weights."""
    if loaded.run_dir is None:
        return
    for split in SPLITS:
        try:
            content = read_evaluation(loaded.run_dir / "evaluation" / f"{split}.json")
        except DataError:
            continue
        if content.get("provenance", {}).get("model_sha256") == loaded.digest:
            yield split, content
