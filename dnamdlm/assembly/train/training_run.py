"""A training run, from its settings to checkpoints in its run folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.building.own_tokenizer import check_vocabulary
from dnamdlm.assembly.class_labels import labels_of
from dnamdlm.assembly.devices import windows_at_once
from dnamdlm.assembly.models import initialise_from
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.overlap import report_overlap, store_overlap
from dnamdlm.assembly.train.train_settings import TrainSettings
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.targets import check_run_folder, inputs_of
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.classifier_accuracy import score_labels
from dnamdlm.evaluation.likelihood.likelihood_report import Progress, score_windows
from dnamdlm.lm.checkpoint import MODEL, list_checkpoints, newest_valid, read_json
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.training.launch import launched_rank
from dnamdlm.training.metrics import OF_BASES, OF_LABELS, lacks_figures
from dnamdlm.training.run_folder import check_space, claimed, open_run, step_of, try_space
from dnamdlm.training.trainer_settings import TrainerSettings

logger = logging.getLogger(__name__)


def train(settings: TrainSettings) -> Path:
    """Train a model, from the start or from where its run folder stands.

    Returns:
        The run folder.

    Raises:
        ConfigError: for a setting, or a run folder that holds another run.
        DataError: for the data that are named.
        Interrupted: if a signal ended the run, after saving.
    """
    config, trainer = settings.config, settings.trainer
    check_run_folder(Path(settings.run_dir), inputs_of(settings))
    # Lightning takes seconds to import, and no mistake in the settings should wait for it.
    from dnamdlm.training.trainer import check_devices, fit

    check_devices(trainer)
    start_ops(settings.ops, "cpu" if trainer.accelerator == "cpu" else "auto")
    lm = config.build(settings.seed, settings.given)
    # a resumed run has its own weights, and their source may be gone by then.
    run_dir = Path(settings.run_dir)
    if settings.init_from is not None and not list_checkpoints(run_dir / "checkpoints"):
        logger.info("starting from the weights of %s", initialise_from(lm, settings.init_from))
    is_owner = launched_rank() == 0
    opened = settings.data.open()
    labels = labels_of(lm, opened)
    stream = opened.training_stream(settings.seed, trainer.global_batch_size)
    validate = validation(opened, trainer, settings.seed)
    num_parameters = sum(parameter.numel() for parameter in lm.parameters())
    logger.info("%s", summary(settings, opened, num_parameters))
    overlap = report_overlap(opened) if settings.overlap_report and is_owner else None
    loggers = build_loggers(config)
    check_space(run_dir, lm, trainer.keep_checkpoints)
    if settings.dry_run:
        stream.batch(0)
        return run_dir
    described = opened.describe()
    # one process owns the folder; the others only look which checkpoint it will take.
    with claimed(run_dir) if is_owner else nullcontext():
        if is_owner:
            try_space(run_dir, lm, trainer.keep_checkpoints)
            checkpoint = open_run(run_dir, settings.record, described, allow=settings.resume.allow)
            if overlap is not None:
                store_overlap(overlap, run_dir)
        else:
            checkpoint = newest_valid(run_dir / "checkpoints")
        first_step = step_of(checkpoint)
        figures = OF_LABELS if isinstance(lm, NoisyClassifier) else OF_BASES
        is_validated = validate is None or not lacks_figures(
            run_dir / "metrics.csv", first_step, figures.valid
        )
        if first_step >= trainer.max_steps and is_validated:
            logger.info("all %d steps are done already", trainer.max_steps)
            return run_dir
        if checkpoint is not None:
            check_vocabulary(
                read_json(checkpoint / MODEL), checkpoint, lm.vocabulary.fingerprint(), config
            )
            logger.info("resuming from step %d of %s", first_step, checkpoint)
        fit(
            lm,
            stream,
            length=settings.data.length,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            settings=trainer,
            run_dir=run_dir,
            seed=settings.seed,
            description=config.describe(labels),
            validate=validate,
            figures=figures,
            checkpoint=checkpoint,
            loggers=loggers,
            facts={
                "config": json.dumps(settings.record, sort_keys=True, default=str),
                "data": described["fingerprint"],
                "checkpoint": str(checkpoint),
            },
        )
    return run_dir


def build_loggers(config: ModelConfig) -> list[Any]:
    """The Lightning logger that the config names, if any; it writes nothing yet.

    Raises:
        ConfigError: if its package is not installed.
    """
    try:
        logger_of_run = config.logger()
    except ImportError as error:
        raise ConfigError(
            f"logger: {config.logger_name} cannot be used because a package is missing; install "
            "it with pip install 'dnamdlm[loggers]', or take logger=none"
        ) from error
    return [] if logger_of_run is None else [logger_of_run]


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


def summary(settings: TrainSettings, opened: OpenData, num_parameters: int) -> str:
    """What will be trained on what, in a few lines."""
    described, trainer = opened.describe(), settings.trainer
    modality = settings.config.modality
    unit = "bp" if modality.name == "dna" else modality.units
    records = "records" if modality.name == "dna" else "documents"
    splits = ", ".join(
        f"{name} {part['num_bases']:,} {unit}" for name, part in described["splits"].items()
    )
    per_step = trainer.global_batch_size * opened.length
    return (
        f"{settings.name}: {described['fasta']}, {described['num_bases']:,} {unit} in "
        f"{described['num_records']:,} {records}, split by {described['split_rule']} ({splits})\n"
        f"model {settings.config.backbone_name} with {num_parameters:,} parameters; "
        f"{trainer.max_steps:,} steps of {per_step:,} {modality.units}"
    )
