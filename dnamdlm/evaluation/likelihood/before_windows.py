"""What Markov models make of the sequence before each window, by which a mixture is weighted.

Where a long context was much better than a short one, the sequence before a window is a copy, and
the window probably is one, too.

Shapes: W windows, F figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.likelihood.markov_scores import windows_with_context
from dnamdlm.words.codes import N_CODE
from dnamdlm.words.context_model import ContextModel
from dnamdlm.words.copies import CopyModel

SPANS = (16, 64)
"""Bases before a window whose nats are averaged; 256 of them tell nothing more."""


def nats_before(
    models: Sequence[ContextModel | CopyModel], windows: Sweep[SplitWindows]
) -> Float64[np.ndarray, "W F"]:
    """Mean -log p of the bases before each window, under each model, over each of `SPANS`.

    Bases that are not known (N, before the start of the chromosome) are left out; without any base
    the mean is that of a uniform model.

    Args:
        models: of the training split.
        windows: the split.
    """
    span = max(SPANS)
    context = span + max(_reach(model) for model in models)
    figures: list[np.ndarray] = []
    for _, codes in windows_with_context(windows, context):
        before = codes[:, :context]
        is_base = before[:, -span:] < N_CODE
        counts = [is_base[:, -length:].sum(axis=1) for length in SPANS]
        columns: list[np.ndarray] = []
        for model in models:
            nats = model.position_nats(before.reshape(-1)).reshape(before.shape)[:, -span:]
            nats = np.where(is_base, nats, 0.0)
            for length, count in zip(SPANS, counts, strict=True):
                total = nats[:, -length:].sum(axis=1)
                columns.append(np.where(count > 0, total / np.maximum(count, 1), np.log(4.0)))
        figures.append(np.stack(columns, axis=1))
    return np.concatenate(figures)


def _reach(model: ContextModel | CopyModel) -> int:
    """Bases before a base on which its probability depends, at most."""
    return model.context if isinstance(model, CopyModel) else model.order
