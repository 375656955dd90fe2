"""Training a model object on the data, and with the settings, of a run."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from dnamdlm.assembly.building.model_config import ModelConfig, TrainedLM
from dnamdlm.assembly.building.own_tokenizer import check_vocabulary
from dnamdlm.assembly.class_labels import labels_of
from dnamdlm.assembly.devices import plan_for
from dnamdlm.assembly.number_conditions import scales_of
from dnamdlm.assembly.overlap import report_overlap, store_overlap
from dnamdlm.assembly.train.dry_run import time_needed
from dnamdlm.assembly.train.expert_counts import count_for_experts
from dnamdlm.assembly.train.pointed_stream import pointed_stream
from dnamdlm.assembly.train.split_validation import SplitValidation, validation
from dnamdlm.assembly.train.teachers import give_teacher
from dnamdlm.assembly.train.train_settings import TrainSettings
from dnamdlm.data.data_source import OpenData, source_of
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.block_rows import check_windows
from dnamdlm.lm.checkpoint import MODEL, WEIGHTS, newest_valid, read_json
from dnamdlm.lm.module_weights import check_weights
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.threads import running_with
from dnamdlm.training.accelerators import own_device
from dnamdlm.training.compilation import compiler_of
from dnamdlm.training.disk_space import check_space, try_space
from dnamdlm.training.launch import launched_rank, launched_shape
from dnamdlm.training.metrics import MetricNames, lacks_value, metric_names
from dnamdlm.training.run_folder import METRICS, open_run, step_of
from dnamdlm.training.run_lock import claimed
from dnamdlm.training.surroundings import device_name
from dnamdlm.training.trainer_settings import TrainerSettings

logger = logging.getLogger(__name__)


def train_model(lm: TrainedLM, settings: TrainSettings) -> Path:
    """Train a model, or resume the run that its folder holds.

    Args:
        lm: the model, on the CPU, with the weights that a new run starts from.
        settings: everything else.

    Returns:
        The run folder.

    Raises:
        ConfigError: for a setting, or a run folder that holds another run.
        DataError: for the data.
        Interrupted: if a signal ended the run, after saving.
    """
    began = time.monotonic()
    run_dir, trainer = Path(settings.run_dir), settings.trainer
    if isinstance(lm, BlockDiffusionLM):
        check_windows(lm.block_length, settings.data.length)
    is_owner = launched_rank() == 0
    loggers = build_loggers(settings.config)
    opened = settings.data.open()
    labels, scales = labels_of(lm, opened), scales_of(lm, opened)
    count_for_experts(lm, opened, trainer.strategy)
    give_teacher(lm, settings.config.trust)
    stream = pointed_stream(lm, opened, settings)
    names = _names(lm, opened, run_dir)
    validate = validation(opened, trainer, settings.seed, names)
    logger.info("%s", summary(settings, opened, lm))
    _warn_of_unseen_time(lm)
    overlap = report_overlap(opened) if settings.overlap_report and is_owner else None
    compiler = compiler_of(trainer, lm)
    # what only evaluation reads must not be found wrong after days of training.
    opened.check_files()
    check_space(run_dir, lm, trainer.keep_checkpoints)
    if settings.dry_run:
        _check_run(settings, opened)
        with running_with(_threads(settings, lm)):
            logger.info("%s", time_needed(lm, stream, settings, validate, compiler))
        return run_dir
    described = opened.describe()
    # one process owns the folder; the others only find out which checkpoint it will take.
    with claimed(run_dir) if is_owner else nullcontext(), running_with(_threads(settings, lm)):
        checkpoint = (
            _opened_run(lm, settings, described, compiler) if is_owner else _newest(run_dir)
        )
        if overlap is not None:
            store_overlap(overlap, run_dir)
        first_step = step_of(checkpoint)
        if first_step >= trainer.max_steps and _is_validated(validate, run_dir, first_step):
            logger.info("all %d steps are done already", trainer.max_steps)
            return run_dir
        if checkpoint is not None:
            _check_same_model(lm, settings, checkpoint)
            logger.info("resuming from step %d of %s", first_step, checkpoint)
        from dnamdlm.training.trainer import RunPlan, run_training

        plan = RunPlan(
            run_dir=run_dir,
            seed=settings.seed,
            settings=trainer,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            length=settings.data.length,
            description=settings.config.describe(labels, scales),
            names=names,
            validation=validate,
            windows_per_validation=0 if validate is None else validate.num_reads(lm),
            deadline=None if trainer.max_minutes is None else began + 60 * trainer.max_minutes,
            checkpoint=checkpoint,
            loggers=loggers,
            compiler=compiler,
            facts=_facts(settings, described["fingerprint"], checkpoint),
        )
        steps = run_training(lm, stream, plan)
    if steps < trainer.max_steps or not _is_validated(validate, run_dir, steps):
        _say_time_is_over(trainer, steps)
    return run_dir


def _names(lm: TrainedLM, opened: OpenData, run_dir: Path) -> MetricNames:
    kind = lm.kind if isinstance(lm, NoisyPredictor) else ""
    return metric_names(opened.unit, kind=kind, path=run_dir / METRICS)


def _is_validated(validate: SplitValidation | None, run_dir: Path, step: int) -> bool:
    """Whether nothing is missing of the validation of a step."""
    return validate is None or not lacks_value(run_dir / METRICS, step, validate.names.valid)


def _check_run(settings: TrainSettings, opened: OpenData) -> None:
    """Find what the run folder holds that the run would be refused for."""
    tree = {**settings.record, "dry_run": False}
    allow = settings.resume.allow
    open_run(Path(settings.run_dir), tree, opened.describe(), allow=allow, only_check=True)


def _facts(settings: TrainSettings, fingerprint: str, checkpoint: Path | None) -> dict[str, str]:
    """What a logger records of a run besides its figures."""
    return {
        "config": json.dumps(settings.record, sort_keys=True, default=str),
        "data": fingerprint,
        "checkpoint": str(checkpoint),
    }


def _say_time_is_over(trainer: TrainerSettings, steps: int) -> None:
    logger.info(
        "trainer.max_minutes=%g is reached after step %s of %s, which is saved; "
        "the same command resumes",
        trainer.max_minutes or 0, f"{steps:,}", f"{trainer.max_steps:,}",
    )  # fmt: skip


def _warn_of_unseen_time(lm: TrainedLM) -> None:
    """Say once what a network for uniform noise lacks if it does not see the time."""
    if isinstance(lm, UniformDiffusionLM) and lm.uniform_share > 0 and not lm.sees_time:
        logger.warning(
            "with lm.uniform_share=%g the network cannot see which tokens are noise, and it is not "
            "conditioned on the time either, which makes the bound worse; give "
            "backbone.time_conditioning=true, which every backbone but bert has",
            lm.uniform_share,
        )


def _threads(settings: TrainSettings, lm: nn.Module) -> int | None:
    """Threads of this process while it trains."""
    trainer, shape = settings.trainer, launched_shape()
    if own_device(trainer).type != "cpu":
        return settings.threads
    devices = trainer.devices if shape is None else shape[0]
    ranks = int(devices) if str(devices).isdigit() else 1
    rows = trainer.micro_batch_size or trainer.global_batch_size // ranks
    plan = plan_for(
        lm, rows * settings.data.length, threads=settings.threads, ranks=ranks, can_share=False
    )
    return plan.threads


def _opened_run(
    lm: TrainedLM, settings: TrainSettings, described: Mapping[str, Any], compiler: str | None
) -> Path | None:
    """The checkpoint to resume from, after the run folder was checked or begun."""
    run_dir = Path(settings.run_dir)
    try_space(run_dir, lm, settings.trainer.keep_checkpoints)
    return open_run(
        run_dir,
        settings.record,
        described,
        allow=settings.resume.allow,
        device=device_name(settings.trainer.accelerator),
        loss=None if compiler is None else f"compiled by {compiler}",
    )


def _newest(run_dir: Path) -> Path | None:
    return newest_valid(run_dir / "checkpoints")


def _check_same_model(lm: TrainedLM, settings: TrainSettings, checkpoint: Path) -> None:
    check_vocabulary(
        read_json(checkpoint / MODEL), checkpoint, lm.vocabulary.fingerprint(), settings.config
    )
    check_weights(lm, checkpoint / WEIGHTS)


def build_loggers(config: ModelConfig) -> list[Any]:
    """The Lightning logger that the config names, if any; it has written nothing yet.

    Raises:
        ConfigError: if its package is not installed.
    """
    try:
        logger_of_run = config.logger()
    except ImportError as error:
        raise ConfigError(
            f"logger: {config.logger_name} cannot be used because a package is missing; install "
            f"it with pip install 'dnamdlm[{_extra_of(config.logger_name)}]', or take logger=none"
        ) from error
    return [] if logger_of_run is None else [logger_of_run]


def _extra_of(logger_name: str) -> str:
    """The extra with the package of a logger, by the name of its class."""
    extras = {"MLFlowLogger": "mlflow", "TrackioLogger": "trackio"}
    return extras.get(logger_name, "loggers")


def summary(settings: TrainSettings, opened: OpenData, lm: nn.Module) -> str:
    """What will be trained on what, in two lines."""
    described, trainer = opened.describe(), settings.trainer
    size, records = ("tokens", "documents") if opened.unit == "token" else ("bp", "records")
    splits = ", ".join(
        f"{name} {part[f'num_{opened.unit}s']:,} {size}"
        for name, part in described["splits"].items()
    )
    total, number = described[f"num_{opened.unit}s"], described[f"num_{records}"]
    per_step = trainer.global_batch_size * opened.length
    num_parameters = sum(parameter.numel() for parameter in lm.parameters())
    return (
        f"{settings.name}: {source_of(described)}, {total:,} {size} in {number:,} {records}, "
        f"split by {described['split_rule']} ({splits})\n"
        f"model {settings.config.backbone_name} with {num_parameters:,} parameters; "
        f"{trainer.max_steps:,} steps of {per_step:,} {opened.unit}s"
    )
