"""A training run from a composed config tree."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from dnamdlm.assembly.building.schema import TARGET, build, check_keys, check_node
from dnamdlm.assembly.class_labels import labels_of
from dnamdlm.assembly.evaluate.overlap import report_overlap, store_overlap
from dnamdlm.assembly.models import (
    MODEL_NODES,
    build_language_model,
    check_model,
    check_vocabulary,
    describe_model,
    initialise_from,
    windows_at_once,
)
from dnamdlm.assembly.operations import start_ops
from dnamdlm.data.data_source import DataSource, OpenData
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.classifier_accuracy import score_labels
from dnamdlm.evaluation.likelihood.likelihood_report import Progress, score_windows
from dnamdlm.lm.checkpoint import list_checkpoints, newest_valid
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.training.launch import launched_rank
from dnamdlm.training.metrics import OF_BASES, OF_LABELS, lacks_figures
from dnamdlm.training.run_folder import check_space, claimed, open_run, step_of, try_space
from dnamdlm.training.trainer_settings import ResumeSettings, TrainerSettings

logger = logging.getLogger(__name__)

_PLAIN_KEYS = {
    "name": str,
    "run_dir": str,
    "init_from": str | None,
    "seed": int,
    "ops": str,
    "overlap_report": bool,
    "dry_run": bool,
    "debug": bool,
}
_NODES = (*MODEL_NODES, "data", "optimizer", "learning_rate", "trainer", "logger", "resume")
_MAX_SEED = 2**63 - 1


def check_tree(tree: Mapping[str, Any]) -> None:
    """Check every key of a training config, before data or device is touched.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    check_keys(tree, _PLAIN_KEYS, _NODES)
    if not 0 <= tree["seed"] <= _MAX_SEED:
        raise ConfigError(f"seed={tree['seed']} must lie in [0, 2^63)")
    check_model(tree)
    for name in ("data", "optimizer", "learning_rate", "trainer", "resume"):
        check_node(tree[name], name)
    if has_target(tree["logger"]):
        check_node(tree["logger"], "logger")


def has_target(node: object) -> bool:
    """Whether a group names a class; `logger: none` does not."""
    return isinstance(node, Mapping) and TARGET in node


def train(tree: Mapping[str, Any]) -> Path:
    """Train what the tree describes, from the start or from where its run folder stands.

    Args:
        tree: the resolved config of `train`.

    Returns:
        The run folder.

    Raises:
        ConfigError: for a setting, or a run folder that holds another run.
        DataError: for the data that are named.
        Interrupted: if a signal ended the run, after saving.
    """
    check_tree(tree)
    data: DataSource = build(tree["data"], "data")
    settings: TrainerSettings = build(tree["trainer"], "trainer")
    optimizer = build(tree["optimizer"], "optimizer")
    learning_rate = build(tree["learning_rate"], "learning_rate")
    resume: ResumeSettings = build(tree["resume"], "resume")
    # Lightning takes seconds to import, and no mistake in the settings should wait for it.
    from dnamdlm.training.trainer import check_devices, fit

    check_devices(settings)
    start_ops(tree["ops"], "cpu" if settings.accelerator == "cpu" else "auto")
    lm = build_language_model(tree, tree["seed"])
    # a run that goes on has its own weights, and its source may be gone by then.
    if tree["init_from"] is not None and not list_checkpoints(Path(tree["run_dir"], "checkpoints")):
        logger.info("starting from the weights of %s", initialise_from(lm, tree["init_from"]))
    is_owner = launched_rank() == 0
    opened = data.open()
    labels = labels_of(lm, opened)
    stream = opened.training_stream(tree["seed"], settings.global_batch_size)
    validate = validation(opened, settings, tree["seed"])
    num_parameters = sum(parameter.numel() for parameter in lm.parameters())
    logger.info("%s", summary(tree, opened, settings, num_parameters))
    overlap = report_overlap(opened) if tree["overlap_report"] and is_owner else None
    loggers = build_loggers(tree)
    run_dir = Path(tree["run_dir"])
    check_space(run_dir, lm, settings.keep_checkpoints)
    if tree["dry_run"]:
        stream.batch(0)
        return run_dir
    described = opened.describe()
    # one process owns the folder; the others only look which checkpoint it will take.
    with claimed(run_dir) if is_owner else nullcontext():
        if is_owner:
            try_space(run_dir, lm, settings.keep_checkpoints)
            checkpoint = open_run(run_dir, tree, described, allow=resume.allow)
            if overlap is not None:
                store_overlap(overlap, run_dir)
        else:
            checkpoint = newest_valid(run_dir / "checkpoints")
        first_step = step_of(checkpoint)
        figures = OF_LABELS if isinstance(lm, NoisyClassifier) else OF_BASES
        is_validated = validate is None or not lacks_figures(
            run_dir / "metrics.csv", first_step, figures.valid
        )
        if first_step >= settings.max_steps and is_validated:
            logger.info("all %d steps are done already", settings.max_steps)
            return run_dir
        if checkpoint is not None:
            check_vocabulary(lm, checkpoint)
            logger.info("going on from step %d of %s", first_step, checkpoint)
        fit(
            lm,
            stream,
            length=data.length,
            optimizer=optimizer,
            learning_rate=learning_rate,
            settings=settings,
            run_dir=run_dir,
            seed=tree["seed"],
            description=describe_model(tree, labels),
            validate=validate,
            figures=figures,
            checkpoint=checkpoint,
            loggers=loggers,
            facts={
                "config": json.dumps(tree, sort_keys=True, default=str),
                "data": described["fingerprint"],
                "checkpoint": str(checkpoint),
            },
        )
    return run_dir


