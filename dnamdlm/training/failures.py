"""How a run can fail without a mistake in its settings; the command then exits with 1."""

from __future__ import annotations


class TrainingFailed(RuntimeError):
    """A run cannot continue; the message is one sentence that says what is left on disk."""


class TrainingDiverged(TrainingFailed):
    """Losses, gradients or weights are nan, infinite or far too large, and do not recover."""
