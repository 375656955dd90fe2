"""Words and pairs of words as a baseline, and the commonest label."""

import numpy as np
import pytest

from dnamdlm.evaluation.tasks.bag_of_words import commonest, fit_bag_of_words
from dnamdlm.evaluation.tasks.prediction_metrics import figures, probabilities


def texts_of(rng, count):
    words = np.array(["alpha", "beta", "gamma", "delta", "not"])
    return [(" ".join(rng.choice(words, size=6)),) for _ in range(count)]


def fitted(kind, rule, metric, *, outputs=2, pair=False):
    rng = np.random.default_rng(0)
    parts = []
    for count in (200, 60, 60):
        texts = texts_of(rng, count)
        if pair:
            texts = [(a[0], b[0]) for a, b in zip(texts, texts_of(rng, count), strict=True)]
        parts.append((texts, np.array([rule(row) for row in texts])))
    train, valid, test = parts
    model, _ = fit_bag_of_words(kind, train, valid, num_outputs=outputs, metric=metric)
    found = model.outputs(test[0])
    assert found.shape == (60, outputs)
    return figures(kind, test[1], found)[metric]


def test_a_rule_of_one_word_or_of_neighbours_is_learned():
    assert fitted("classes", lambda row: int("gamma" in row[0]), "accuracy") > 0.95
    assert fitted("classes", lambda row: int("not alpha" in row[0]), "mcc") > 0.7


def test_three_classes_several_labels_and_numbers_are_learned():
    def third(row):
        return 2 if "not" in row[0] else int("alpha" in row[0])

    assert fitted("classes", third, "accuracy", outputs=3) > 0.8
    both = fitted("labels", lambda row: [float("beta" in row[0]), float("not" in row[0])], "auroc")
    assert both > 0.95
    assert fitted("regression", lambda row: [row[0].count("a")], "pearson", outputs=1) > 0.7


def test_words_that_both_texts_share_are_seen():
    def shared_word(row):
        return int("alpha" in row[0] and "alpha" in row[1])

    assert fitted("classes", shared_word, "accuracy", pair=True) > 0.85


def test_the_commonest_label_is_given_to_every_row():
    outputs = commonest("classes", np.array([0, 1, 1, 1]), 2)(3)
    assert probabilities("classes", outputs) == pytest.approx(np.tile([0.25, 0.75], (3, 1)))
    assert commonest("regression", np.array([[1.0], [3.0]]), 1)(2).tolist() == [[2.0], [2.0]]
    labels = commonest("labels", np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.float32), 2)(1)
    assert probabilities("labels", labels)[0] == pytest.approx([0.5, 0.0], abs=1e-6)
