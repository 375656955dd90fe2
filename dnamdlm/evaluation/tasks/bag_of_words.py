"""Baselines that ignore the order of words, or the text: tf-idf weights, and the majority label.

Words are runs of letters and digits in lower case; every other sign is a word. A text is
represented by the tf-idf weights of its words and of pairs of neighbouring words; a pair of texts
by those of both and by the words that they share.

Shapes: N texts, C outputs.
Source: Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from dnamdlm.data.tasks.labelled import Kind
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import figures

Texts = Sequence[tuple[str, ...]]
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Inverse regularisation strengths that are tried."""
_WORDS = r"\w+|[^\w\s]"
_MAX_ITERATIONS = 300


class BagOfWords:
    """A logistic regression, or ridge regression, of tf-idf weights."""

    def __init__(
        self, kind: Kind, texts: Texts, targets: NDArray, num_outputs: int, strength: float
    ) -> None:
        """Fit on texts and targets of `kind`, with an inverse strength of regularisation."""
        self.weights = TfidfVectorizer(
            token_pattern=_WORDS, ngram_range=(1, 2), sublinear_tf=True, dtype=np.float64
        )
        self.weights.fit([text for row in texts for text in row])
        features = self._features(texts)
        if kind == "regression":
            self._models: list[Any] = [Ridge(alpha=1 / strength).fit(features, targets)]
        elif kind == "classes":
            self._models = [_logistic(features, targets, strength)]
        else:
            self._models = [
                _logistic(features, targets[:, i] > 0.5, strength) for i in range(num_outputs)
            ]
        self.kind, self.num_outputs = kind, num_outputs

    def outputs(self, texts: Texts) -> NDArray[np.float64]:
        """Logits or numbers, shape (N, C)."""
        features = self._features(texts)
        if self.kind == "regression":
            found = self._models[0].predict(features)
        else:
            found = np.stack([model.decision_function(features) for model in self._models], axis=1)
            if self.kind == "classes":
                found = found.squeeze(1)
                # one logit of two classes as two, half of it to each side.
                found = np.stack([-found, found], axis=1) / 2 if found.ndim == 1 else found
        return np.asarray(found, dtype=np.float64).reshape(len(texts), self.num_outputs)

    def _features(self, texts: Texts) -> sparse.csr_matrix:
        parts = [self.weights.transform(column) for column in zip(*texts, strict=True)]
        if len(parts) == 2:
            parts.append(parts[0].minimum(parts[1]))
        return sparse.csr_matrix(sparse.hstack(parts))


def fit_bag_of_words(
    kind: Kind,
    train: tuple[Texts, NDArray],
    valid: tuple[Texts, NDArray],
    *,
    num_outputs: int,
    metric: str,
) -> tuple[BagOfWords, float]:
    """Fit with each strength and keep the best on the validation rows.

    Args:
        kind: of the targets.
        train: texts and targets to learn from.
        valid: texts and targets to choose by.
        num_outputs: C.
        metric: figure to choose by; larger is better, except for mse.

    Returns:
        The model, and its inverse strength of regularisation.

    Raises:
        ConfigError: if one of several labels is true for all rows, or for none.
    """
    sign = -1.0 if metric == "mse" else 1.0
    best: tuple[float, BagOfWords, float] | None = None
    for strength in STRENGTHS:
        try:
            model = BagOfWords(kind, *train, num_outputs, strength)
        except ValueError as error:
            raise ConfigError(
                f"baselines=bag_of_words cannot be fitted ({error}); leave it out"
            ) from error
        score = sign * figures(kind, valid[1], model.outputs(valid[0]))[metric]
        score = -math.inf if math.isnan(score) else score
        if best is None or score > best[0]:
            best = (score, model, strength)
    assert best is not None
    return best[1], best[2]


def commonest(kind: Kind, targets: NDArray, num_outputs: int) -> Callable[[int], NDArray]:
    """The baseline that predicts the shares of the training labels, or their mean, for every row.

    Args:
        kind: of the targets.
        targets: of the training rows.
        num_outputs: C.

    Returns:
        From a number of rows N to outputs (N, C).
    """
    if kind == "classes":
        counts = np.bincount(targets, minlength=num_outputs).astype(np.float64)
        row = np.log(np.maximum(counts, 1e-9) / counts.sum())
    elif kind == "labels":
        shares = np.clip(targets.mean(axis=0, dtype=np.float64), 1e-9, 1 - 1e-9)
        row = np.log(shares) - np.log1p(-shares)
    else:
        row = targets.mean(axis=0)
    return lambda count: np.tile(row, (count, 1))


def _logistic(features: sparse.csr_matrix, targets: NDArray, strength: float) -> Any:
    """Fit; a fit that stopped at the last iteration is judged by its validation score like any."""
    model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, targets)
