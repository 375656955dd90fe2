"""The check before each update: its loss and gradient, and what happens to a faulty one."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import lightning.pytorch as pl
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.training.failures import TrainingDiverged
from dnamdlm.training.finiteness import is_finite
from dnamdlm.training.guard import UpdateGuard, dump_batches
from dnamdlm.training.module import TrainingModule, trained_by
from dnamdlm.training.sharding import whole

logger = logging.getLogger(__name__)


class UpdateCheck:
    """Lets sound updates through; takes the gradients away from any other, so that none is made.

    Args:
        run_dir: the run folder.
        seed: seed of the run, for the record of a faulty update.
        guard: the rule.

    Attributes:
        batches: micro-batches of the present step on this rank.
        fault: why the update of the present step is left out, or None.
        gradient_norm: before clipping.
    """

    def __init__(self, run_dir: Path, seed: int, guard: UpdateGuard) -> None:
        self.run_dir = run_dir
        self.seed = seed
        self.guard = guard
        self.batches: list[Batch] = []
        self.fault: str | None = None
        self.gradient_norm = float("nan")

    def begin_step(self) -> None:
        """The coming micro-batches belong to a new update."""
        self.batches = []

    def metrics(self) -> dict[str, float]:
        """Columns of the metrics file."""
        return {"gradient_norm": self.gradient_norm, "skipped_updates": self.guard.skipped}

    def judge(self, trainer: pl.Trainer, module: TrainingModule, step: int) -> None:
        """Judge the update that follows `step` finished updates; call it on every rank.

        Raises:
            TrainingDiverged: if the run cannot recover.
        """
        trained = trained_by(trainer.optimizers[0])
        norm = torch.nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        module.gradient_norm = norm
        loss = trainer.strategy.reduce(module.step_loss(), reduce_op="mean")
        # one wait for the device instead of two.
        both = torch.stack([whole(loss).double(), whole(norm).double()]).tolist()
        self.gradient_norm = both[1]
        is_overflow = _is_overflow(trainer, *both)
        self.fault = "the gradient overflows" if is_overflow else self.guard.judge(*both)
        if self.fault is None:
            return
        for parameter in module.parameters():
            parameter.grad = None
        module.forget_step()
        if is_overflow:
            return
        path = dump_batches(
            self.run_dir, self.batches, step=step, rank=trainer.global_rank, reason=self.fault,
            facts={"seed": self.seed, "loss": both[0], "gradient_norm": both[1]},
        )  # fmt: skip
        if trainer.is_global_zero:
            logger.warning(
                "step %d made no update: %s; its windows are in %s", step + 1, self.fault, path
            )
        if not is_finite(trainer, module):
            raise TrainingDiverged(
                f"a weight, average or moment is nan or infinite at step {step}; the newest "
                f"checkpoint is from an earlier step, and the batch is in {path}"
            )
        if self.guard.has_given_up():
            raise TrainingDiverged(
                f"{self.guard.in_a_row} steps in a row made no update, the last because "
                f"{self.fault}; look at the windows in {path.parent}, or resume with "
                "resume.allow=[optimizer.learning_rate] and a lower optimizer.learning_rate"
            )


def _is_overflow(trainer: pl.Trainer, loss: float, norm: float) -> bool:
    """Whether a scaled loss was scaled too high, as happens while `16-mixed` finds its scale.

    The scaler halves it after such a step, for which the batch is not to blame.
    """
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    is_found = math.isfinite(norm) or not math.isfinite(loss)
    return scaler is not None and not is_found and scaler.get_scale() > 1.0
