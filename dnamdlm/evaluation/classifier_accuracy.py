"""How well a classifier or a regression of noisy sequences predicts labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dnamdlm.data.data_source import WindowSequence
from dnamdlm.errors import DataError
from dnamdlm.evaluation.window_scores import Progress
from dnamdlm.lm.noisy_predictor import NoisyPredictor


@dataclass(frozen=True)
class LabelScores:
    """Averages over windows and noise, with times uniform over [0, 1].

    Most of the noise hides the evidence for a label, so that even the best classifier is far from a
    cross-entropy of 0 and an accuracy of 1.

    Attributes:
        bits: mean cross-entropy of the label, in bits per label; of numbers half the squared error
            of the standardised numbers, over log 2.
        accuracy: share of draws in which the most likely class is the label; of numbers 1 minus
            the squared error, so that 0 is the mean of the training rows.
        num_windows: number of scored windows, those whose label is known.
    """

    bits: float
    accuracy: float
    num_windows: int


def score_labels(
    classifier: NoisyPredictor,
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
        progress: called with (windows done, total windows) after each batch.

    Raises:
        DataError: if there are no windows, or they have no labels.
    """
    nats, right, count, read = 0.0, 0.0, 0, 0
    for batch in windows.batches(batch_size):
        of_rows, hits = classifier.score(batch.to(device), draws=draws)
        known = ~of_rows.isnan()
        nats += float(of_rows[known].sum())
        right += float(hits[known].sum())
        count += int(known.sum())
        read += len(batch)
        if progress is not None:
            progress(read, len(windows))
    if count == 0:
        raise DataError("the split has no window to score the classifier on; choose another split")
    return LabelScores(nats / count / math.log(2.0), right / count, count)
