"""How well a classifier of noisy sequences names the labels of windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dnamdlm.data.data_source import WindowSequence
from dnamdlm.errors import DataError
from dnamdlm.evaluation.window_scores import Progress
from dnamdlm.lm.classifier import NoisyClassifier


@dataclass(frozen=True)
class LabelScores:
    """Figures over windows and noise, the time being uniform over [0, 1].

    Most of the noise hides what a label is told from, so that even the best classifier is far from
    a surprise of 0 and an accuracy of 1.

    Attributes:
        bits: mean surprise of the label, in bits per label.
        accuracy: share of draws in which the likeliest class is the label.
        num_windows: windows that were scored.
    """

    bits: float
    accuracy: float
    num_windows: int


def score_labels(
    classifier: NoisyClassifier,
    windows: WindowSequence,
    *,
    draws: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> LabelScores:
    """Score every window.

    Args:
        classifier: on `device` and in evaluation mode.
        windows: labelled windows.
        draws: times per window, from equal strata.
        batch_size: windows at once; does not change the result.
        device: where the classifier is.
        progress: called with (windows done, windows in all) after each batch.

    Raises:
        DataError: if the windows have no labels, or there are none.
    """
    nats, right, count = 0.0, 0.0, 0
    for batch in windows.batches(batch_size):
        of_rows, hits = classifier.score(batch.to(device), draws=draws)
        nats += float(of_rows.sum())
        right += float(hits.sum())
        count += len(batch)
        if progress is not None:
            progress(count, len(windows))
    if count == 0:
        raise DataError("there is no window to score the classifier on; choose another split")
    return LabelScores(nats / count / math.log(2.0), right / count, count)
