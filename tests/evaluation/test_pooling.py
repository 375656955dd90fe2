"""Rates of a mixture from the rates of its genomes."""

import math

import numpy as np
import pytest

from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport, LikelihoodRow
from dnamdlm.evaluation.likelihood.mixtures import pooled_rate, pooled_report
from dnamdlm.evaluation.rates import Rate, clustered_rate


def test_a_pooled_rate_is_the_rate_over_all_bases():
    rng = np.random.default_rng(0)
    counts = [rng.integers(1, 50, 30), rng.integers(1, 50, 70)]
    sums = [rng.normal(2.0, 0.1, len(count)) * count for count in counts]
    pooled = pooled_rate([clustered_rate(s, c) for s, c in zip(sums, counts, strict=True)])
    everything = clustered_rate(np.concatenate(sums), np.concatenate(counts))
    assert pooled.count == everything.count
    assert pooled.value == pytest.approx(everything.value, rel=1e-12)
    # strata of one law: the same error, but for the mean of each stratum that is taken out.
    assert pooled.standard_error == pytest.approx(everything.standard_error, rel=0.05)


def test_nothing_counted_gives_no_rate():
    assert math.isnan(pooled_rate([Rate(math.nan, math.nan, 0)]).value)


def report(bits, count, best):
    def row(name, family, value, **details):
        classes = {"all": Rate(value, 0.1, count), "unique": Rate(value, 0.1, count // 2)}
        return LikelihoodRow(name, name, family, "exact", classes, details)

    rows = (
        row("uniform", "uniform", 2.0),
        row("markov_additive_1", "markov", bits + 0.1),
        row(best, "markov", bits + 0.05),
        row("model", "model", bits),
    )
    differences = {
        name: {"all": Rate(bits - 2.0, 0.1, count), "unique": Rate(-0.1, 0.1, count // 2)}
        for name in ("markov_additive_1", best)
    }
    return LikelihoodReport(rows, differences, best, "markov_additive_1", 5, 64, 2, 1.0)


def test_a_pooled_report_has_all_bases_each_genome_and_each_class():
    pooled = pooled_report(
        {"ant": report(1.8, 100, "markov_interpolated_2"), "bee": report(1.9, 300, "m_3")}
    )
    bits = pooled.model.bits
    assert list(bits) == ["all", "ant", "bee", "unique"]
    assert bits["all"].value == pytest.approx((1.8 + 3 * 1.9) / 4)
    assert bits["all"].standard_error == pytest.approx(math.hypot(0.1, 0.3) / 4)
    assert (bits["ant"].value, bits["bee"].value) == (1.8, 1.9)
    assert bits["unique"].count == 200
    assert pooled.num_windows == 10


def test_the_baseline_of_a_mixture_is_the_best_model_of_each_genome():
    pooled = pooled_report(
        {"ant": report(1.8, 100, "markov_interpolated_2"), "bee": report(1.9, 300, "m_3")}
    )
    assert pooled.best_markov == "markov_best_interpolated"
    assert pooled.best_additive_markov == "markov_best_additive"
    rows = {row.name: row for row in pooled.rows}
    assert rows["markov_best_interpolated"].bits["ant"].value == pytest.approx(1.85)
    assert pooled.differences["markov_best_additive"]["bee"].value == pytest.approx(-0.1)
    assert pooled.to_json()["classes"] == ["all", "ant", "bee", "unique"]
