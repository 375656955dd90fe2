"""Edit distances against the table of the textbook."""

import numpy as np
import pytest

from dnamdlm.words.edits import bit_parallel_distance, edit_distance, method_name


def by_table(query, text, *, inside):
    row = [0 if inside else column for column in range(len(text) + 1)]
    for number, base in enumerate(query, start=1):
        above, row = row, [number]
        for column, other in enumerate(text, start=1):
            row.append(min(row[-1] + 1, above[column] + 1, above[column - 1] + int(base != other)))
    return min(row) if inside else row[-1]


@pytest.mark.parametrize("inside", [False, True])
def test_the_distance_is_that_of_the_table(inside):
    rng = np.random.default_rng(0)
    for _ in range(60):
        query, text = (rng.integers(0, 4, size).astype(np.uint8) for size in rng.integers(1, 90, 2))
        expected = by_table(query.tolist(), text.tolist(), inside=inside)
        assert bit_parallel_distance(query, text, inside=inside) == expected
        assert edit_distance(query, text, inside=inside) == expected


def test_edlib_gives_the_same_numbers():
    pytest.importorskip("edlib", reason="edlib is not installed")
    assert method_name() == "edlib"
    rng = np.random.default_rng(1)
    query = rng.integers(0, 4, 300).astype(np.uint8)
    text = np.delete(query, [5, 90])
    assert edit_distance(query, text) == bit_parallel_distance(query, text) == 2


def test_an_empty_query_is_as_far_as_the_text_is_long():
    nothing, text = np.zeros(0, np.uint8), np.zeros(4, np.uint8)
    assert edit_distance(nothing, text) == 4
    assert edit_distance(nothing, text, inside=True) == 0
