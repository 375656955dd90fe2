"""The report of a run from a composed config tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamdlm.assembly.building.own_tokenizer import is_text
from dnamdlm.assembly.building.schema import TARGET, check_keys
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.reporting.other_reports import (
    is_finetuning,
    write_finetune_report,
    write_samples_report,
)
from dnamdlm.reporting.run_report import write_report
from dnamdlm.reporting.text_report import write_text_report
from dnamdlm.training.run_folder import read_run_config

_KEYS = {"run_dir": str | None, "evaluation": str | None, "debug": bool}


def report(tree: Mapping[str, Any]) -> Path:
    """Write `report.html` into a run folder, or the page of an evaluation file beside it.

    Args:
        tree: the resolved config of `report`.

    Raises:
        DataError: if the folder holds no run, or that of a classifier.
    """
    check_keys(tree, _KEYS)
    if (tree["run_dir"] is None) == (tree["evaluation"] is None):
        raise ConfigError(
            "a report is about one thing; give run_dir=FOLDER of a run, or evaluation=FILE.json of "
            "compared samples"
        )
    if tree["evaluation"] is not None:
        return write_samples_report(Path(tree["evaluation"]))
    run_dir = Path(tree["run_dir"])
    if is_finetuning(run_dir):
        return write_finetune_report(run_dir)
    if not (run_dir / "config.yaml").is_file():
        raise DataError(
            f"run_dir={run_dir} holds no run; train one first with "
            f"python -m dnamdlm.train config=NAME run_dir={run_dir}"
        )
    config = read_run_config(run_dir) or {}
    target = str(config.get("lm", {}).get(TARGET, ""))
    if target == f"{NoisyClassifier.__module__}.{NoisyClassifier.__qualname__}":
        raise DataError(
            f"run_dir={run_dir} holds a classifier, of which there is no report; its figures are "
            f"in {run_dir / 'metrics.csv'}"
        )
    if "data" in config and is_text(config):
        return write_text_report(run_dir)
    return write_report(run_dir)
