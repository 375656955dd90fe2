"""Scores of a mixture of a network with Markov models, from the scores of its parts."""

import math

import numpy as np
import pytest

from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport, LikelihoodRow
from dnamdlm.evaluation.likelihood.mixture_scores import choose_mixture, mixed_scores
from dnamdlm.evaluation.likelihood.mixtures import pooled_report
from dnamdlm.evaluation.rates import Rate
from dnamdlm.evaluation.window_scores import WindowScores

CLASSES = ("all", "coding", "non-coding")


def _scores(totals, kind="exact", starts=None):
    """Windows of 100 bases, of which 30 are coding and have a quarter of the nats."""
    totals = np.asarray(totals, dtype=np.float64)
    nats = np.stack([totals, 0.25 * totals, 0.75 * totals], axis=1)
    bases = np.tile([100, 30, 70], (len(totals), 1))
    starts = np.arange(len(totals)) * 100 if starts is None else starts
    return WindowScores(CLASSES, starts, nats, bases, kind)


NETWORK = _scores([130.0, 131.0, 129.0, 135.0] * 50, "upper bound")
COPIERS = {
    "low": _scores([132.0, 131.0, 131.0, 134.0] * 50),
    "high": _scores([140.0, 20.0, 138.0, 142.0] * 50),
}


@pytest.fixture(scope="module")
def chosen():
    return choose_mixture(NETWORK, COPIERS)


def _expected(chosen):
    weights = np.log(chosen.fit.weights)
    parts = np.stack([part.nats[:, 0] for part in (NETWORK, *COPIERS.values())])
    return -np.log(np.exp(weights[:, None] - parts + 100).sum(axis=0)) + 100


def test_a_quarter_of_the_windows_is_given_to_the_copier(chosen):
    assert chosen.num_windows == 200
    # the copier has a small share of the other windows, too: exp(-9) of those of 129 nats.
    assert chosen.weights["high"] == pytest.approx(0.25, abs=1e-3)
    assert sum(chosen.weights.values()) == pytest.approx(chosen.fit.pi)


def test_the_posterior_form_is_the_likelihood_of_the_mixture(chosen):
    mixed = mixed_scores(NETWORK, COPIERS, chosen, by_rule=False)
    assert mixed.kind == "upper bound"
    np.testing.assert_allclose(mixed.nats[:, 0], _expected(chosen), rtol=1e-12)
    exact = mixed_scores(COPIERS["low"], COPIERS, chosen, by_rule=False)
    assert exact.kind == "exact"


@pytest.mark.parametrize("by_rule", [True, False])
def test_the_classes_of_a_window_add_up(chosen, by_rule):
    mixed = mixed_scores(NETWORK, COPIERS, chosen, by_rule=by_rule)
    np.testing.assert_allclose(mixed.nats[:, 1:].sum(axis=1), mixed.nats[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(mixed.bases, NETWORK.bases)


def test_the_rule_costs_no_less_than_the_posterior_and_is_linear_in_the_network(chosen):
    by_rule = mixed_scores(NETWORK, COPIERS, chosen, by_rule=True)
    assert by_rule.kind == "upper bound"
    assert (by_rule.nats[:, 0] >= _expected(chosen) - 1e-9).all()
    shifted = [
        mixed_scores(_scores(NETWORK.nats[:, 0] + shift), COPIERS, chosen, by_rule=True)
        for shift in (-3.0, 3.0)
    ]
    mean = (shifted[0].nats + shifted[1].nats) / 2
    np.testing.assert_allclose(mean, by_rule.nats, rtol=1e-12)


def test_a_weight_that_is_given_is_kept():
    fixed = choose_mixture(NETWORK, COPIERS, pi=0.1)
    assert fixed.fit.pi == pytest.approx(0.1)
    alone = mixed_scores(NETWORK, COPIERS, choose_mixture(NETWORK, COPIERS, pi=0.0), by_rule=True)
    np.testing.assert_allclose(alone.nats, NETWORK.nats, rtol=1e-12)
    copied = mixed_scores(NETWORK, COPIERS, choose_mixture(NETWORK, COPIERS, pi=1.0), by_rule=True)
    assert (copied.nats[1::4, 0] < 20.0 + math.log(8)).all()


def test_parts_of_other_windows_are_refused(chosen):
    other = {
        name: _scores(part.nats[:, 0], starts=part.starts + 1) for name, part in COPIERS.items()
    }
    with pytest.raises(DataError, match="scores of the same windows"):
        mixed_scores(NETWORK, other, chosen, by_rule=True)


def _report(mixed, model, count):
    def row(name, family, value, **details):
        bits = {"all": Rate(value, 0.1, count)}
        return LikelihoodRow(name, name, family, "upper bound", bits, details)

    return LikelihoodReport(
        rows=(
            row("uniform", "uniform", 2.0),
            row("mixture_markov", "mixture", mixed, shares="rule", pi=0.1),
            row("model", "model", model),
        ),
        differences={"mixture_markov": {"all": Rate(model - mixed, 0.1, count)}},
        best_markov=None,
        best_additive_markov=None,
        num_windows=1,
        length=10,
        draws=1,
        seconds=0.0,
    )


def test_the_mixtures_of_several_genomes_are_pooled_by_their_bases():
    pooled = pooled_report({"a": _report(1.5, 1.9, 30), "b": _report(1.9, 1.9, 10)})
    row = next(row for row in pooled.rows if row.family == "mixture")
    assert row.bits["all"].value == pytest.approx(1.6)
    assert row.bits["b"].value == pytest.approx(1.9)
    assert "pi" not in row.details
    assert pooled.differences["mixture_markov"]["all"].value == pytest.approx(0.3)
    assert pooled.rows[-1].name == "model"
