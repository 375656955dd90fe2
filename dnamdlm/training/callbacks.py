"""What happens around the steps of a run: averaging, validation, metrics, checkpoints, stopping."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.optim import Optimizer

from dnamdlm.training.checkpointing import all_finite, checkpoint_folder, prune
from dnamdlm.training.metrics import MetricsFile
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.progress import TrainingProgress
from dnamdlm.training.signals import Interrupted, StopRequest


class TrainingDiverged(RuntimeError):
    """A loss or a weight became nan or infinite; the last good checkpoint stays the newest."""


@dataclass(frozen=True)
class Schedule:
    """When things happen, in optimizer steps.

    Attributes:
        log_every: steps between rows of the metrics file.
        valid_every: steps between validations; the last step is always validated.
        checkpoint_every: steps between checkpoints; the last step is always saved.
        keep_checkpoints: newest checkpoints that stay on disk.
    """

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
        bases_per_step: positions in one global batch.
        validate: gives bits per base of the averaged model on the validation split.
        resumed_step: optimizer steps already done.
    """

    def __init__(
        self,
        *,
        run_dir: Path,
        seed: int,
        schedule: Schedule,
        bases_per_step: int,
        validate: Callable[[nn.Module], float] | None,
        resumed_step: int,
    ) -> None:
        self.run_dir = run_dir
        self.seed = seed
        self.schedule = schedule
        self.bases_per_step = bases_per_step
        self.validate = validate
        self.stop = StopRequest()
        self.step = resumed_step
        self.save_due = False
        self.gradient_norm = float("nan")
        self.metrics: MetricsFile | None = None
        self.progress: TrainingProgress | None = None
        self.started = self.row_time = time.monotonic()
        self.row_step = resumed_step
        self.paused = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the metrics file and take over the signals."""
        del pl_module
        self.stop.install()
        if trainer.is_global_zero:
            self.metrics = MetricsFile(self.run_dir / "metrics.csv", self.step)
            self.progress = TrainingProgress(int(trainer.max_steps), self.step)
            self.progress.__enter__()
        self.started = self.row_time = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what is due, stop if asked, and seed what the coming batch draws."""
        at_step_boundary = batch_idx % trainer.accumulate_grad_batches == 0
        if at_step_boundary and (self.save_due or self.stop.number is not None):
            self.save(trainer, pl_module)
        if at_step_boundary and self.stop.number is not None:
            raise Interrupted(self.stop.number, self.step)
        del batch
        micro_step = batch_idx % trainer.accumulate_grad_batches
        torch.manual_seed(_mixed(self.seed, self.step, micro_step, trainer.global_rank))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure the gradient norm, before clipping, where a row will show it."""
        del trainer, optimizer
        if (self.step + 1) % self.schedule.log_every == 0:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.gradient_norm = float(torch.nn.utils.get_total_norm(gradients))

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
        pl_module.average.update(pl_module.lm)  # pyright: ignore[reportArgumentType]
        is_last = self.step == trainer.max_steps
        row: dict[str, float] = {}
        if self.step % self.schedule.log_every == 0 or is_last:
            row = self._training_row(trainer, pl_module)
        if self.validate and (self.step % self.schedule.valid_every == 0 or is_last):
            begin = time.monotonic()
            row |= {"valid_bits_per_base": self._validate(pl_module)}
            self.paused += time.monotonic() - begin
        if self.step % self.schedule.checkpoint_every == 0:
            self.save_due = True
        if self.progress is not None:
            self.progress.advance(self.step)
        if row:
            self._write(row, trainer)

    def _training_row(self, trainer: pl.Trainer, module: TrainingModule) -> dict[str, float]:
        bits = module.window.take_bits_per_base()
        if not torch.isfinite(torch.tensor(bits)):
            raise TrainingDiverged(
                f"the loss is {bits} at step {self.step}; lower optimizer.learning_rate, the "
                "newest checkpoint is from before"
            )
        elapsed = max(1e-9, time.monotonic() - self.row_time - self.paused)
        rate = (self.step - self.row_step) * self.bases_per_step / elapsed
        self.row_time, self.row_step, self.paused = time.monotonic(), self.step, 0.0
        return {
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train_bits_per_base": bits,
            "bases_per_second": rate,
            "gradient_norm": self.gradient_norm,
        }

    def _validate(self, module: TrainingModule) -> float:
        if self.validate is None:
            return float("nan")
        lm = module.lm
        if not isinstance(lm, nn.Module):
            raise TypeError("a language model without weights cannot be validated here")
        was_training = lm.training
        lm.eval()
        with module.average.applied_to(lm), torch.no_grad():
            bits = self.validate(lm)
        lm.train(was_training)
        return bits

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
        for logger in trainer.loggers:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, step=self.step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last step."""
        self.save(trainer, pl_module)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the terminal back, however the run ended."""
        del trainer, pl_module, stage
        if self.progress is not None:
            self.progress.__exit__(None, None, None)
            self.progress = None

    def save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the checkpoint of the present step, unless it is there; never nan weights."""
        self.save_due = False
        begin = time.monotonic()
        target = checkpoint_folder(self.run_dir, self.step)
        if not target.is_dir():
            if not all_finite(module.state_dict()):
                raise TrainingDiverged(
                    f"a weight is nan or infinite at step {self.step}; nothing was saved, the "
                    "newest checkpoint is from before"
                )
            trainer.save_checkpoint(target)
        if trainer.is_global_zero:
            prune(target.parent, self.schedule.keep_checkpoints)
        self.paused += time.monotonic() - begin


def _mixed(*numbers: int) -> int:
    """A 63-bit seed from several numbers, well spread whatever they are."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
