"""Figures of predictions against their definitions."""

import math

import numpy as np
import pytest
from sklearn import metrics

from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import (
    check_metric,
    confusion,
    figure_intervals,
    figures,
    probabilities,
    summary,
)

TARGETS = np.array([0, 0, 0, 1, 1, 1, 1, 0])
SCORES = np.array([-2.0, 0.5, -1.0, 3.0, -0.2, 2.0, 1.0, -3.0])
OUTPUTS = np.stack([-SCORES / 2, SCORES / 2], axis=1)


def test_figures_of_two_classes_follow_their_definitions():
    found = figures("classes", TARGETS, OUTPUTS)
    # tp 3, fp 1, fn 1, tn 3.
    assert found["accuracy"] == pytest.approx(6 / 8)
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found["mcc"] == pytest.approx((3 * 3 - 1 * 1) / math.sqrt(4 * 4 * 4 * 4))
    pairs = [(a, b) for a in SCORES[TARGETS == 1] for b in SCORES[TARGETS == 0]]
    assert found["auroc"] == pytest.approx(np.mean([a > b for a, b in pairs]))


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_figures_agree_with_those_of_scikit_learn(num_classes):
    rng = np.random.default_rng(num_classes)
    targets = rng.integers(0, num_classes, 200)
    outputs = np.round(rng.normal(size=(200, num_classes)) + np.eye(num_classes)[targets], 1)
    shares, guesses = probabilities("classes", outputs), outputs.argmax(axis=1)
    average = "binary" if num_classes == 2 else "macro"
    expected = {
        "accuracy": metrics.accuracy_score(targets, guesses),
        "mcc": metrics.matthews_corrcoef(targets, guesses),
        "f1": metrics.f1_score(targets, guesses, average=average),
        "auroc": metrics.roc_auc_score(
            targets, shares[:, 1] if num_classes == 2 else shares, multi_class="ovr"
        ),
    }
    assert figures("classes", targets, outputs) == pytest.approx(expected)


def test_figures_of_labels_and_numbers_agree_with_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (100, 3)).astype(np.float32)
    outputs = labels + rng.normal(size=(100, 3))
    found = figures("labels", labels, outputs)
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, outputs > 0, average="macro"))
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(labels, outputs))
    numbers = rng.normal(size=(50, 2))
    guesses = numbers + rng.normal(size=(50, 2))
    assert figures("regression", numbers, guesses)["r2"] == pytest.approx(
        metrics.r2_score(numbers, guesses)
    )


def test_figures_do_not_depend_on_the_order_of_rows():
    order = np.argsort(TARGETS)
    assert figures("classes", TARGETS[order], OUTPUTS[order]) == figures(
        "classes", TARGETS, OUTPUTS
    )


def test_what_is_not_defined_is_nan_and_not_an_error():
    one_class = figures("classes", np.zeros(3, dtype=int), OUTPUTS[:3])
    assert math.isnan(one_class["auroc"])
    assert one_class["accuracy"] == pytest.approx(2 / 3)
    assert all(math.isnan(value) for value in figures("classes", TARGETS[:0], OUTPUTS[:0]).values())


def test_three_classes_several_labels_and_numbers_have_figures():
    rng = np.random.default_rng(0)
    targets = np.arange(30) % 3
    perfect = 5.0 * np.eye(3)[targets]
    assert figures("classes", targets, perfect) == dict.fromkeys(
        ("accuracy", "mcc", "f1", "auroc"), 1.0
    )
    labels = (rng.random((20, 2)) > 0.5).astype(np.float32)
    assert figures("labels", labels, 4 * labels - 2) == dict.fromkeys(
        ("accuracy", "f1", "auroc"), 1.0
    )
    numbers = rng.normal(size=(20, 1))
    found = figures("regression", numbers, 2 * numbers + 1)
    assert found["pearson"] == pytest.approx(1.0)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["mse"] == pytest.approx(((numbers + 1) ** 2).mean())


def test_probabilities_sum_to_one_even_for_large_logits():
    shares = probabilities("classes", np.array([[1000.0, 0.0], [0.0, 0.0]]))
    assert shares.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert probabilities("labels", np.array([[-1000.0, 0.0]])).tolist() == [[0.0, 0.5]]


def test_bootstrap_intervals_hold_the_figure_and_are_the_same_for_a_seed():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 2, 400)
    scores = targets + rng.normal(size=400)
    outputs = np.stack([0.5 - scores, scores - 0.5], axis=1)
    intervals = figure_intervals("classes", targets, outputs, repeats=200, seed=3)
    value = figures("classes", targets, outputs)["accuracy"]
    low, high = intervals["accuracy"]
    assert low < value < high
    # a binomial's standard error, twice to each side.
    assert high - low == pytest.approx(4 * math.sqrt(value * (1 - value) / 400), rel=0.25)
    assert intervals == figure_intervals("classes", targets, outputs, repeats=200, seed=3)
    assert figure_intervals("classes", targets, outputs, repeats=0, seed=3) == {}


def test_intervals_of_correlations_are_those_of_fisher_and_notice_a_shuffle():
    rng = np.random.default_rng(2)
    targets = rng.normal(size=(800, 1))
    outputs = 0.6 * targets + 0.8 * rng.normal(size=(800, 1))
    found = figure_intervals("regression", targets, outputs, repeats=400, seed=3)
    for name, spread in (("pearson", 1.0), ("spearman", 1.06)):
        value = figures("regression", targets, outputs)[name]
        # Fisher: atanh(r) has the standard error sqrt(spread / (n - 3)), for ranks by Fieller.
        reach = 1.96 * math.sqrt(spread / 797)
        wanted = [math.tanh(math.atanh(value) + sign * reach) for sign in (-1, 1)]
        # the ends of 400 resamples are known to about a tenth of the width.
        assert found[name] == pytest.approx(wanted, abs=0.2 * (wanted[1] - wanted[0]))
    turned = figures("regression", targets, -outputs)
    shuffled = figures("regression", targets, rng.permutation(outputs))
    for name in ("pearson", "spearman"):
        right = figures("regression", targets, outputs)[name]
        assert turned[name] == pytest.approx(-right, abs=1e-12)
        assert abs(shuffled[name]) < 4 / math.sqrt(800)


def test_summary_confusion_and_unknown_metrics():
    found = summary({1: 0.5, 2: 0.7, 3: 0.6})
    assert found["mean"] == pytest.approx(0.6)
    assert found["max_minus_min"] == pytest.approx(0.2)
    assert found["standard_deviation"] == pytest.approx(0.1)
    assert confusion(TARGETS, OUTPUTS).tolist() == [[3, 1], [1, 3]]
    with pytest.raises(ConfigError, match=r"data.metric=mcc does not exist for regression"):
        check_metric("regression", "mcc")
