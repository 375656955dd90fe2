"""The Lightning module: one language model, one optimizer, one moving average."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from dnamdlm.data.batch import Batch
from dnamdlm.lm.interface import LanguageModel
from dnamdlm.training.averaging import MovingAverage
from dnamdlm.training.optimizers import AdamWSettings, LearningRateSchedule

NATS_PER_BIT = math.log(2.0)


class TrainingModule(pl.LightningModule):
    """Minimises the mean of a language model's loss per position.

    The loss of a micro-batch is divided by its number of positions, a constant, so that gradients
    do not depend on how a global batch is cut into micro-batches and ranks.

    Args:
        lm: the language model, also an `nn.Module`.
        optimizer: AdamW settings.
        learning_rate: schedule of the step size.
        max_steps: optimizer steps of the whole run.
        averaging_decay: decay of the moving average of the weights.
    """

    def __init__(
        self,
        lm: LanguageModel,
        optimizer: AdamWSettings,
        learning_rate: LearningRateSchedule,
        *,
        max_steps: int,
        averaging_decay: float,
    ) -> None:
        super().__init__()
        if not isinstance(lm, nn.Module):
            raise TypeError(f"a {type(lm).__name__} has no weights to train")
        self.lm = lm
        self.settings = optimizer
        self.learning_rate = learning_rate
        self.max_steps = max_steps
        self.average = MovingAverage(lm, averaging_decay)
        self.window = LossWindow()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss in nats per position, weighted where the batch gives weights."""
        del batch_idx
        terms = self.lm.loss_terms(batch)
        self.window.add(terms.nats, terms.valid)
        loss = terms.nats if terms.minimised is None else terms.minimised
        weighted = loss if batch.weight is None else loss * batch.weight
        return weighted.sum() / batch.tokens.numel()

    def on_fit_start(self) -> None:
        """The average lives where the weights live."""
        self.average.to(self.device)

    def configure_optimizers(self) -> Any:
        """AdamW and the schedule, stepped once per update."""
        optimizer = self.settings.build(self.lm)
        schedule = LambdaLR(optimizer, lambda step: self.learning_rate.factor(step, self.max_steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the moving average, and the sums of a log line that is under way."""
        checkpoint["window"] = self.window.state()
        checkpoint["average"] = {
            "weights": self.average.shadow,
            "num_updates": self.average.num_updates,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the moving average and the sums up again."""
        self.window.load(checkpoint["window"])
        average = checkpoint["average"]
        self.average.load(average["weights"], average["num_updates"])


class LossWindow:
    """Sums of the unweighted loss since the last log line; kept on the device, read rarely."""

    def __init__(self) -> None:
        self.nats: Tensor | None = None
        self.count: Tensor | None = None

    @torch.no_grad()
    def add(self, nats: Tensor, valid: Tensor) -> None:
        """Count one micro-batch; both of shape (B, L)."""
        total = nats.detach().double().sum()
        count = valid.sum()
        self.nats = total if self.nats is None else self.nats.to(total.device) + total
        self.count = count if self.count is None else self.count.to(count.device) + count

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps; reading it waits for the device."""
        return {
            "nats": None if self.nats is None else float(self.nats),
            "count": None if self.count is None else int(self.count),
        }

    def load(self, state: dict[str, float | int | None]) -> None:
        """Go on from the sums of a checkpoint."""
        nats, count = state["nats"], state["count"]
        self.nats = None if nats is None else torch.tensor(nats, dtype=torch.float64)
        self.count = None if count is None else torch.tensor(count)

    def take_bits_per_base(self) -> float:
        """Mean bits per scored position since the last call; nan where none was seen."""
        if self.nats is None or self.count is None:
            return math.nan
        nats, count = float(self.nats), int(self.count)
        self.nats = self.count = None
        return nats / count / NATS_PER_BIT if count else math.nan
