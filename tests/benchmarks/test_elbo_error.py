"""The table of the elbo at equal standard error."""

import numpy as np
import pytest

from benchmarks.speed.elbo_error import Found, ratio, read_scores, write_substitutions
from dnamdlm.data.variants.vcf import VariantFile


def test_half_the_spread_at_equal_time_is_a_quarter_of_the_cost():
    scores = np.random.default_rng(0).standard_normal((50, 200))
    value, low, high = ratio(Found(0.5, scores), Found(0.5, scores / 2 + 7))
    assert (value, low, high) == pytest.approx((4.0, 4.0, 4.0))
    # 50 seeds x 200 substitutions: the ratio of two variances is known to some 2 %.
    other = np.random.default_rng(1).standard_normal((50, 200))
    value, low, high = ratio(Found(0.3, scores), Found(0.1, other))
    assert value == pytest.approx(3.0, rel=0.1)
    assert 2.5 < low < value < high < 3.5


def test_a_variance_is_that_of_one_substitution_and_not_between_them():
    scores = np.array([[1.0, 100.0], [3.0, 100.0]])
    assert Found(1.0, scores).variance == pytest.approx((2.0 + 0.0) / 2)


def test_substitutions_are_a_vcf_file(tmp_path):
    write_substitutions(tmp_path / "v.vcf", "chrIV", 11, "AC")
    rows = list(VariantFile(str(tmp_path / "v.vcf")).rows())
    assert [(row.chrom, int(row.fields[1]), row.ref, *row.alts) for row in rows] == [
        ("chrIV", 11, "A", "C"), ("chrIV", 11, "A", "G"), ("chrIV", 11, "A", "T"),
        ("chrIV", 12, "C", "A"), ("chrIV", 12, "C", "G"), ("chrIV", 12, "C", "T"),
    ]  # fmt: skip


def test_scores_are_read_below_their_description(tmp_path):
    path = tmp_path / "v.tsv"
    path.write_text("## delta_elbo: a bound\nchrom\tdelta_elbo\nx\t-0.5\nx\t2\n")
    assert read_scores(path).tolist() == [-0.5, 2.0]
