"""Rows in three parts, and the rows of the table of activities."""

import numpy as np
import pytest

from benchmarks.measured_rows import RowSettings, read_parts
from benchmarks.quality.activity import Point, row_of
from dnamdlm.errors import DataError


@pytest.fixture
def table(tmp_path):
    """900 rows at places 50 bases apart; row 8 is a near copy of row 0."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(900)]
    texts[8] = texts[0][:-1] + "ACGT"[("ACGT".index(texts[0][-1]) + 1) % 4]
    path = tmp_path / "t.tsv"
    lines = [f"{text}\t{row}\t{row * 50}" for row, text in enumerate(texts)]
    path.write_text("\n".join(["sequence\tvalue\tstart", *lines]) + "\n")
    return path


def test_parts_are_regions_without_near_copies(table):
    parts = read_parts(table, RowSettings("value", 0, 40, 40, place="start", region=50))
    regions = np.arange(900) % 7
    assert parts.train.values.tolist() == np.flatnonzero(regions > 1).tolist()
    # row 8 is of the validation regions, row 0 of the test regions.
    assert parts.valid.values.tolist() == np.flatnonzero(regions == 1).tolist()
    assert parts.test.values.tolist() == np.flatnonzero(regions == 0).tolist()[1:]
    assert parts.left_out["near copies between parts"] == 1


def test_parts_without_places_are_drawn_and_too_few_rows_are_refused(table):
    parts = read_parts(table, RowSettings("value", 0, 40, 40))
    sizes = [len(part) for part in (parts.train, parts.valid, parts.test)]
    assert sum(sizes) in (899, 900)
    assert sizes[0] in range(640, 644)
    assert not {*parts.train.texts} & {*parts.valid.texts, *parts.test.texts}
    with pytest.raises(DataError, match="each part needs 100"):
        read_parts(table, RowSettings("value", 0, 40, 40, place="start", region=45_000))


def test_a_row_has_means_over_seeds():
    def split(name, pearson):
        figures = {"pearson": pearson, "spearman": 2 * pearson, "r2": 0.5}
        ends = (pearson - 0.1, pearson + 0.2)
        intervals = {"pearson": ends, "spearman": tuple(2 * end for end in ends)}
        test = {"figures": figures, "intervals": intervals}
        return {"predictor": name, "test": test, "seconds": 3.0}

    splits = [split("model", 0.2), split("kmer", 0.9), split("model", 0.4)]
    row = row_of("model", Point("mlm", "full", "100"), {"splits": splits})
    assert row[:3] == ("100", "mlm, genome", "full")
    assert row[3:5] == pytest.approx((0.3, 0.02**0.5))
    assert row[5:] == ("0.200 to 0.500", pytest.approx(0.6), "0.400 to 1.000", 0.5, 3.0)
    assert row_of("kmer", Point("mlm", "full", "100"), {"splits": splits})[1:5] == (
        "kmer", "", 0.9, None,
    )  # fmt: skip
