"""The order of one run: what happens around its steps, and when.

Each job has a class of its own: `UpdateCheck` judges updates, `Validator` validates, `RunLog`
writes metrics, `Saver` writes checkpoints, `StopAgreement` knows of signals. This file calls them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import lightning.pytorch as pl
import torch
from torch.optim import Optimizer

from dnamdlm.training.failures import TrainingFailed
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.run_folder import FolderWatch
from dnamdlm.training.run_log import RunLog
from dnamdlm.training.saving import Saver
from dnamdlm.training.signals import Finished, ValidationCut, stopped_by
from dnamdlm.training.stopping import StopAgreement
from dnamdlm.training.trainer_settings import TrainerSettings
from dnamdlm.training.update_check import UpdateCheck
from dnamdlm.training.validating import Validator


class RunCallback(pl.Callback):
    """Carries one run from its first step to its last, in an order that resuming reproduces.

    After an update: average, then validation, then the metrics row. Checkpoints are written at the
    start of the next batch, when Lightning's counters all agree.

    Args:
        seed: seed of the run; dropout is seeded from (seed, step, micro step, rank).
        settings: when to log, validate and save.
        updates: judges each update.
        validator: computes validation metrics.
        run_log: metrics file, display and loggers.
        saver: writes checkpoints.
        stop: the signals of all ranks.
        watch: notices a run folder that is gone.
        first_step: optimizer steps already done.
    """

    def __init__(
        self,
        *,
        seed: int,
        settings: TrainerSettings,
        updates: UpdateCheck,
        validator: Validator,
        run_log: RunLog,
        saver: Saver,
        stop: StopAgreement,
        watch: FolderWatch,
        first_step: int,
    ) -> None:
        self.seed = seed
        self.settings = settings
        self.updates = updates
        self.validator = validator
        self.run_log = run_log
        self.saver = saver
        self.stop = stop
        self.watch = watch
        self.step = first_step
        self.cut_by: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """What the rule for updates has to remember."""
        return {"guard": self.updates.guard.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.updates.guard.load(state_dict["guard"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals, open the metrics file, and validate where a signal prevented it.

        Raises:
            Finished: if all steps are done.
            Interrupted: if a signal ends the validation again.
        """
        self.stop.begin()
        self.run_log.open(is_writer=trainer.is_global_zero)
        is_missing = self.validator.is_due(self.step) and self.run_log.lacks_validation()
        if trainer.strategy.broadcast(is_missing):
            self._validate_again(trainer, _own(pl_module))
        if self.step >= self.settings.max_steps:
            self.stop.finish()
            raise Finished

    def _validate_again(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        try:
            with self.run_log.paused():
                metrics = self.validator.metrics(module)
        except ValidationCut as cut:
            # nothing has changed since the checkpoint.
            self.stop.finish()
            raise stopped_by(cut.number, self.step) from None
        self.run_log.complete(self.step, metrics, trainer.loggers)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what is due, stop if asked, and seed what the coming batch draws."""
        module = _own(pl_module)
        micro_step = batch_idx % trainer.accumulate_grad_batches
        if micro_step == 0:
            signal_number = self.stop.number()
            if signal_number is None and self.saver.is_due:
                self._save(trainer, module, must=False)
                # a signal that arrived during the save stops at this step too.
                signal_number = self.stop.number_of_one()
            if signal_number is not None:
                self._save(trainer, module, must=True)
                self.stop.finish()
                raise stopped_by(signal_number, self.step)
            self.updates.begin_step()
            module.begin_step()
        self.updates.batches.append(batch)
        torch.manual_seed(_mixed(self.seed, self.step, micro_step, trainer.global_rank))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Let a sound update through and prevent any other."""
        del optimizer
        self.updates.judge(trainer, _own(pl_module), self.step)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After an update: average, validate, write the row.

        Raises:
            TrainingFailed: if the run folder is gone.
        """
        del outputs, batch, batch_idx
        if trainer.global_step == self.step:
            return
        module = _own(pl_module)
        self.step = trainer.global_step
        self.stop.request.has_progress = True
        if self.updates.fault is None:
            module.update_average()
        row: dict[str, float] = {}
        if self.step % self.settings.log_every == 0 or self.step == self.settings.max_steps:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {"learning_rate": rate, **self.updates.metrics()}
            row = self.run_log.training_row(self.step, module.window.take_bits(), row)
        self.cut_by = None
        if self.validator.is_due(self.step):
            try:
                with self.run_log.paused():
                    row |= self.validator.metrics(module)
            except ValidationCut as cut:
                self.cut_by = cut.number
        if self.step % self.settings.checkpoint_every == 0:
            self.saver.is_due = True
        self.run_log.advance(self.step)
        # a row without validation metrics makes the resumed run validate.
        if row or self.cut_by is not None:
            self._check_folder(trainer)
            self.run_log.write(self.step, row, trainer.loggers)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last step; a run whose last validation was cut is not complete."""
        self.stop.finish()
        self._save(trainer, _own(pl_module), must=True)
        if self.cut_by is not None:
            raise stopped_by(self.cut_by, self.step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Release the terminal, however the run ended."""
        del trainer, pl_module, stage
        self.run_log.close()

    def _check_folder(self, trainer: pl.Trainer) -> None:
        """Stop rather than write into a folder that is not that of the run; for all ranks."""
        fault = self.watch.fault() if trainer.is_global_zero else None
        if (fault := trainer.strategy.broadcast(fault)) is None:
            return
        self.stop.finish()
        raise TrainingFailed(
            f"run_dir={self.watch.run_dir} {fault} while the run wrote into it, so it stopped "
            f"after step {self.step} without saving; put the folder back, or give its new place "
            "as run_dir, and the same command resumes from its newest checkpoint"
        )

    def _save(self, trainer: pl.Trainer, module: TrainingModule, *, must: bool) -> None:
        self._check_folder(trainer)
        with self.run_log.paused():
            self.saver.save(trainer, module, self.step, must=must)


def _own(module: pl.LightningModule) -> TrainingModule:
    assert isinstance(module, TrainingModule)
    return module


def _mixed(*numbers: int) -> int:
    """A 63-bit seed from several numbers, well spread whatever they are."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
