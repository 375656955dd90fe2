"""Validation during a run: metrics of the averaged weights, cut short by a signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from dnamdlm.training.module import TrainingModule
from dnamdlm.training.signals import ValidationCut
from dnamdlm.training.stopping import StopAgreement

Validation = Callable[[nn.Module, Callable[[int, int], None]], Mapping[str, float]]
"""Metrics of a model; the second argument is called with (windows done, windows in all)."""


class Validator:
    """Validates at the steps that are due.

    Args:
        validation: computes the validation columns of a model; None never validates.
        valid_every: steps between validations; the last step is always validated.
        max_steps: optimizer steps of the whole run.
        stop: signals, which end a validation early.
    """

    def __init__(
        self,
        validation: Validation | None,
        *,
        valid_every: int,
        max_steps: int,
        stop: StopAgreement,
    ) -> None:
        self.validation = validation
        self.valid_every = valid_every
        self.max_steps = max_steps
        self.stop = stop

    def is_due(self, step: int) -> bool:
        """Whether the model is validated after so many steps."""
        is_due = step % self.valid_every == 0 or step == self.max_steps
        return self.validation is not None and step > 0 and is_due

    def metrics(self, module: TrainingModule) -> dict[str, float]:
        """Validation columns of the averaged model; call it on every rank.

        Raises:
            ValidationCut: if a signal arrives before the last batch.
        """
        if self.validation is None:
            return {}
        lm = module.network
        was_training = lm.training
        lm.eval()
        try:
            with module.average.applied_to(lm), torch.no_grad():
                return dict(self.validation(lm, self._between_batches))
        finally:
            lm.train(was_training)

    def _between_batches(self, done: int, total: int) -> None:
        """Called after each batch of a validation, on all ranks alike."""
        number = self.stop.number()
        if number is not None and done < total:
            raise ValidationCut(number)
