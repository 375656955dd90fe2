"""Validation during a training: metrics of a model on windows of the validation split."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import nn

from dnamdlm.assembly.devices import windows_at_once
from dnamdlm.data.data_source import OpenData, WindowSequence
from dnamdlm.evaluation.classifier_accuracy import score_labels
from dnamdlm.evaluation.window_scores import Progress, score_windows
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.training.metrics import MetricNames
from dnamdlm.training.trainer_settings import TrainerSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitValidation:
    """Bits per base or token of a language model, or how well a label is predicted.

    Attributes:
        windows: what is read.
        draws: time draws per window.
        names: columns of the metrics.
    """

    windows: WindowSequence
    draws: int
    names: MetricNames

    def num_reads(self, lm: nn.Module) -> int:
        """How often a model reads a window in one validation."""
        return len(self.windows) * (1 if isinstance(lm, CausalLM) else self.draws)

    def __call__(self, lm: nn.Module, progress: Progress) -> dict[str, float]:
        """Validation metrics of a model; `progress` is called with (windows done, in all)."""
        device = next(lm.parameters()).device
        if isinstance(lm, NoisyPredictor):
            labels = score_labels(
                lm,
                self.windows,
                draws=self.draws,
                batch_size=windows_at_once(self.windows.length, device),
                device=device,
                progress=progress,
            )
            return {self.names.valid: labels.bits, self.names.more[0]: labels.accuracy}
        if not isinstance(lm, LanguageModel):
            raise TypeError(f"a {type(lm).__name__} cannot be validated")
        scores = score_windows(
            lm,
            self.windows,
            draws=self.draws,
            batch_size=windows_at_once(self.windows.length, device, len(lm.vocabulary)),
            device=device,
            progress=progress,
        )
        return {self.names.valid: scores.bits().value}


def validation(
    opened: OpenData, settings: TrainerSettings, seed: int, names: MetricNames
) -> SplitValidation | None:
    """The validation of a training; None where the data have no validation split."""
    if not opened.has_split("valid"):
        logger.info("there is no validation split; nothing is validated")
        return None
    windows = opened.evaluation_windows("valid", limit=settings.valid_windows, seed=seed)
    return SplitValidation(windows, settings.valid_draws, names)
