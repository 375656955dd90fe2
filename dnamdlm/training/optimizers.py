"""Optimizers with parameter groups, and learning-rate schedules as functions of the step alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

from torch import nn
from torch.optim import AdamW, Optimizer

from dnamdlm.errors import ConfigError


@dataclass(frozen=True)
class AdamWSettings:
    """Decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Attributes:
        learning_rate: peak step size.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: on matrices only, see `parameter_groups`.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.01

    _LIMITS: ClassVar[Mapping[str, float]] = {"beta1": 1.0, "beta2": 1.0, "momentum": 1.0}

    def __post_init__(self) -> None:
        for field in fields(self):
            value, limit = getattr(self, field.name), self._LIMITS.get(field.name, math.inf)
            if not (0.0 <= value < limit) or (field.name == "learning_rate" and value == 0):
                raise ConfigError(f"optimizer.{field.name}={value} must lie in [0, {limit:g})")

    def build(self, module: nn.Module) -> Optimizer:
        """The optimizer over all trainable parameters of `module`."""
        return self._adamw(parameter_groups(module, self.weight_decay))

    def apply_to(self, optimizer: Optimizer, module: nn.Module) -> None:
        """Put these settings into an optimizer that has others, such as those of a checkpoint.

        Its state (moments and number of steps) stays.

        Args:
            optimizer: over the trainable parameters of `module`, as `build` makes it.
            module: of which parameters are decayed.
        """
        for group, own in zip(optimizer.param_groups, self.build(module).param_groups, strict=True):
            group |= {key: value for key, value in own.items() if key != "params"}
            group["initial_lr"] = self.learning_rate

    def _adamw(self, groups: list[dict[str, object]]) -> AdamW:
        return AdamW(groups, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.eps)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices, which are decayed, and the rest.

    A module lists matrices that are not to be decayed, such as embeddings, in `undecayed`.
    """
    exempt = {
        id(getattr(part, name))
        for part in module.modules()
        for name in getattr(part, "undecayed", ())
    }
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            is_decayed = parameter.ndim >= 2 and id(parameter) not in exempt
            (decayed if is_decayed else plain).append(parameter)
    groups = [(decayed, weight_decay), (plain, 0.0)]
    return [{"params": group, "weight_decay": decay} for group, decay in groups if group]


class LearningRateSchedule(Protocol):
    """The factor on the peak learning rate at each step."""

    def factor(self, step: int, max_steps: int) -> float:
        """Factor for the update that follows `step` finished updates."""
        ...


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up, a plateau, then half a cosine down to `final_factor`.

    Attributes:
        warmup_steps: updates until the peak.
        hold_fraction: share of all updates (warm-up included) after which the decay begins.
        final_factor: factor at the last update.
    """

    warmup_steps: int = 100
    hold_fraction: float = 0.0
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps)
        for name in ("hold_fraction", "final_factor"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"learning_rate.{name}={value} must lie in [0, 1]")

    def factor(self, step: int, max_steps: int) -> float:
        """Factor for the update that follows `step` finished updates."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        begin = max(self.warmup_steps, round(self.hold_fraction * max_steps))
        if step <= begin:
            return 1.0
        progress = min(1.0, (step - begin) / max(1, max_steps - begin))
        return self.final_factor + (1 - self.final_factor) * 0.5 * (
            1 + math.cos(math.pi * progress)
        )


@dataclass(frozen=True)
class WarmupConstant:
    """Linear warm-up to the peak, which then stays (the text recipes of the MDLM paper)."""

    warmup_steps: int = 2500

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps)

    def factor(self, step: int, max_steps: int) -> float:
        """Factor for the update that follows `step` finished updates."""
        del max_steps
        return min(1.0, (step + 1) / max(1, self.warmup_steps))


def _check_warmup(warmup_steps: int) -> None:
    if warmup_steps < 0:
        raise ConfigError(f"learning_rate.warmup_steps={warmup_steps} must not be negative")
