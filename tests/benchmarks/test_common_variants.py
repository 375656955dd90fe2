"""Common and rare variants of a VCF file and of a table."""

import numpy as np
import pytest

from benchmarks.quality.variants import (
    Exchanges,
    SomeRows,
    compared,
    exchanges,
    frequencies,
    passed_rows,
)
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
    found = exchanges(scored, (0.05, 0.001), place)
    assert set(found.scores) == {"llr", "no model: transition"}
    assert found.chrom.tolist() == ["chrM", "chrM"]
    assert found.pos.tolist() == [5, 7]
    assert found.is_common.tolist() == [True, False]
    assert found.scores["llr"].tolist() == [0.0, 1.0]
    assert found.scores["no model: transition"].tolist() == [1.0, 0.0]
    found = exchanges(scored, (0.005, 0.001), place)
    assert found.scores["llr"].tolist() == [0.0, 1.0, 2.0]
    assert found.is_common.tolist() == [True, False, True]


def made(pos, is_common, values):
    """Exchanges of one record with one score."""
    return Exchanges(
        np.full(len(pos), "1"), np.array(pos), np.array(is_common), {"llr": np.array(values)}
    )


def test_copies_of_a_row_in_its_block_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    pos, is_common = np.arange(40) * 1000, np.arange(40) % 4 == 0
    values = rng.normal(size=40) + is_common
    name, ((_, common, rare, area, around, _, _),) = compared(
        made(pos, is_common, values), block=1000, seed=0
    )
    assert (name, common, rare) == ("40 blocks of 1,000 bases", 10, 30)
    copied = [np.repeat(column, 25) for column in (pos, is_common, values)]
    copied[0] = copied[0] + np.tile(np.arange(25), 40)
    name, ((_, common, rare, again, wide, _, _),) = compared(made(*copied), block=1000, seed=0)
    assert (name, common, rare) == ("40 blocks of 1,000 bases", 250, 750)
    assert (again, wide) == (pytest.approx(area), around)
    # each of the copies as a block of its own: as if they were 1,000 rows.
    _, ((*_, narrow, _, _),) = compared(made(*copied), block=1, seed=0)

    def width(text):
        low, high = map(float, text.split(" .. "))
        return high - low

    assert width(narrow) < width(wide) / 3


def test_area_and_difference_of_means_are_those_of_the_two_groups():
    found = made([1, 2000, 3000, 4000], [True, False, True, False], [3.0, 1.0, 2.0, 2.0])
    _, ((name, common, rare, area, _, difference, _),) = compared(found, block=1000, seed=0)
    assert (name, common, rare, area, difference) == ("llr", 2, 2, 0.875, 1.0)
    _, ((*_, area, around, difference, _),) = compared(
        made([1, 2], [True, True], [0.0, 1.0]), block=1000, seed=0
    )
    assert np.isnan(area)
    assert np.isnan(difference)
    assert around == "nan .. nan"


def test_some_rows_are_at_equal_distances(table):
    some = SomeRows(table, 2, 2)
    assert [row.start for row in some.rows()] == [4, 7]
    assert some.extras == table.extras
