"""Common and rare variants of a VCF file and of a table."""

import numpy as np
import pytest

from benchmarks.quality.variants import SomeRows, frequencies, groups_of, passed_rows
from dnamdlm.data.variants.variant_tables import ScoredVariant


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(
        "pos\tref\talt\tfilters\tAF_hom\n5\tA\tG\tPASS\t0.2\n6\tA\tC\tnpg\t0.2\n"
        "7\tA\tC\tPASS\t0.00001\n8\tA\tT\tPASS\t0.01\n9\tAC\tA\tPASS\t0.3\n10\tG\tA\tPASS\t\n"
    )
    return passed_rows(str(path), "chrM")


def test_rows_with_a_filter_are_left_out_and_get_the_chromosome(table):
    rows = list(table.rows())
    assert [row.start for row in rows] == [4, 6, 7, 8, 9]
    assert {row.chrom for row in rows} == {"chrM"}
    place = table.extras.index("AF_hom")
    assert frequencies(rows[0], place) == [0.2]
    assert np.isnan(frequencies(rows[-1], place)[0])


def test_common_and_rare_are_exchanges_of_one_base_beyond_the_limits(table):
    place = table.extras.index("AF_hom")
    scored = [
        ScoredVariant(row, {"llr": [float(number)], "llr_se": [9.0]}, (None,))
        for number, row in enumerate(table.rows())
    ]
    found = groups_of(scored, (0.05, 0.001), place)
    assert set(found) == {"llr", "no model: transition"}
    common, rare = found["llr"]
    assert (common.tolist(), rare.tolist()) == ([0.0], [1.0])
    assert [group.tolist() for group in found["no model: transition"]] == [[1.0], [0.0]]
    common, rare = groups_of(scored, (0.005, 0.001), place)["llr"]
    assert common.tolist() == [0.0, 2.0]


def test_some_rows_are_at_equal_distances(table):
    some = SomeRows(table, 2, 2)
    assert [row.start for row in some.rows()] == [4, 7]
    assert some.extras == table.extras
