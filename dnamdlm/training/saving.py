"""Checkpoints of a run: written whole, never with weights that are not finite, old ones pruned."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning.pytorch as pl

from dnamdlm.errors import CheckpointError
from dnamdlm.training.checkpointing import FolderCheckpointIO, checkpoint_folder, is_saved, prune
from dnamdlm.training.failures import TrainingDiverged, TrainingFailed
from dnamdlm.training.finiteness import is_finite
from dnamdlm.training.module import TrainingModule

logger = logging.getLogger(__name__)


class Saver:
    """Writes the checkpoints of one run.

    Args:
        run_dir: the run folder.
        storage: reads and writes checkpoint folders.
        keep: newest checkpoints that stay on disk.

    Attributes:
        is_due: whether a checkpoint is to be written before the next update.
    """

    def __init__(self, run_dir: Path, storage: FolderCheckpointIO, *, keep: int) -> None:
        self.run_dir = run_dir
        self.storage = storage
        self.keep = keep
        self.is_due = False

    def save(self, trainer: pl.Trainer, module: TrainingModule, step: int, *, must: bool) -> None:
        """Write the checkpoint of a step unless it exists; call it on every rank.

        Args:
            trainer: of the run.
            module: of the run.
            step: optimizer steps done.
            must: whether a failure ends the run. Otherwise it is logged, and training continues
                until the next checkpoint is due.

        Raises:
            TrainingDiverged: if a weight is not finite.
            TrainingFailed: if it cannot be written and `must`.
        """
        self.is_due = False
        target = checkpoint_folder(self.run_dir, step)
        if not trainer.strategy.broadcast(trainer.is_global_zero and is_saved(target)):
            if not is_finite(trainer, module):
                raise TrainingDiverged(
                    f"a weight, average or moment is nan or infinite at step {step}; nothing "
                    "was saved, the newest checkpoint is from an earlier step"
                )
            trainer.save_checkpoint(target)
        failure = trainer.strategy.broadcast(self._finish(trainer, target))
        if failure is not None and must:
            raise TrainingFailed(f"step {step} is not saved: {failure}")
        if failure is not None and trainer.is_global_zero:
            logger.error(
                "step %d is not saved: %s; training continues until the next checkpoint is due",
                step,
                failure,
            )

    def _finish(self, trainer: pl.Trainer, target: Path) -> str | None:
        """Prune on rank 0; why this checkpoint or the pruning failed, if it did."""
        if not trainer.is_global_zero:
            return None
        try:
            if self.storage.failure is not None:
                raise self.storage.failure
            prune(target.parent, self.keep)
        except CheckpointError as error:
            return str(error)
        return None
