"""The likelihood of a batch of windows, in this process or in others."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.data.batch import Batch
from dnamdlm.lm.language_model import LanguageModel, TokenLikelihood

Opened = tuple[LanguageModel, torch.device]


@dataclass(frozen=True)
class ScoringTask:
    """Scores a batch, in any process.

    Attributes:
        source: where each process finds the model.
        strands: whether the network is averaged over both strands.
        draws: noise draws per window.
        estimator: of the bound.
        given: class or numbers of the model for every window, see `asked_label`; None: its own.
    """

    source: ModelSource
    strands: Strands
    draws: int
    estimator: str
    given: int | tuple[float, ...] | None = None

    def open(self) -> Opened:
        """Load the model."""
        loaded = self.source.open()
        return with_strands(loaded.language_model, self.strands), loaded.device

    def work(self, context: Opened, item: Batch, advance: Advance) -> tuple[TokenLikelihood, float]:
        """The likelihood of a batch, on the CPU, and the seconds that it took."""
        del advance
        lm, device = context
        began = time.perf_counter()
        with torch.inference_mode():
            batch = item.to(device).labelled(self.given)
            found = lm.log_likelihood(batch, draws=self.draws, estimator=self.estimator)
        on_cpu = replace(found, **_on_cpu(found))
        return on_cpu, time.perf_counter() - began


def _on_cpu(likelihood: TokenLikelihood) -> dict[str, Any]:
    values = {field.name: getattr(likelihood, field.name) for field in fields(likelihood)}
    return {k: v.cpu() for k, v in values.items() if isinstance(v, torch.Tensor)}
