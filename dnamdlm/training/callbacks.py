"""What happens around the steps of a run: averaging, validation, metrics, checkpoints, stopping."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.optim import Optimizer

from dnamdlm.data.batch import Batch
from dnamdlm.errors import CheckpointError
from dnamdlm.training.checkpointing import (
    FolderCheckpointIO,
    all_finite,
    checkpoint_folder,
    is_saved,
    prune,
)
from dnamdlm.training.failures import TrainingDiverged, TrainingFailed
from dnamdlm.training.guard import UpdateGuard, dump_batches
from dnamdlm.training.metrics import OF_BASES, Figures, MetricsFile, lacks_figures
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.progress import TrainingProgress
from dnamdlm.training.ranks import StopAgreement
from dnamdlm.training.signals import Finished, Interrupted, StopRequest, ValidationCut

logger = logging.getLogger(__name__)

# figures of a model; the second argument is called with (windows done, windows in all).
Validation = Callable[[nn.Module, Callable[[int, int], None]], Mapping[str, float]]


@dataclass(frozen=True)
class Schedule:
    """When things happen, in optimizer steps.

    Attributes:
        max_steps: optimizer steps of the whole run.
        log_every: steps between rows of the metrics file.
        valid_every: steps between validations; the last step is always validated.
        checkpoint_every: steps between checkpoints; the last step is always saved.
        keep_checkpoints: newest checkpoints that stay on disk.
    """

    max_steps: int
    log_every: int
    valid_every: int
    checkpoint_every: int
    keep_checkpoints: int


class RunCallback(pl.Callback):
    """Carries one run from its first step to its last, in an order that resuming reproduces.

    After an update: average, then validation, then the metrics row. Checkpoints are written at the
    start of the next batch, when Lightning's counters all agree.

    Args:
        run_dir: the run folder.
        seed: seed of the run; dropout is seeded from (seed, step, micro step, rank).
        schedule: when to log, validate and save.
        storage: writes the checkpoints.
        guard: judges each update.
        bases_per_step: positions in one global batch.
        validate: gives the validation columns of the averaged model; a signal ends it early.
        resumed_step: optimizer steps already done.
        figures: what the losses are called.
    """

    def __init__(
        self,
        *,
        run_dir: Path,
        seed: int,
        schedule: Schedule,
        storage: FolderCheckpointIO,
        guard: UpdateGuard,
        bases_per_step: int,
        validate: Validation | None,
        resumed_step: int,
        figures: Figures = OF_BASES,
    ) -> None:
        self.run_dir = run_dir
        self.seed = seed
        self.schedule = schedule
        self.storage = storage
        self.guard = guard
        self.bases_per_step = bases_per_step
        self.validate = validate
        self.figures = figures
        self.stop = StopRequest()
        self.agreement = StopAgreement(self.stop)
        self.step = resumed_step
        self.save_due = False
        self.batches: list[Batch] = []
        self.fault: str | None = None
        self.cut_by: int | None = None
        self.gradient_norm = float("nan")
        self.metrics: MetricsFile | None = None
        self.progress: TrainingProgress | None = None
        self.started = self.row_time = time.monotonic()
        self.row_step = resumed_step
        self.paused = 0.0

    def state_dict(self) -> dict[str, Any]:
        """What the rule for updates has to remember."""
        return {"guard": self.guard.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.guard.load(state_dict["guard"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the metrics file, take over the signals, and validate where a signal forbade it.

        Raises:
            Finished: if all steps are done.
        """
        self.stop.install()
        self.agreement = StopAgreement(self.stop)
        if trainer.is_global_zero:
            self.metrics = MetricsFile(
                self.run_dir / "metrics.csv", self.step, self.figures.columns
            )
            self.progress = TrainingProgress(self.schedule.max_steps, self.step)
            self.progress.__enter__()
        self.started = self.row_time = time.monotonic()
        is_cut = self.is_validated(self.step) and lacks_figures(
            self.run_dir / "metrics.csv", self.step, self.figures.valid
        )
        if trainer.strategy.broadcast(is_cut) and isinstance(pl_module, TrainingModule):
            self._validate_again(trainer, pl_module)
        if self.step >= self.schedule.max_steps:
            self.agreement.finish()
            raise Finished

    def is_validated(self, step: int) -> bool:
        """Whether the model is validated after so many steps."""
        is_due = step % self.schedule.valid_every == 0 or step == self.schedule.max_steps
        return self.validate is not None and step > 0 and is_due

    def _validate_again(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        begin = time.monotonic()
        try:
            figures = self._validate(module)
        except ValidationCut as cut:
            # nothing has changed since the checkpoint.
            self.agreement.finish()
            raise Interrupted(cut.number, self.step) from None
        self.paused += time.monotonic() - begin
        if self.metrics is not None and self.progress is not None:
            row = self.metrics.complete(figures)
            self.progress.report(row)
            self._tell_loggers(trainer, row)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what is due, stop if asked, and seed what the coming batch draws."""
        micro_step = batch_idx % trainer.accumulate_grad_batches
        if micro_step == 0:
            signal_number = self.agreement.number()
            if signal_number is None and self.save_due:
                self.save(trainer, pl_module, must=False)
                # a signal that came meanwhile is about this step too.
                signal_number = self.agreement.number_of_one()
            if signal_number is not None:
                self.save(trainer, pl_module, must=True)
                self.agreement.finish()
                raise Interrupted(signal_number, self.step)
            self.batches = []
            if isinstance(pl_module, TrainingModule):
                pl_module.begin_step()
        self.batches.append(batch)
        torch.manual_seed(_mixed(self.seed, self.step, micro_step, trainer.global_rank))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Let a sound update through; take the gradients away from any other, so that none is made.

        The norm is that before clipping.
        """
        del optimizer
        if not isinstance(pl_module, TrainingModule):
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        loss = trainer.strategy.reduce(pl_module.step_loss(), reduce_op="mean")
        # one wait for the device instead of two.
        both = torch.stack([_whole(loss).double(), _whole(norm).double()]).tolist()
        self.gradient_norm = both[1]
        self.fault = self.guard.judge(*both)
        if self.fault is None:
            return
        for parameter in pl_module.parameters():
            parameter.grad = None
        pl_module.forget_step()
        path = dump_batches(
            self.run_dir, self.batches, step=self.step, rank=trainer.global_rank,
            reason=self.fault,
            facts={"seed": self.seed, "loss": both[0], "gradient_norm": both[1]},
        )  # fmt: skip
        if trainer.is_global_zero:
            logger.warning(
                "step %d made no update: %s; its windows are in %s", self.step + 1, self.fault, path
            )
        if not self._is_finite(trainer, pl_module):
            raise TrainingDiverged(
                f"a weight, average or moment is nan or infinite at step {self.step}; the newest "
                f"checkpoint is from before, and the batch is in {path}"
            )
        if self.guard.has_given_up():
            raise TrainingDiverged(
                f"{self.guard.in_a_row} steps in a row made no update, the last because "
                f"{self.fault}; look at the windows in {path.parent}, or go on with "
                "resume.allow=[optimizer.learning_rate] and a lower optimizer.learning_rate"
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After an update: average, validate, write the row."""
        del outputs, batch, batch_idx
        if trainer.global_step == self.step or not isinstance(pl_module, TrainingModule):
            return
        self.step = trainer.global_step
        if self.fault is None:
            pl_module.average.update(pl_module.lm)  # pyright: ignore[reportArgumentType]
        is_last = self.step == self.schedule.max_steps
        row: dict[str, float] = {}
        if self.step % self.schedule.log_every == 0 or is_last:
            row = self._training_row(trainer, pl_module)
        self.cut_by = None
        if self.is_validated(self.step):
            begin = time.monotonic()
            try:
                row |= self._validate(pl_module)
            except ValidationCut as cut:
                self.cut_by = cut.number
            self.paused += time.monotonic() - begin
        if self.step % self.schedule.checkpoint_every == 0:
            self.save_due = True
        if self.progress is not None:
            self.progress.advance(self.step)
        # a row without its figures tells the resumed run to validate.
        if row or self.cut_by is not None:
            self._write(row, trainer)

    def _training_row(self, trainer: pl.Trainer, module: TrainingModule) -> dict[str, float]:
        bits = module.window.take_bits_per_base()
        elapsed = max(1e-9, time.monotonic() - self.row_time - self.paused)
        rate = (self.step - self.row_step) * self.bases_per_step / elapsed
        self.row_time, self.row_step, self.paused = time.monotonic(), self.step, 0.0
        row = {
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            self.figures.train: bits,
            "bases_per_second": rate,
            "gradient_norm": self.gradient_norm,
            "skipped_updates": self.guard.skipped,
        }
        # where no step was sound there is no loss, and an empty field says so.
        return {name: value for name, value in row.items() if math.isfinite(value)}

    def _validate(self, module: TrainingModule) -> dict[str, float]:
        if self.validate is None:
            return {}
        lm = module.lm
        if not isinstance(lm, nn.Module):
            raise TypeError("a language model without weights cannot be validated here")
        was_training = lm.training
        lm.eval()
        try:
            with module.average.applied_to(lm), torch.no_grad():
                return dict(self.validate(lm, self._between_batches))
        finally:
            lm.train(was_training)

    def _between_batches(self, done: int, total: int) -> None:
        """Called after each batch of a validation, on all ranks alike."""
        number = self.agreement.number()
        if number is not None and done < total:
            raise ValidationCut(number)

    def _write(self, row: dict[str, float], trainer: pl.Trainer) -> None:
        if self.metrics is None or self.progress is None:
            return
        seconds = self.metrics.seconds_before + time.monotonic() - self.started
        row = {
            "step": self.step,
            "bases": self.step * self.bases_per_step,
            "seconds": seconds,
            **row,
        }
        self.metrics.append(row)
        self.progress.report(row)
        self._tell_loggers(trainer, row)

    def _tell_loggers(self, trainer: pl.Trainer, row: Mapping[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, step=self.step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last step; the run is not at its end if its validation was cut."""
        self.agreement.finish()
        self.save(trainer, pl_module, must=True)
        if self.cut_by is not None:
            raise Interrupted(self.cut_by, self.step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the terminal back, however the run ended."""
        del trainer, pl_module, stage
        if self.progress is not None:
            self.progress.__exit__(None, None, None)
            self.progress = None

    def save(self, trainer: pl.Trainer, module: pl.LightningModule, *, must: bool) -> None:
        """Write the checkpoint of the present step, unless it is there; never nan weights.

        Args:
            trainer: of the run.
            module: of the run.
            must: whether a failure ends the run. Otherwise it is logged, and training goes on
                until the next checkpoint is due.

        Raises:
            TrainingDiverged: if a weight is not finite.
            TrainingFailed: if it cannot be written and `must`.
        """
        self.save_due = False
        begin = time.monotonic()
        target = checkpoint_folder(self.run_dir, self.step)
        if not trainer.strategy.broadcast(trainer.is_global_zero and is_saved(target)):
            if not self._is_finite(trainer, module):
                raise TrainingDiverged(
                    f"a weight, average or moment is nan or infinite at step {self.step}; nothing "
                    "was saved, the newest checkpoint is from before"
                )
            trainer.save_checkpoint(target)
        failure: str | None = None
        if trainer.is_global_zero:
            try:
                if self.storage.failure is not None:
                    raise self.storage.failure
                prune(target.parent, self.schedule.keep_checkpoints)
            except CheckpointError as error:
                failure = str(error)
        failure = trainer.strategy.broadcast(failure)
        self.paused += time.monotonic() - begin
        if failure is not None and must:
            raise TrainingFailed(f"step {self.step} is not saved: {failure}")
        if failure is not None and trainer.is_global_zero:
            logger.error(
                "step %d is not saved: %s; training goes on until the next checkpoint is due",
                self.step,
                failure,
            )

    def _is_finite(self, trainer: pl.Trainer, module: pl.LightningModule) -> bool:
        """Whether weights, average and moments are finite, on every rank."""
        moments = {
            f"{number}.{name}": value
            for number, state in enumerate(trainer.optimizers[0].state.values())
            for name, value in state.items()
            if isinstance(value, torch.Tensor)
        }
        average = module.average.shadow if isinstance(module, TrainingModule) else {}
        parts = (module.state_dict(), average, moments)
        finite = all(all_finite({k: _local(v) for k, v in part.items()}) for part in parts)
        return trainer.strategy.reduce_boolean_decision(finite)


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a sharded tensor that lies here."""
    local: Callable[[], torch.Tensor] | None = getattr(tensor, "to_local", None)
    return tensor if local is None else local()


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """A sharded number as an ordinary one."""
    whole: Callable[[], torch.Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if whole is None else whole()


def _mixed(*numbers: int) -> int:
    """A 63-bit seed from several numbers, well spread whatever they are."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
