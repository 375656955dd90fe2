"""Probes on fixed features, and word counts."""

import numpy as np
import pytest

from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import figures
from dnamdlm.evaluation.tasks.probes import fit_probe, kmer_frequencies
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY


def data(kind, rows=120):
    rng = np.random.default_rng(0)
    features = rng.normal(loc=3.0, scale=(1.0, 10.0, 0.1), size=(rows, 3))
    signal = features[:, 0] - 3.0
    targets = {
        "classes": (signal > 0).astype(np.int64),
        "labels": np.stack([signal > 0, features[:, 1] > 3.0], axis=1).astype(np.float32),
        "regression": np.stack([signal, 2 * features[:, 1]], axis=1),
    }[kind]
    return (features[:80], targets[:80]), (features[80:], targets[80:])


@pytest.mark.parametrize("name", ["logistic", "ridge", "svm"])
@pytest.mark.parametrize("kind", ["classes", "labels", "regression"])
def test_each_probe_learns_what_is_linear(name, kind):
    train, valid = data(kind)
    metric = {"classes": "accuracy", "labels": "accuracy", "regression": "r2"}[kind]
    count = 2
    if name == "svm" and kind != "classes":
        with pytest.raises(ConfigError, match="probe=svm gives one output"):
            fit_probe(name, kind, train, valid, num_outputs=count, metric=metric)
        return
    probe = fit_probe(name, kind, train, valid, num_outputs=count, metric=metric)
    outputs = probe.outputs(valid[0])
    assert outputs.shape == (40, count)
    assert figures(kind, valid[1], outputs)[metric] > 0.85
    if probe.weight is not None:
        assert np.allclose(valid[0] @ probe.weight.T + probe.bias, outputs)


def test_three_classes_have_three_logits():
    rng = np.random.default_rng(0)
    targets = np.arange(90) % 3
    features = np.eye(3)[targets] + 0.2 * rng.normal(size=(90, 3))
    probe = fit_probe("logistic", "classes", (features, targets), (features, targets),
                      num_outputs=3, metric="mcc")  # fmt: skip
    assert figures("classes", targets, probe.outputs(features))["accuracy"] > 0.95
    with pytest.raises(ConfigError, match="probe=forest is unknown"):
        fit_probe("forest", "classes", (features, targets), (features, targets),
                  num_outputs=3, metric="mcc")  # fmt: skip


def test_word_counts_skip_n_and_do_not_cross_sequences():
    found = kmer_frequencies(
        encode_dna(["a", "b", "c"], ["AACA", "CNAC", "T"], "x"), NUCLEOTIDE_VOCABULARY, 2
    ).toarray()
    expected = np.zeros((3, 16))
    expected[0, [0, 1, 4]] = 1 / 3  # AA, AC, CA
    expected[1, 1] = 1.0  # AC
    assert np.allclose(found, expected)
    with pytest.raises(ConfigError, match="kmer=9 must lie in"):
        kmer_frequencies(encode_dna(["a"], ["A"], "x"), NUCLEOTIDE_VOCABULARY, 9)
