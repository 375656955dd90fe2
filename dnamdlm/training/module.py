"""The Lightning module: one language model, one optimizer, one moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dnamdlm.data.batch import Batch
from dnamdlm.lm.language_model import LossTerms, Trainable
from dnamdlm.training.averaging import MovingAverage
from dnamdlm.training.optimizers import AdamWSettings, LearningRateSchedule
from dnamdlm.training.ranks import exchange_device, num_ranks, rank, sum_over_ranks
from dnamdlm.training.sharding import local, shard

NATS_PER_BIT = math.log(2.0)


class TrainingModule(pl.LightningModule):
    """Minimises the mean of a language model's loss per valid position of the global batch.

    The count of valid positions is known only when the whole global batch was seen. So the loss of
    a micro-batch is divided by its number of positions, a constant, and the gradient of the global
    batch is corrected once, before it is clipped. Thus the update does not depend on how a global
    batch is divided into micro-batches and ranks.

    Args:
        lm: the language model, also an `nn.Module`.
        optimizer: its settings.
        learning_rate: schedule of the step size.
        max_steps: optimizer steps of the whole run.
        averaging_decay: decay of the moving average of the weights.
        loss_terms: computes the loss of a micro-batch; None is `lm.loss_terms`.
    """

    def __init__(
        self,
        lm: Trainable,
        optimizer: AdamWSettings,
        learning_rate: LearningRateSchedule,
        *,
        max_steps: int,
        averaging_decay: float,
        loss_terms: Callable[[Batch], LossTerms] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(lm, nn.Module):
            raise TypeError(f"a {type(lm).__name__} has no weights to train")
        self.lm = lm
        self.loss_terms = lm.loss_terms if loss_terms is None else loss_terms
        self.settings = optimizer
        self.learning_rate = learning_rate
        self.max_steps = max_steps
        self.average = MovingAverage(lm, averaging_decay)
        self.window = LossWindow()
        self._micro_losses: list[Tensor] = []
        self._window_before: tuple[Tensor | None, Tensor | None] = (None, None)
        self._num_valid: Tensor | None = None
        self._num_positions = 0
        self.gradient_norm: Tensor | None = None

    @property
    def network(self) -> nn.Module:
        """The language model as a module."""
        assert isinstance(self.lm, nn.Module)
        return self.lm

    def configure_model(self) -> None:
        """Divide the weights and their average over the ranks, if the strategy shards."""
        if self.device_mesh is not None:
            shard(self.network, self.device_mesh["data_parallel"])
            self.average.follow(self.network)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss in nats per position, weighted where the batch gives weights."""
        del batch_idx
        terms = self.loss_terms(batch)
        self.window.add(terms.nats, terms.valid)
        loss = terms.nats if terms.minimised is None else terms.minimised
        weighted = loss if batch.weight is None else loss * batch.weight
        mean = weighted.sum() / batch.tokens.numel()
        self._micro_losses.append(mean.detach())
        count = terms.valid.sum()
        self._num_valid = count if self._num_valid is None else self._num_valid + count
        self._num_positions += batch.tokens.numel()
        return mean

    def begin_step(self) -> None:
        """The coming micro-batches belong to a new update."""
        self._micro_losses = []
        self._num_valid, self._num_positions = None, 0
        self.gradient_norm = None
        self._window_before = (self.window.nats, self.window.count)

    def step_loss(self) -> Tensor:
        """Mean loss of the micro-batches of this update on this rank."""
        return torch.stack(self._micro_losses).mean()

    def update_average(self) -> None:
        """Move the average towards the present weights; call it once per update."""
        self.average.update(self.network)

    def forget_step(self) -> None:
        """Leave the losses of a skipped update out of the metrics."""
        self.window.nats, self.window.count = self._window_before

    def on_after_backward(self) -> None:
        """Turn the mean over positions into the mean over the valid ones of the global batch."""
        is_whole = len(self._micro_losses) == self.trainer.accumulate_grad_batches
        if not is_whole or self._num_valid is None:
            return
        num_valid = sum_over_ranks(self._num_valid.clone()).clamp(min=1)
        # exactly 1 where all positions are valid, which changes no bit of the gradient.
        factor = (self._num_positions * num_ranks() / num_valid).float()
        gradients = [local(p.grad) for p in self.parameters() if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip with the norm by which the update was judged, rather than compute it again.

        Lightning's own way also refuses optimizers of one kernel in mixed precision.
        """
        del gradient_clip_algorithm
        if gradient_clip_val and self.gradient_norm is not None:
            norm = self.gradient_norm
            torch.nn.utils.clip_grads_with_norm_(trained_by(optimizer), gradient_clip_val, norm)

    def on_fit_start(self) -> None:
        """Move the average to the device of the weights."""
        self.average.to(self.device)

    def on_train_start(self) -> None:
        """Take the settings of the optimizer from the config, its state from the checkpoint.

        Lightning restores both, so that a setting that `resume.allow` lets change would not act.
        Where nothing has changed, no bit of a rate changes here.
        """
        (optimizer,) = self.trainer.optimizers
        (scheduled,) = self.trainer.lr_scheduler_configs
        schedule = scheduled.scheduler
        assert isinstance(schedule, LambdaLR)
        self.settings.apply_to(optimizer, self.network)
        schedule.base_lrs = [self.settings.learning_rate for _ in optimizer.param_groups]
        factor = self.learning_rate.factor(schedule.last_epoch, self.max_steps)
        for group in optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * factor

    def configure_optimizers(self) -> Any:
        """AdamW and the schedule, stepped once per update."""
        optimizer = self.settings.build(self.network)
        schedule = LambdaLR(optimizer, lambda step: self.learning_rate.factor(step, self.max_steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the moving average, and the sums of the next metrics row."""
        # the batch at whose start this is written counts as ready, and does so again on resuming.
        for counts in checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"].values():
            if isinstance(counts, dict):
                counts["ready"] = counts["completed"]
        checkpoint["window"] = self.window.state()
        checkpoint["average"] = {
            "weights": self.average.gathered(),
            "num_updates": self.average.num_updates,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the moving average and the sums."""
        self.window.load(checkpoint["window"])
        average = checkpoint["average"]
        self.average.load(average["weights"], average["num_updates"])


def trained_by(optimizer: Optimizer) -> list[nn.Parameter]:
    """The parameters of an optimizer, in its order, which decides the rounding of their norm."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class LossWindow:
    """Sums of the unweighted loss since the last metrics row; kept on the device, read rarely.

    Each rank adds what it sees; reading gives the sums over all ranks, and must be done on all.
    """

    def __init__(self) -> None:
        self.nats: Tensor | None = None
        self.count: Tensor | None = None

    @torch.no_grad()
    def add(self, nats: Tensor, valid: Tensor) -> None:
        """Count one micro-batch; both arguments have shape (B, L)."""
        total = nats.detach().double().sum()
        count = valid.sum()
        self.nats = total if self.nats is None else self.nats.to(total.device) + total
        self.count = count if self.count is None else self.count.to(count.device) + count

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps; reading it waits for the device."""
        nats, count = self._over_ranks()
        return {"nats": nats, "count": count}

    def load(self, state: dict[str, float | int | None]) -> None:
        """Take over the sums of a checkpoint, which one rank holds for all."""
        nats, count = state["nats"], state["count"]
        if nats is None or count is None or rank() > 0:
            self.nats = self.count = None
            return
        self.nats = torch.tensor(nats, dtype=torch.float64)
        self.count = torch.tensor(count)

    def take_bits(self) -> float:
        """Mean bits per scored position since the last call; nan if there were none."""
        nats, count = self._over_ranks()
        self.nats = self.count = None
        if nats is None or not count:
            return math.nan
        return nats / count / NATS_PER_BIT

    def _over_ranks(self) -> tuple[float | None, int | None]:
        nats = None if self.nats is None else float(self.nats)
        count = None if self.count is None else int(self.count)
        if num_ranks() > 1:
            # a rank without a sum takes part, too: the others wait for it.
            sums = torch.tensor([nats or 0.0, count or 0], dtype=torch.float64)
            nats, count = sum_over_ranks(sums.to(exchange_device())).tolist()
            return (nats, int(count)) if count else (None, None)
        return nats, count
