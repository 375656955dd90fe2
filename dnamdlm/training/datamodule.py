"""Batches for Lightning: an endless stream indexed by the step, so that resuming is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dnamdlm.data.batch import Batch
from dnamdlm.data.data_source import BatchStream
from dnamdlm.training.failures import TrainingFailed
from dnamdlm.training.signals import ignore_stopping_signals


@dataclass(frozen=True)
class Share:
    """Which part of the stream one process reads."""

    rank: int
    world_size: int
    num_micro_steps: int


class StepIndexedBatches(IterableDataset[Batch]):
    """Micro-batches from `first_step` on, in order, for any number of loader workers."""

    def __init__(self, stream: BatchStream, share: Share, first_step: int) -> None:
        self.stream = stream
        self.share = share
        self.first_step = first_step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        # the loader takes one batch from each worker in turn, so worker w gives every n-th batch.
        offset, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        position = self.first_step * self.share.num_micro_steps + offset
        while True:
            step, micro_step = divmod(position, self.share.num_micro_steps)
            yield self.stream.batch(
                step,
                rank=self.share.rank,
                world_size=self.share.world_size,
                micro_step=micro_step,
                num_micro_steps=self.share.num_micro_steps,
            )
            position += stride


class StreamLoader(DataLoader[Batch]):
    """A loader that reports in one sentence that one of its processes was killed."""

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yield the batches.

        Raises:
            TrainingFailed: if a worker is gone.
        """
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (ConnectionError, EOFError) as error:
                # killed while it sent a batch; in other cases torch itself names the worker.
                raise TrainingFailed(
                    "a loader worker was killed, perhaps for lack of memory; the checkpoints are "
                    "whole, and the same command resumes; use trainer.num_workers=0 if it recurs"
                ) from error
            yield batch


class StreamDataModule(pl.LightningDataModule):
    """Gives Lightning the stream from the present step of the trainer on.

    Args:
        stream: source of batches.
        num_micro_steps: micro-batches per optimizer step.
        num_workers: loader processes; 0 reads in the training process.
        first_step: gives the number of finished optimizer steps when training begins.
    """

    def __init__(
        self,
        stream: BatchStream,
        *,
        num_micro_steps: int,
        num_workers: int,
        first_step: Callable[[], int],
    ) -> None:
        super().__init__()
        self.stream = stream
        self.num_micro_steps = num_micro_steps
        self.num_workers = num_workers
        self.first_step = first_step

    def train_dataloader(self) -> DataLoader[Batch]:
        """The loader from the present step on."""
        trainer = self.trainer
        share = Share(
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            num_micro_steps=self.num_micro_steps,
        )
        dataset = StepIndexedBatches(self.stream, share, self.first_step())
        return StreamLoader(
            dataset,
            batch_size=None,
            num_workers=self.num_workers,
            worker_init_fn=ignore_stopping_signals,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move a batch to the device of the model."""
        del dataloader_idx
        # pinned by the loader, so that the copy need not be waited for.
        return batch.to(device, non_blocking=device.type == "cuda")
