"""One training run with Lightning, from a model and a stream to checkpoints on disk."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from torch import nn

from dnamdlm.errors import ConfigError
from dnamdlm.lm.interface import LanguageModel
from dnamdlm.training.callbacks import RunCallback, Schedule
from dnamdlm.training.checkpointing import FolderCheckpointIO
from dnamdlm.training.datamodule import BatchStream, StreamDataModule
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, LearningRateSchedule
from dnamdlm.training.signals import restored_handlers

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class TrainerSettings:
    """How long, how much at once, and when things happen.

    Attributes:
        max_steps: optimizer steps.
        global_batch_size: windows per optimizer step, over all devices.
        micro_batch_size: windows per forward pass on one device; None: as many as there are.
        gradient_clip: largest gradient norm; 0 does not clip.
        averaging_decay: decay of the moving average of the weights.
        precision: auto, 32-true, 64-true, bf16-mixed or 16-mixed.
        accelerator: auto, cpu, gpu or another name that Lightning knows.
        devices: devices per machine; 'auto' takes all.
        num_nodes: machines.
        strategy: Lightning strategy for several devices, for example ddp.
        num_workers: loader processes; 0 is fastest for a memory-mapped genome.
        log_every: steps between metrics rows.
        valid_every: steps between validations.
        valid_windows: windows of the validation split that a validation sees.
        valid_draws: time draws per window and validation.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: newest checkpoints that stay.
    """

    max_steps: int
    global_batch_size: int
    micro_batch_size: int | None = None
    gradient_clip: float = 1.0
    averaging_decay: float = 0.9999
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    num_workers: int = 0
    log_every: int = 50
    valid_every: int = 1000
    valid_windows: int = 1024
    valid_draws: int = 4
    checkpoint_every: int = 500
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        for name in (
            "max_steps", "global_batch_size", "num_nodes", "log_every", "valid_every",
            "valid_windows", "valid_draws", "checkpoint_every", "keep_checkpoints",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"trainer.{name}={getattr(self, name)} must be at least 1")
        if self.num_workers < 0:
            raise ConfigError(f"trainer.num_workers={self.num_workers} must not be negative")
        if not 0.0 <= self.averaging_decay < 1.0:
            raise ConfigError(f"trainer.averaging_decay={self.averaging_decay} must lie in [0, 1)")
        if self.gradient_clip < 0:
            raise ConfigError(f"trainer.gradient_clip={self.gradient_clip} must not be negative")
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"trainer.precision={self.precision} is unknown; choose {', '.join(PRECISIONS)}"
            )
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise ConfigError(
                f"trainer.micro_batch_size={self.micro_batch_size} must be at least 1"
            )

    def num_micro_steps(self, num_devices: int) -> int:
        """Forward passes per optimizer step on each of `num_devices` devices.

        Raises:
            ConfigError: if the global batch cannot be divided evenly.
        """
        per_device, left = divmod(self.global_batch_size, num_devices)
        if left or per_device == 0:
            raise ConfigError(
                f"trainer.global_batch_size={self.global_batch_size} cannot be divided among "
                f"{num_devices} devices; use a multiple of {num_devices}"
            )
        micro = min(self.micro_batch_size or per_device, per_device)
        if per_device % micro:
            raise ConfigError(
                f"trainer.micro_batch_size={micro} does not divide the {per_device} windows that "
                "each device has per step; use a divisor"
            )
        return per_device // micro


def resolve_precision(precision: str) -> str:
    """`auto` is bfloat16 autocast on a GPU that has it, float32 elsewhere."""
    if precision != "auto":
        return precision
    on_gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if on_gpu else "32-true"


def fit(
    lm: LanguageModel,
    stream: BatchStream,
    *,
    length: int,
    optimizer: AdamWSettings,
    learning_rate: LearningRateSchedule,
    settings: TrainerSettings,
    run_dir: Path,
    seed: int,
    description: dict[str, Any],
    validate: Callable[[nn.Module], float] | None,
    checkpoint: Path | None,
    loggers: list[Logger],
) -> int:
    """Train until `settings.max_steps`, from `checkpoint` or from the beginning.

    Args:
        lm: the model, on the CPU.
        stream: batches by step.
        length: positions per window.
        optimizer: AdamW settings.
        learning_rate: schedule.
        settings: trainer settings.
        run_dir: the claimed run folder.
        seed: seed of the run.
        description: content of `model.json` in every checkpoint.
        validate: gives bits per base of the averaged model.
        checkpoint: verified checkpoint folder to continue from.
        loggers: further Lightning loggers.

    Returns:
        The number of optimizer steps that the run now has.

    Raises:
        Interrupted: if a signal ended it, after saving.
        TrainingDiverged: if a loss or weight is no longer finite.
    """
    module = TrainingModule(
        lm,
        optimizer,
        learning_rate,
        max_steps=settings.max_steps,
        averaging_decay=settings.averaging_decay,
    )
    first_step = step_of(checkpoint)
    callback = RunCallback(
        run_dir=run_dir,
        seed=seed,
        schedule=Schedule(
            log_every=settings.log_every,
            valid_every=settings.valid_every,
            checkpoint_every=settings.checkpoint_every,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        bases_per_step=settings.global_batch_size * length,
        validate=validate,
        resumed_step=first_step,
    )
    with restored_handlers(), warnings.catch_warnings():
        _hush_lightning()
        trainer = _make_trainer(
            max_steps=settings.max_steps,
            **_hardware(settings),
            gradient_clip_val=settings.gradient_clip or None,
            callbacks=[callback],
            logger=loggers,
            plugins=[FolderCheckpointIO(description)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        num_micro_steps = settings.num_micro_steps(trainer.world_size)
        trainer.accumulate_grad_batches = num_micro_steps
        data = StreamDataModule(
            stream,
            num_micro_steps=num_micro_steps,
            num_workers=settings.num_workers,
            first_step=lambda: trainer.global_step,
        )
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return trainer.global_step


def check_devices(settings: TrainerSettings) -> None:
    """Refuse devices and batch sizes that cannot be had here, before anything is written.

    Raises:
        ConfigError: naming the setting.
    """
    with warnings.catch_warnings():
        _hush_lightning()
        trainer = _make_trainer(
            **_hardware(settings), logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
    settings.num_micro_steps(trainer.world_size)


def _hardware(settings: TrainerSettings) -> dict[str, Any]:
    return {
        "accelerator": settings.accelerator,
        "devices": settings.devices,
        "num_nodes": settings.num_nodes,
        "strategy": settings.strategy,
        "precision": resolve_precision(settings.precision),
    }


def _make_trainer(**arguments: Any) -> pl.Trainer:
    try:
        return pl.Trainer(**arguments)
    except (ValueError, MisconfigurationException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(f"the settings in trainer.* cannot be used here: {reason}") from error


def step_of(checkpoint: Path | None) -> int:
    """Optimizer steps that a checkpoint folder holds, from its name."""
    return int(checkpoint.name.removeprefix("step_")) if checkpoint else 0


def _hush_lightning() -> None:
    # its notes on devices and cloud services are no news to a user of this package.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # advice that does not fit: there is no validation loop, and workers would be slower here.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*you have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
    warnings.filterwarnings("ignore", message=".*IterableDataset.*has `__len__`.*")
