"""Linear and kernel models on fixed features: frozen probes of a model, and k-mer baselines.

The strength of regularisation is chosen on validation rows. A linear probe is returned as one
matrix and one bias that include the scaling of the features, so that it can be stored and used as
the head of a network.

Shapes: N rows, D features, C outputs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from dnamdlm.data.tasks.labelled import Kind
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import figures
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.words.kmers import pack_contexts

PROBES = ("logistic", "ridge", "svm")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation strengths that are tried; the support vector machine tries 1, 5, 10."""
_SVM_STRENGTHS = (1.0, 5.0, 10.0)
_MAX_ITERATIONS = 500

Features = Any
"""A float array or a sparse matrix of shape (N, D)."""


@dataclass(frozen=True)
class Probe:
    """A fitted model of features.

    Attributes:
        outputs: features (N, D) to logits or numbers (N, C).
        strength: inverse regularisation that was chosen.
        weight: matrix (C, D) of a linear probe, else None.
        bias: shape (C,), else None.
    """

    outputs: Callable[[Features], NDArray[np.float64]]
    strength: float
    weight: NDArray[np.float64] | None = None
    bias: NDArray[np.float64] | None = None


def fit_probe(
    name: str,
    kind: Kind,
    train: tuple[Features, NDArray],
    valid: tuple[Features, NDArray],
    *,
    num_outputs: int,
    metric: str,
) -> Probe:
    """Fit with each strength and keep the best on the validation rows.

    A tie keeps the stronger regularisation.

    Args:
        name: `logistic` (for regression this is ridge), `ridge` or `svm` (radial kernel).
        kind: of the targets.
        train: features and targets to learn from.
        valid: features and targets to choose by.
        num_outputs: C.
        metric: figure to choose by; larger is better, except for mse.

    Raises:
        ConfigError: for an unknown probe, or a support vector machine of several labels.
    """
    if name not in PROBES:
        raise ConfigError(f"probe={name} is unknown; choose {', '.join(PROBES)}")
    if name == "svm" and (kind == "labels" or (kind == "regression" and num_outputs > 1)):
        raise ConfigError("probe=svm gives one output; use probe=logistic or ridge for several")
    centred = not sparse.issparse(train[0])
    scaler = StandardScaler(with_mean=centred).fit(train[0])
    scaled = scaler.transform(train[0])
    sign = -1.0 if metric == "mse" else 1.0
    best: tuple[float, Probe] | None = None
    for strength in _SVM_STRENGTHS if name == "svm" else STRENGTHS:
        if name == "svm":
            probe = _fit_svm(kind, scaler, scaled, train[1], strength)
        else:
            probe = _linear(name, kind, scaler, scaled, train[1], strength)
        score = sign * figures(kind, valid[1], probe.outputs(valid[0]))[metric]
        score = -math.inf if math.isnan(score) else score
        if best is None or score > best[0]:
            best = (score, probe)
    assert best is not None
    return best[1]


def _linear(  # noqa: PLR0917
    name: str, kind: Kind, scaler: StandardScaler, scaled: Features, targets: NDArray, c: float
) -> Probe:
    if kind == "labels":
        columns = [_one_label(name, scaled, targets[:, i], c) for i in range(targets.shape[1])]
        weight = np.stack([column[0] for column in columns])
        bias = np.array([column[1] for column in columns])
    elif kind == "classes":
        model = _quietly(_classifier(name, c), scaled, targets)
        weight, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
        if len(weight) == 1:
            # one logit of two classes as two, half of it to each side.
            weight, bias = np.stack([-weight[0], weight[0]]) / 2, np.array([-1, 1]) * bias[0] / 2
    else:
        model = Ridge(alpha=1 / c).fit(scaled, targets)
        weight, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    weight = np.asarray(weight, dtype=np.float64) / np.asarray(scaler.scale_, dtype=np.float64)
    bias = np.asarray(bias, dtype=np.float64)
    if scaler.with_mean:
        bias = bias - weight @ np.asarray(scaler.mean_, dtype=np.float64)

    def outputs(features: Features) -> NDArray[np.float64]:
        return np.asarray(features @ weight.T, dtype=np.float64) + bias

    return Probe(outputs, c, weight, bias)


def _one_label(
    name: str, scaled: Features, targets: NDArray, c: float
) -> tuple[NDArray[np.float64], float]:
    wanted = targets > 0.5
    if wanted.all() or not wanted.any():
        # a label that all rows share has no decision boundary; the logit is a constant.
        return np.zeros(scaled.shape[1]), 10.0 if wanted.all() else -10.0
    model = _quietly(_classifier(name, c), scaled, wanted)
    return model.coef_.reshape(-1), float(np.ravel(model.intercept_)[0])


def _classifier(name: str, c: float) -> Any:
    if name == "ridge":
        return RidgeClassifier(alpha=1 / c)
    return LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)


def _quietly(model: Any, features: Features, targets: NDArray) -> Any:
    """Fit; a fit that stopped at the last iteration is judged by its validation score like any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, targets)


def _fit_svm(
    kind: Kind, scaler: StandardScaler, scaled: Features, targets: NDArray, c: float
) -> Probe:
    if kind == "regression":
        machine = SVR(C=c).fit(scaled, targets[:, 0])
        return Probe(lambda features: machine.predict(scaler.transform(features))[:, None], c)
    classifier = SVC(C=c).fit(scaled, targets)

    def outputs(features: Features) -> NDArray[np.float64]:
        found = classifier.decision_function(scaler.transform(features))
        return np.stack([-found, found], axis=1) / 2 if found.ndim == 1 else found

    return Probe(outputs, c)


def kmer_frequencies(sequences: SequenceSet, vocabulary: Vocabulary, k: int) -> sparse.csr_matrix:
    """Share of each k-mer in each sequence, shape (N, 4**k); k-mers with N are skipped.

    Args:
        sequences: N sequences.
        vocabulary: of their ids.
        k: length of the words, 1 to 8.

    Raises:
        ConfigError: if k is out of range, or the vocabulary does not have four letters.
    """
    if not 1 <= k <= 8 or len(vocabulary.real_ids) != 4:
        raise ConfigError(f"kmer={k} must lie in 1..8, for sequences of four letters")
    codes = sequences.codes(vocabulary)
    if len(codes) < k:
        return sparse.csr_matrix((len(sequences), 4**k), dtype=np.float64)
    words, depth = (part[k - 1 :] for part in pack_contexts(codes, k - 1))
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    first, last = owner[: len(words)], owner[k - 1 :]
    usable = (first == last) & (depth == k)
    rows, columns = first[usable], words[usable]
    totals = np.bincount(rows, minlength=len(sequences))
    values = 1.0 / totals[rows]
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(sequences), 4**k))
