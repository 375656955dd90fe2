"""Training a predictor on labelled sequences, with the epoch chosen on validation rows alone.

The protocol is that of Genomic Benchmarks as HyenaDNA and Caduceus use it: AdamW, a short warm-up,
a cosine down to a tenth, ten epochs, and the weights of the epoch with the best validation metric.
The schedule ends with the last step taken. The same seed on the same machine gives the same
weights.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.data.tasks.labelled import Kind, LabelledSet
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import figures
from dnamdlm.lm.states.heads import opposite, predict_outputs
from dnamdlm.progress import Progress
from dnamdlm.training.head_state import EpochKeeper

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneSettings:
    """The `training` group of `dnamdlm.finetune`.

    Attributes:
        epochs: passes over the training rows.
        batch_size: rows per step.
        learning_rate: at the peak.
        weight_decay: on matrices only.
        warmup_fraction: share of the steps with a rising learning rate.
        final_factor: last learning rate over the peak.
        gradient_clip: bound on the gradient norm.
        beta1: of AdamW.
        beta2: of AdamW.
    """

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup_fraction: float = 0.01
    final_factor: float = 0.1
    gradient_clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be above 0")
        for name in ("warmup_fraction", "final_factor", "beta1", "beta2"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must lie in 0..1")


@dataclass(frozen=True)
class Epoch:
    """Mean training loss of one pass, and the metrics of the validation rows after it.

    Epoch 0 is what the predictor was before the first pass, and has no loss.
    """

    epoch: int
    train_loss: float | None
    valid: dict[str, float]


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of the targets of a regression; a head predicts z-scores."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, kind: Kind, targets: NDArray) -> TargetScale:
        """The scale of training targets; nothing is scaled for classes and labels."""
        if kind != "regression":
            return cls(np.zeros(1), np.ones(1))
        deviation = targets.std(axis=0)
        return cls(targets.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def wanted(self, kind: Kind, targets: NDArray) -> Tensor:
        """Targets as the loss takes them: class numbers, or standardized numbers in float32."""
        if kind == "regression":
            targets = (targets - self.mean) / self.deviation
        return torch.from_numpy(targets if kind == "classes" else targets.astype(np.float32))

    def restore(self, outputs: NDArray) -> NDArray:
        """Outputs of a head in the units of the targets."""
        return outputs * self.deviation + self.mean


def train_predictor(
    predictor: Any,
    kind: Kind,
    train: LabelledSet,
    valid: LabelledSet,
    settings: FinetuneSettings,
    *,
    metric: str,
    seed: int,
    device: torch.device | str = "cpu",
    tokens_at_once: int = 4096,
    label: str = "",
    keeper: EpochKeeper | None = None,
    counts_start: bool = False,
) -> list[Epoch]:
    """Train in place; the predictor ends with the weights of its best epoch.

    Args:
        predictor: a module that is a `SequencePredictor`; frozen parameters stay as they are.
        kind: of the targets.
        train: rows to learn from.
        valid: rows that choose the epoch.
        settings: of the training.
        metric: chooses the epoch; larger is better except for mse; of equals the earliest wins.
        seed: of the order of rows, the strands and dropout.
        device: where the predictor is.
        tokens_at_once: bound on the tokens of one call in validation.
        label: prefix of the log lines.
        keeper: keeps the state after each epoch, from which the same call resumes.
        counts_start: the predictor as it is given is a choice too, as epoch 0.

    Raises:
        FitInterrupted: if a signal ended the fit.
    """
    keeper = keeper or EpochKeeper()
    scale = TargetScale.of(kind, train.targets)
    optimizer = _optimizer(predictor, settings)
    steps = settings.epochs * math.ceil(len(train) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _factor(settings, steps))
    passes = _Passes(
        predictor, train, scale.wanted(kind, train.targets), _loss(kind), optimizer, schedule,
        settings, device,
    )  # fmt: skip
    judge = _Judge(
        predictor, kind, valid, scale, metric, tokens_at_once, device,
        label, settings.epochs,
    )  # fmt: skip
    history: list[Epoch] = []
    best: tuple[float, dict[str, Tensor]] | None = None
    with torch.random.fork_rng(devices=_gpus(device)):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        found = keeper.restore(predictor, optimizer)
        if found is not None:
            facts, weights = found
            history = [Epoch(**item) for item in facts["history"]]
            kept = next(item for item in history if item.epoch == facts["best"])
            best = (_score(kept, metric), weights)
            rng.bit_generator.state = facts["order"]
            schedule.load_state_dict(facts["schedule"])
            logger.info("%sresumes after epoch %d", label, history[-1].epoch)
        elif counts_start:
            history = [judge.epoch(0, None)]
            best = (_score(history[0], metric), copy.deepcopy(predictor.state_dict()))
        done = history[-1].epoch if history else 0
        first = done * (steps // settings.epochs)
        with Progress(f"{label}training", steps, "steps", first=first) as progress:
            for epoch in range(done + 1, settings.epochs + 1):
                history.append(judge.epoch(epoch, passes.run(rng, progress, keeper)))
                score = _score(history[-1], metric)
                if best is None or score > best[0]:
                    best = (score, copy.deepcopy(predictor.state_dict()))
                facts = {
                    "history": [asdict(item) for item in history],
                    "best": _best_epoch(history, metric),
                    "order": rng.bit_generator.state,
                    "schedule": schedule.state_dict(),
                }
                keeper.save(predictor, best[1], optimizer, facts)
                keeper.check()
    if best is not None:
        predictor.load_state_dict(best[1])
    return history


def _score(epoch: Epoch, metric: str) -> float:
    """What epochs are compared by; larger is better."""
    value = -epoch.valid[metric] if metric == "mse" else epoch.valid[metric]
    return -math.inf if math.isnan(value) else value


def _best_epoch(history: list[Epoch], metric: str) -> int:
    """Number of the best epoch; of equals the earliest."""
    return max(history, key=lambda epoch: (_score(epoch, metric), -epoch.epoch)).epoch


@dataclass(frozen=True)
class _Judge:
    """The validation rows, and how a predictor reads them."""

    predictor: Any
    kind: Kind
    valid: LabelledSet
    scale: TargetScale
    metric: str
    tokens_at_once: int
    device: torch.device | str
    label: str
    epochs: int

    def epoch(self, number: int, train_loss: float | None) -> Epoch:
        """What the predictor gives now; one line is logged."""
        self.predictor.eval()
        outputs = predict_outputs(
            self.predictor,
            self.valid.sequences,
            tokens_at_once=self.tokens_at_once,
            device=self.device,
        )
        found = figures(self.kind, self.valid.targets, self.scale.restore(outputs))
        shown = "" if train_loss is None else f"training loss {train_loss:.4f}, "
        logger.info(
            "%sepoch %d/%d: %svalidation %s %.4f",
            self.label, number, self.epochs, shown, self.metric, found[self.metric],
        )  # fmt: skip
        return Epoch(number, train_loss, found)


@dataclass(frozen=True)
class _Passes:
    """Passes over the training rows, with what they share."""

    predictor: Any
    train: LabelledSet
    targets: Tensor
    loss_of: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    settings: FinetuneSettings
    device: torch.device | str

    def run(self, rng: np.random.Generator, progress: Progress, keeper: EpochKeeper) -> float:
        """One pass in a new order; the mean training loss.

        Raises:
            FitInterrupted: if a signal arrives.
        """
        predictor, train = self.predictor, self.train
        predictor.train()
        trained = [parameter for parameter in predictor.parameters() if parameter.requires_grad]
        order = rng.permutation(len(train))
        turned = rng.random(len(train)) < 0.5
        losses: list[Tensor] = []
        for start in range(0, len(order), self.settings.batch_size):
            rows = order[start : start + self.settings.batch_size]
            if len(rows) == 1 and len(order) > 1:
                # batch norm needs two rows.
                rows = order[start - 1 : start + 1]
            chosen = [
                opposite(train.sequences[i], predictor.vocabulary)
                if predictor.both_strands and turned[i]
                else train.sequences[i]
                for i in rows
            ]
            outputs = predictor(predictor.collate(chosen).to(self.device))
            loss = self.loss_of(outputs, self.targets[rows].to(self.device))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, self.settings.gradient_clip)
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.detach())
            progress.advance()
            keeper.check()
        return float(torch.stack(losses).mean())


def _loss(kind: Kind) -> Callable[[Tensor, Tensor], Tensor]:
    if kind == "classes":
        return functional.cross_entropy
    if kind == "labels":
        return functional.binary_cross_entropy_with_logits
    return functional.mse_loss


def _optimizer(predictor: nn.Module, settings: FinetuneSettings) -> torch.optim.Optimizer:
    trained = [parameter for parameter in predictor.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
    )


def _factor(settings: FinetuneSettings, steps: int) -> Callable[[int], float]:
    warmup = max(1, round(settings.warmup_fraction * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        low = settings.final_factor
        return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2

    return factor


def _gpus(device: torch.device | str) -> list[int]:
    """The GPU whose random state is restored afterwards."""
    chosen = torch.device(device)
    if chosen.type != "cuda":
        return []
    return [torch.cuda.current_device() if chosen.index is None else chosen.index]
