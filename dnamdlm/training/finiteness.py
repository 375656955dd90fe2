"""Whether everything that a checkpoint would hold is finite."""

from __future__ import annotations

from collections.abc import Mapping

import lightning.pytorch as pl
import torch
from torch import Tensor

from dnamdlm.training.module import TrainingModule
from dnamdlm.training.sharding import local


def is_finite(trainer: pl.Trainer, module: TrainingModule) -> bool:
    """Whether weights, average and moments are finite, on every rank; call it on every rank."""
    moments = {
        f"{number}.{name}": value
        for number, state in enumerate(trainer.optimizers[0].state.values())
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    parts = (module.state_dict(), module.average.shadow, moments)
    finite = all(all_finite({k: local(v) for k, v in part.items()}) for part in parts)
    return trainer.strategy.reduce_boolean_decision(finite)


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no tensor holds a nan or an infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