def build_loggers(tree: Mapping[str, Any]) -> list[Any]:
    """The Lightning logger that the config names, if any; it writes nothing yet.

    Raises:
        ConfigError: if its package is not installed.
    """
    if not has_target(tree["logger"]):
        return []
    try:
        return [build(tree["logger"], "logger")]
    except ImportError as error:
        name = str(tree["logger"][TARGET]).rpartition(".")[2]
        raise ConfigError(
            f"logger: {name} cannot be used because a package is missing; install it with "
            "pip install 'dnamdlm[loggers]', or take logger=none"
        ) from error


def validation(
    opened: OpenData, settings: TrainerSettings, seed: int
) -> Callable[[nn.Module, Progress], dict[str, float]] | None:
    """Figures of windows of the validation split; None where it holds nothing.

    They are bits per base of a language model, bits per label and accuracy of a classifier.
    """
    if not opened.has_split("valid"):
        logger.info("there is no validation split; nothing is validated")
        return None
    windows = opened.evaluation_windows("valid", limit=settings.valid_windows, seed=seed)

    def validate(lm: nn.Module, progress: Progress) -> dict[str, float]:
        device = next(lm.parameters()).device
        if isinstance(lm, NoisyClassifier):
            labels = score_labels(
                lm,
                windows,
                draws=settings.valid_draws,
                batch_size=windows_at_once(windows.length, device),
                device=device,
                progress=progress,
            )
            return {OF_LABELS.valid: labels.bits, OF_LABELS.more[0]: labels.accuracy}
        if not isinstance(lm, LanguageModel):
            raise TypeError(f"a {type(lm).__name__} cannot be validated")
        scores = score_windows(
            lm,
            windows,
            draws=settings.valid_draws,
            batch_size=windows_at_once(windows.length, device, len(lm.vocabulary)),
            device=device,
            progress=progress,
        )
        return {OF_BASES.valid: scores.bits().value}

    return validate


def summary(
    tree: Mapping[str, Any],
    opened: OpenData,
    settings: TrainerSettings,
    num_parameters: int,
) -> str:
    """What will be trained on what, in a few lines."""
    described = opened.describe()
    is_text = described.get("kind") == "text"
    unit, records, symbols = ("bp", "records", "bases")
    if is_text:
        unit, records, symbols = ("tokens", "documents", "tokens")
    splits = ", ".join(
        f"{name} {part['num_bases']:,} {unit}" for name, part in described["splits"].items()
    )
    per_step = settings.global_batch_size * opened.length
    return (
        f"{tree['name']}: {described['fasta']}, {described['num_bases']:,} {unit} in "
        f"{described['num_records']:,} {records}, split by {described['split_rule']} ({splits})\n"
        f"model {tree['backbone'][TARGET].rpartition('.')[2]} with {num_parameters:,} parameters; "
        f"{settings.max_steps:,} steps of {per_step:,} {symbols}"
    )
