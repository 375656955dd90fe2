"""Figures of rankings against scikit-learn, against every pair, and on labels spoilt on purpose."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from dnamdlm.evaluation.auroc import auroc
from dnamdlm.evaluation.correlations import pearson, spearman
from dnamdlm.evaluation.rankings import (
    average_precision,
    clustered_estimates,
    mean_over_groups,
    pairwise_accuracy,
    resampled_groups,
    rows_of_groups,
)

RNG = np.random.default_rng(20)
LABELS = RNG.random(300) < 0.3
TIED = np.round(RNG.normal(size=300) + LABELS, 1)
NUMBERS = RNG.normal(size=300)


@pytest.mark.parametrize("scores", [TIED, NUMBERS + LABELS, np.zeros(300), -TIED])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(average_precision, average_precision_score), (auroc, roc_auc_score)],
    ids=["auprc", "auroc"],
)
def test_areas_are_those_of_scikit_learn(ours, theirs, scores):
    # sums of at most 300 terms of at most 1: rounding is below 300 eps.
    assert ours(LABELS, scores) == pytest.approx(theirs(LABELS, scores), abs=300 * 2**-52)


@pytest.mark.parametrize(("ours", "theirs"), [(pearson, pearsonr), (spearman, spearmanr)])
def test_correlations_are_those_of_scipy(ours, theirs):
    assert ours(TIED, NUMBERS) == pytest.approx(theirs(TIED, NUMBERS)[0], abs=1e-12)
    assert ours(TIED, TIED * 2) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("correlation", [pearson, spearman])
@pytest.mark.parametrize("size", [1, 5])
def test_a_constant_column_correlates_with_nothing(correlation, size):
    assert math.isnan(correlation(np.ones(size), np.arange(size)))


GROUPED = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25
)


@given(rows=GROUPED)
def test_pairwise_accuracy_is_the_mean_over_groups_of_their_own_areas(rows):
    flags, scores, groups = (np.array(column) for column in zip(*rows, strict=True))
    areas = [auroc(flags[groups == group], scores[groups == group]) for group in set(groups)]
    known = [area for area in areas if not math.isnan(area)]
    found = pairwise_accuracy(flags, scores, groups)
    assert math.isnan(found) if not known else found == pytest.approx(np.mean(known))


@given(rows=GROUPED)
def test_a_mean_over_groups_leaves_out_groups_of_one_kind(rows):
    flags, scores, groups = (np.array(column) for column in zip(*rows, strict=True))
    mixed = [g for g in set(groups) if 0 < flags[groups == g].mean() < 1]
    values = [average_precision_score(flags[groups == g], scores[groups == g]) for g in mixed]
    sizes = [np.sum(groups == g) for g in mixed]
    for by_size, weights in ((True, sizes), (False, None)):
        found = mean_over_groups(average_precision, flags, scores, groups, by_size=by_size)
        if mixed:
            assert found == pytest.approx(np.average(values, weights=weights))
        else:
            assert math.isnan(found)


def test_labels_turned_round_turn_the_areas_round():
    scores = NUMBERS + LABELS
    assert auroc(~LABELS, scores) == pytest.approx(1 - auroc(LABELS, scores))
    groups = np.arange(300) // 10
    right = pairwise_accuracy(LABELS, scores, groups)
    assert pairwise_accuracy(~LABELS, scores, groups) == pytest.approx(1 - right)
    assert average_precision(LABELS, scores) > LABELS.mean() > average_precision(LABELS, -scores)


def test_a_constant_score_gives_what_chance_gives():
    constant, groups = np.full(300, 2.5), np.arange(300) // 10
    assert average_precision(LABELS, constant) == pytest.approx(LABELS.mean())
    assert auroc(LABELS, constant) == pairwise_accuracy(LABELS, constant, groups) == 0.5


def test_a_shuffled_score_lies_around_chance():
    scores, rng = NUMBERS + 3 * LABELS, np.random.default_rng(0)
    shuffled = [average_precision(LABELS, rng.permutation(scores)) for _ in range(400)]
    assert average_precision(LABELS, scores) > max(shuffled)
    # AP of a shuffled score exceeds the share of positive rows by about (1 - share) ln(N) / N.
    share = LABELS.mean()
    excess = (1 - share) * math.log(300) / 300
    error = float(np.std(shuffled)) / math.sqrt(400)
    assert np.mean(shuffled) == pytest.approx(share + excess, abs=5 * error)


def test_a_set_without_a_positive_row_has_no_figures():
    none = np.zeros(4, bool)
    assert math.isnan(average_precision(none, np.arange(4.0)))
    assert math.isnan(pairwise_accuracy(none, np.arange(4.0), np.zeros(4)))


@given(groups=st.lists(st.sampled_from("abc"), max_size=12))
def test_every_row_is_in_one_group_and_groups_stand_in_order(groups):
    found = rows_of_groups(np.array(groups))
    assert sorted(row for rows in found for row in rows) == list(range(len(groups)))
    assert [groups[rows[0]] for rows in found] == sorted(set(groups))


def test_a_group_is_drawn_whole_and_twice_is_two():
    groups = np.array(["x", "y", "x", "z"])
    for rows, draws in resampled_groups(groups, np.random.default_rng(1), 50):
        assert set(draws) == {0, 1, 2}
        for draw in range(3):
            drawn = rows[draws == draw]
            assert drawn.tolist() == np.flatnonzero(groups == groups[drawn[0]]).tolist()


def test_intervals_of_clusters_are_as_wide_as_clusters_demand():
    """Fifty copies of each of 20 independent rows tell no more than the 20 rows."""
    values = np.random.default_rng(3).normal(size=20)
    copies, clusters = np.repeat(values, 50), np.repeat(np.arange(20), 50)

    def widths(of: np.ndarray, groups: np.ndarray) -> float:
        figures = {"mean": lambda rows, draws: float(of[rows].mean())}
        found = clustered_estimates(figures, groups, np.random.default_rng(4), repeats=400)["mean"]
        assert found.value == pytest.approx(values.mean())
        return found.high - found.low

    alone = widths(values, np.arange(20))
    # same draws of 20 groups: the same resamples, up to rounding.
    assert widths(copies, clusters) == pytest.approx(alone)
    assert widths(copies, np.arange(1000)) < alone / 3
