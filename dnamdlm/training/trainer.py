"""One training run with Lightning, from a model and a stream to checkpoints on disk."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from dnamdlm.data.data_source import BatchStream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import Trainable
from dnamdlm.training.callbacks import RunCallback, Schedule, Validation
from dnamdlm.training.checkpointing import FolderCheckpointIO
from dnamdlm.training.datamodule import StreamDataModule
from dnamdlm.training.failures import TrainingFailed
from dnamdlm.training.guard import UpdateGuard
from dnamdlm.training.hardware import hardware
from dnamdlm.training.metrics import OF_BASES, Figures
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, LearningRateSchedule
from dnamdlm.training.ranks import is_lost_connection, require_same
from dnamdlm.training.run_folder import step_of
from dnamdlm.training.signals import Finished, restored_handlers
from dnamdlm.training.trainer_settings import TrainerSettings


class SameFacts(pl.Callback):
    """Stops a run whose ranks do not stand at the same point, before anything is loaded."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.facts = facts

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare as soon as the ranks can talk."""
        del trainer, pl_module, stage
        require_same(self.facts)


def fit(
    lm: Trainable,
    stream: BatchStream,
    *,
    length: int,
    optimizer: AdamWSettings,
    learning_rate: LearningRateSchedule,
    settings: TrainerSettings,
    run_dir: Path,
    seed: int,
    description: dict[str, Any],
    validate: Validation | None,
    checkpoint: Path | None,
    loggers: list[Logger],
    figures: Figures = OF_BASES,
    facts: Mapping[str, object] | None = None,
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
        validate: gives the validation columns of the averaged model; called again for a last step
            whose validation a signal has cut.
        checkpoint: verified checkpoint folder to continue from.
        loggers: further Lightning loggers.
        figures: what the losses are called.
        facts: what every rank must have found alike.

    Returns:
        The number of optimizer steps that the run now has.

    Raises:
        Interrupted: if a signal ended it, after saving.
        TrainingDiverged: if losses, gradients or weights are not finite and do not recover.
        TrainingFailed: if the last step, or the one at a signal, cannot be saved.
    """
    module = TrainingModule(
        lm,
        optimizer,
        learning_rate,
        max_steps=settings.max_steps,
        averaging_decay=settings.averaging_decay,
    )
    first_step = step_of(checkpoint)
    storage = FolderCheckpointIO(description)
    callback = RunCallback(
        run_dir=run_dir,
        seed=seed,
        schedule=Schedule(
            max_steps=settings.max_steps,
            log_every=settings.log_every,
            valid_every=settings.valid_every,
            checkpoint_every=settings.checkpoint_every,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        storage=storage,
        guard=UpdateGuard(sigmas=settings.spike_sigmas, max_skips=settings.max_skipped_in_a_row),
        bases_per_step=settings.global_batch_size * length,
        validate=validate,
        resumed_step=first_step,
        figures=figures,
    )
    with restored_handlers(), warnings.catch_warnings():
        _hush_lightning()
        devices = hardware(settings)
        trainer = _make_trainer(
            # a run whose last validation was cut still has something to begin for.
            max_steps=max(settings.max_steps, first_step + 1),
            **devices | {"plugins": [storage, *devices["plugins"]]},
            gradient_clip_val=settings.gradient_clip or None,
            callbacks=[SameFacts(facts or {}), callback],
            logger=loggers,
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
        try:
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except Finished:
            pass
        except SystemExit:
            if callback.stop.is_forced:
                raise KeyboardInterrupt from None
            raise
        except RuntimeError as error:
            # ranks that Lightning started here would wait for this one without end.
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGKILL)
            if trainer.world_size > 1 and is_lost_connection(error):
                raise TrainingFailed(
                    "another rank has ended, and says why if it can; the newest checkpoint in "
                    f"{run_dir} is whole, and the same command goes on from there"
                ) from error
            raise
    return callback.step


def check_devices(settings: TrainerSettings) -> None:
    """Refuse devices and batch sizes that cannot be had here, before anything is written.

    Raises:
        ConfigError: naming the setting.
    """
    with warnings.catch_warnings():
        _hush_lightning()
        trainer = _make_trainer(
            **hardware(settings), logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
    settings.num_micro_steps(trainer.world_size)


def _make_trainer(**arguments: Any) -> pl.Trainer:
    try:
        return pl.Trainer(**arguments)
    except (ValueError, MisconfigurationException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(f"the settings in trainer.* cannot be used here: {reason}") from error


def _hush_lightning() -> None:
    # its notes on devices and cloud services are no news to a user of this package.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # advice that does not fit: there is no validation loop, and workers would be slower here.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*you have no `val_dataloader`.*")
    # nothing here changes the output of a network in place.
    warnings.filterwarnings("ignore", message=".*returned a view tensor.*")
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
    warnings.filterwarnings("ignore", message=".*IterableDataset.*has `__len__`.*")
