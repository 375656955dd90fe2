"""Likelihoods of batches of windows, in this process or spread over several."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.workers import spread
from dnamdlm.data.batch import Batch
from dnamdlm.evaluation.window_scores import Likelihoods
from dnamdlm.lm.language_model import LanguageModel, TokenLikelihood
from dnamdlm.threads import Plan

Opened = tuple[LanguageModel, torch.device]


@dataclass(frozen=True)
class _Scoring:
    """Scores a batch, in any process."""

    source: ModelSource
    strands: Strands
    draws: int
    estimator: str

    def open(self) -> Opened:
        """Load the model."""
        loaded = self.source.open()
        return with_strands(loaded.language_model, self.strands), loaded.device

    def work(self, context: Opened, item: Batch, advance: Callable[[int], None]) -> TokenLikelihood:
        """The likelihood of a batch, on the CPU."""
        del advance
        lm, device = context
        with torch.inference_mode():
            found = lm.log_likelihood(item.to(device), draws=self.draws, estimator=self.estimator)
        return replace(found, **_on_cpu(found))


def _on_cpu(likelihood: TokenLikelihood) -> dict[str, Any]:
    values = {field.name: getattr(likelihood, field.name) for field in fields(likelihood)}
    return {k: v.cpu() for k, v in values.items() if isinstance(v, torch.Tensor)}


def spread_likelihoods(
    loaded: LoadedModel,
    lm: LanguageModel,
    plan: Plan,
    *,
    strands: Strands,
    draws: int,
    estimator: str,
) -> Likelihoods:
    """How `score_windows` gets its likelihoods; they do not depend on the number of processes.

    Args:
        loaded: where other processes find the model.
        lm: the model, for work in this process.
        plan: number of processes and threads.
        strands: whether the network is averaged over both strands, as it is in `lm`.
        draws: noise draws per window.
        estimator: of the bound.
    """
    task = _Scoring(ModelSource.of(loaded), strands, draws, estimator)

    def given(batches: Iterable[Batch]) -> Iterator[tuple[Batch, TokenLikelihood]]:
        waiting: deque[Batch] = deque()

        def kept() -> Iterator[Batch]:
            for batch in batches:
                waiting.append(batch)
                yield batch

        with spread(task, kept(), plan, opened=(lm, loaded.device)) as results:
            for likelihood in results:
                yield waiting.popleft(), likelihood

    return given
