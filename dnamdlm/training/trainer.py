"""One training run with Lightning, from a model and a stream to checkpoints on disk."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from dnamdlm.data.data_source import BatchStream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import Trainable
from dnamdlm.training.accelerators import arithmetic_of_steps
from dnamdlm.training.checkpointing import FolderCheckpointIO
from dnamdlm.training.compilation import check_compile, loss_terms_of
from dnamdlm.training.datamodule import StreamDataModule
from dnamdlm.training.failures import TrainingFailed
from dnamdlm.training.guard import UpdateGuard
from dnamdlm.training.hardware import hardware
from dnamdlm.training.launch import launched_rank
from dnamdlm.training.metrics import OF_BASES, MetricNames
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, LearningRateSchedule
from dnamdlm.training.ranks import is_lost_connection, num_ranks, require_same
from dnamdlm.training.run_callback import RunCallback
from dnamdlm.training.run_folder import METRICS, FolderWatch, record_uncompiled, step_of
from dnamdlm.training.run_log import RunLog
from dnamdlm.training.saving import Saver
from dnamdlm.training.signals import Finished, OutOfTime, StopRequest, restored_handlers
from dnamdlm.training.step_times import Workload
from dnamdlm.training.stopping import StopAgreement
from dnamdlm.training.trainer_settings import TrainerSettings
from dnamdlm.training.update_check import UpdateCheck
from dnamdlm.training.validating import Validation, Validator


class SameFacts(pl.Callback):
    """Refuses a run whose ranks would start from different data or steps."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.facts = facts

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare as soon as the ranks can communicate."""
        del trainer, pl_module, stage
        require_same(self.facts)


@dataclass(frozen=True)
class RunPlan:
    """What decides the course of one run.

    Attributes:
        run_dir: the claimed run folder.
        seed: seed of the run.
        settings: trainer settings.
        optimizer: its settings.
        learning_rate: schedule of the learning rate.
        length: positions per window.
        description: content of `model.json` in every checkpoint.
        names: columns of the metrics file.
        validation: computes the validation columns of the averaged model; None never validates.
        windows_per_validation: windows times draws that it reads.
        deadline: moment of `time.monotonic` at which `settings.max_minutes` are over, or None.
        checkpoint: verified checkpoint folder to resume from, or None.
        loggers: further Lightning loggers.
        facts: what every rank must have found alike.
        compiler: of the loss, see `compiler_of`; None does not compile it.
    """

    run_dir: Path
    seed: int
    settings: TrainerSettings
    optimizer: AdamWSettings
    learning_rate: LearningRateSchedule
    length: int
    description: dict[str, Any]
    names: MetricNames = OF_BASES
    validation: Validation | None = None
    windows_per_validation: int = 0
    deadline: float | None = None
    checkpoint: Path | None = None
    loggers: Sequence[Logger] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    compiler: str | None = None


def run_training(lm: Trainable, stream: BatchStream, plan: RunPlan) -> int:
    """Train until `settings.max_steps`, from a checkpoint or from the weights of `lm`.

    Args:
        lm: the model, on the CPU; trained in place.
        stream: batches by step.
        plan: everything else.

    Returns:
        The number of optimizer steps that the run now has; fewer than `settings.max_steps` where
        the time was over.

    Raises:
        Interrupted: if a signal ended it, after saving.
        TrainingDiverged: if losses, gradients or weights are not finite and do not recover.
        TrainingFailed: if the last step, or the one at a signal, cannot be saved.
    """
    settings = plan.settings
    module = TrainingModule(
        lm,
        plan.optimizer,
        plan.learning_rate,
        max_steps=settings.max_steps,
        averaging_decay=settings.averaging_decay,
        loss_terms=loss_terms_of(
            lm,
            plan.compiler,
            settings,
            # the other processes write nothing.
            given_up=None if launched_rank() else partial(record_uncompiled, plan.run_dir),
        ),
    )
    storage = FolderCheckpointIO(plan.description)
    callback = _callback(plan, storage)
    with (
        restored_handlers(),
        warnings.catch_warnings(),
        arithmetic_of_steps(settings),
    ):
        _hush_lightning()
        devices = hardware(settings)
        trainer = _make_trainer(
            # a run whose last validation was cut still has to start.
            max_steps=max(settings.max_steps, callback.step + 1),
            **devices | {"plugins": [storage, *devices["plugins"]]},
            gradient_clip_val=settings.gradient_clip or None,
            callbacks=[SameFacts(plan.facts), callback],
            logger=list(plan.loggers),
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
        _run(trainer, module, data, plan, callback.stop.request)
    return callback.step


def _callback(plan: RunPlan, storage: FolderCheckpointIO) -> RunCallback:
    settings, first_step = plan.settings, step_of(plan.checkpoint)
    stop = StopAgreement(StopRequest(plan.deadline))
    guard = UpdateGuard(sigmas=settings.spike_sigmas, max_skips=settings.max_skipped_in_a_row)
    return RunCallback(
        seed=plan.seed,
        settings=settings,
        updates=UpdateCheck(plan.run_dir, plan.seed, guard),
        validator=Validator(
            plan.validation,
            valid_every=settings.valid_every,
            max_steps=settings.max_steps,
            stop=stop,
        ),
        run_log=RunLog(
            plan.run_dir / METRICS,
            plan.names,
            positions_per_step=settings.global_batch_size * plan.length,
            max_steps=settings.max_steps,
            first_step=first_step,
            time_needed=lambda seconds: _time_needed(plan, seconds),
            log_every=settings.log_every,
        ),
        saver=Saver(plan.run_dir, storage, keep=settings.keep_checkpoints),
        stop=stop,
        watch=FolderWatch(plan.run_dir),
        first_step=first_step,
    )


def _time_needed(plan: RunPlan, seconds: float) -> str:
    """How long the run still takes if a step takes so many seconds."""
    settings = plan.settings
    return Workload(
        step_of(plan.checkpoint),
        settings.max_steps,
        settings.valid_every,
        plan.windows_per_validation,
        settings.global_batch_size // num_ranks(),
    ).sentence(
        seconds,
        limit=settings.max_minutes,
        left=None if plan.deadline is None else plan.deadline - time.monotonic(),
    )


def _run(
    trainer: pl.Trainer,
    module: TrainingModule,
    data: StreamDataModule,
    plan: RunPlan,
    request: StopRequest,
) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=plan.checkpoint, weights_only=True)
    except (Finished, OutOfTime):
        pass
    except SystemExit:
        if request.is_forced:
            raise KeyboardInterrupt from None
        raise
    except RuntimeError as error:
        # ranks that Lightning started here would wait for this one without end.
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        if trainer.world_size > 1 and is_lost_connection(error):
            raise TrainingFailed(
                "another rank has ended and reports the reason if it can; the newest checkpoint "
                f"in {plan.run_dir} is whole, and the same command resumes from it"
            ) from error
        raise


def check_devices(settings: TrainerSettings) -> int:
    """Refuse devices, batch sizes and compilation that are not possible here, at the start.

    Returns:
        The number of ranks.

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
    check_compile(settings)
    return trainer.world_size


def _make_trainer(**arguments: Any) -> pl.Trainer:
    try:
        return pl.Trainer(**arguments)
    except (ValueError, ModuleNotFoundError, MisconfigurationException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(f"the settings in trainer.* cannot be used here: {reason}") from error


def _hush_lightning() -> None:
    # its notes on devices and cloud services do not concern a user of this package.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # advice that does not apply: there is no validation loop, and workers would be slower here.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*you have no `val_dataloader`.*")
    # a machine of a cluster may train without its scheduler.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    # nothing here changes the output of a network in place.
    warnings.filterwarnings("ignore", message=".*returned a view tensor.*")
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
    # asked for where torch has one, see `arithmetic_of_steps`.
    warnings.filterwarnings("ignore", message=".*deterministic implementation.*")
    warnings.filterwarnings("ignore", message=".*IterableDataset.*has `__len__`.*")
