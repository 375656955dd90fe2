"""Few rows to learn from: how many of each class, and which."""

import numpy as np

from dnamdlm.data.tasks.few_shots import few_rows

LABELS = np.array([0] * 30 + [1] * 4 + [2] * 10)
ROWS = np.arange(44)


def test_each_class_has_as_many_rows_as_asked_for_or_all_of_its_own():
    chosen = few_rows("classes", LABELS, ROWS, 5, seed=1)
    assert np.bincount(LABELS[chosen]).tolist() == [5, 4, 5]
    assert (np.diff(chosen) > 0).all()


def test_only_the_given_rows_are_drawn():
    rows = np.arange(0, 44, 2)
    chosen = few_rows("classes", LABELS, rows, 3, seed=1)
    assert set(chosen) <= set(rows)


def test_more_shots_hold_the_rows_of_fewer_and_seeds_differ():
    few, more = (few_rows("classes", LABELS, ROWS, shots, seed=2) for shots in (2, 6))
    assert set(few) < set(more)
    assert set(few) != set(few_rows("classes", LABELS, ROWS, 2, seed=3))


def test_numbers_have_no_classes_to_balance():
    numbers = np.arange(44.0)[:, None]
    assert len(few_rows("regression", numbers, ROWS, 7, seed=0)) == 7
    assert len(few_rows("regression", numbers, ROWS, 100, seed=0)) == 44


def test_every_row_is_as_likely_as_any_other():
    counts = np.zeros(44)
    for seed in range(600):
        counts[few_rows("classes", LABELS, ROWS, 3, seed=seed)] += 1
    # a row of the 30 is drawn with probability 0.1: 60 of 600 with a deviation of 7.3.
    assert abs(counts[:30] - 60).max() < 4.5 * 7.3
    assert counts[30:34].sum() == 3 * 600
