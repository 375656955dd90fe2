"""Likelihoods of a split against known answers: uniform, oracle and Markov models."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.annotation import RegionClasses
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.likelihood_report import likelihood_report
from dnamdlm.evaluation.likelihood.markov_scores import score_markov
from dnamdlm.evaluation.window_scores import BaseClasses, WindowScores, score_windows
from dnamdlm.lm.language_model import TokenLikelihood
from dnamdlm.lm.markov import MarkovLM
from dnamdlm.lm.markov_fit import fit_markov, interval_bits
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY


class CostPerBase:
    """A model that charges a fixed number of bits for each kind of base."""

    vocabulary = NUCLEOTIDE_VOCABULARY

    def __init__(self, **bits: float) -> None:
        self.bits = bits
        self.draws: set[int] = set()

    def log_likelihood(
        self, batch: Batch, *, draws: int, estimator: str = "auto"
    ) -> TokenLikelihood:
        assert estimator == "auto"
        self.draws.add(draws)
        cost = torch.zeros(len(self.vocabulary), dtype=torch.float64)
        for base, bits in self.bits.items():
            cost[self.vocabulary.symbols.index(base)] = bits * math.log(2.0)
        nats = torch.where(batch.valid, cost[batch.tokens], 0.0)
        return TokenLikelihood(nats, batch.valid, "upper bound")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> GenomeStore:
    folder = tmp_path_factory.mktemp("genome")
    draw = np.random.default_rng(0).choice
    texts = {name: "".join(draw(list("ACGT"), 3000)) for name in ("train", "valid", "test")}
    texts["test"] = texts["test"][:1000].lower() + "N" * 30 + texts["test"][1000:]
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    return prepare_genome(fasta, cache_dir=folder)


@pytest.fixture(scope="module")
def fits(store):
    train, valid, _ = (Interval(name, 0, length) for name, length in store.lengths.items())
    return fit_markov(store, [train], [valid], max_order=3)


@pytest.fixture
def windows(store) -> Sweep[SplitWindows]:
    return Sweep.over(SplitWindows(store, [Interval("test", 0, store.lengths["test"])], 64))


def test_every_base_counts_once_and_its_cost_is_averaged(store, windows):
    scores = score_windows(CostPerBase(A=1, C=2, G=3, T=4), windows, draws=1, batch_size=7)
    codes = store.fetch(Interval("test", 0, 3030)) & 7
    expected = sum((codes == base).sum() * (base + 1) for base in range(4)) / 3000
    assert scores.bits().value == pytest.approx(expected)
    assert scores.bits().count == 3000


def test_the_batch_size_does_not_change_any_figure(windows):
    model = CostPerBase(A=1, C=2, G=3, T=4)
    one = score_windows(model, windows, draws=1, batch_size=1)
    many = score_windows(model, windows, draws=1, batch_size=50)
    np.testing.assert_array_equal(one.nats, many.nats)


def test_draws_reach_the_model_and_progress_reaches_the_caller(windows):
    model, seen = CostPerBase(A=1), []
    score_windows(model, windows, draws=5, batch_size=40, progress=lambda *at: seen.append(at))
    assert model.draws == {5}
    assert seen == [(40, len(windows)), (len(windows), len(windows))]


def test_classes_follow_annotation_and_soft_mask(store, windows):
    start = store.offsets["test"]
    regions = RegionClasses(np.array([[start + 10, start + 110]]), store.num_bases)
    classes = BaseClasses(store, regions)
    scores = score_windows(CostPerBase(A=1), windows, draws=1, classes=classes)
    assert classes.names == ("all", "coding", "non-coding", "soft-masked", "unique")
    counts = [scores.bits(name).count for name in classes.names]
    assert counts == [3000, 100, 2900, 1000, 2000]
    num_a = int((store.fetch(Interval("test", 10, 110)) & 7 == 0).sum())
    assert scores.bits("coding").value == pytest.approx(num_a / 100)


@pytest.mark.parametrize("smoothing", ["additive", "interpolated"])
def test_markov_windows_add_up_to_the_bits_of_the_whole_interval(store, windows, fits, smoothing):
    model = fits[smoothing].model
    (scores,) = score_markov([model], windows, BaseClasses(store))
    expected = interval_bits(model, store, [Interval("test", 0, 3030)])
    assert scores.bits().value == pytest.approx(expected, rel=1e-12)


def test_context_reaches_before_a_split_but_not_before_its_chromosome(store, fits):
    model = fits["additive"].model
    inside = Sweep.over(SplitWindows(store, [Interval("test", 100, 400)], 64))
    (scores,) = score_markov([model], inside, BaseClasses(store))
    expected = interval_bits(model, store, [Interval("test", 100, 400)])
    assert scores.bits().value == pytest.approx(expected, rel=1e-12)
    first = Sweep.over(SplitWindows(store, [Interval("test", 0, 64)], 64))
    (scores,) = score_markov([model], first, BaseClasses(store))
    alone = model.position_nats(np.asarray(store.fetch(Interval("test", 0, 64))))
    assert scores.nats[0, 0] == pytest.approx(alone.sum(), rel=1e-12)


def report_of(model, windows, *, draws, markov):
    classes = BaseClasses(windows.source.store)
    scores = score_windows(model, windows, draws=draws, classes=classes)
    return likelihood_report(scores, windows, classes, draws=draws, seconds=1.0, markov=markov)


def test_a_markov_model_of_windows_loses_what_context_is_worth(store, windows, fits):
    model = fits["interpolated"].best
    report = report_of(MarkovLM(model), windows, draws=1, markov=fits)
    baseline = next(row for row in report.rows if row.name == model.name)
    gap = report.differences[model.name]["all"]
    assert gap.value == pytest.approx(report.model.bits["all"].value - baseline.bits["all"].value)
    assert report.model.kind == "exact"


def test_a_model_of_constant_cost_has_an_exactly_known_report(windows, fits):
    report = report_of(CostPerBase(A=2, C=2, G=2, T=2), windows, draws=3, markov=fits)
    content = report.to_json()
    model = content["rows"][-1]["classes"]["all"]
    assert model["bits_per_base"] == pytest.approx(2.0)
    assert model["standard_error"] == pytest.approx(0.0, abs=1e-12)
    assert model["perplexity"] == pytest.approx(4.0)
    names = [row["name"] for row in content["rows"]]
    assert names[0] == "uniform"
    assert len(names) == 1 + 2 * 4 + 1
    assert content["best_markov"] in names
    assert content["classes"] == ["all", "soft-masked", "unique"]


def test_a_constant_advantage_has_no_paired_error(windows):
    ours = score_windows(CostPerBase(A=1, C=2, G=3, T=4), windows, draws=1)
    dearer = replace(ours, nats=ours.nats + 0.1 * math.log(2.0) * ours.bases)
    gap = dearer.bits_above(ours)
    assert gap.value == pytest.approx(0.1)
    assert gap.standard_error == pytest.approx(0.0, abs=1e-12)
    assert ours.bits().standard_error > 0.01


def test_scores_of_other_windows_are_not_paired(store, windows):
    model = CostPerBase(A=1)
    other = Sweep.over(SplitWindows(store, [Interval("valid", 0, 640)], 64))
    ours, theirs = (score_windows(model, which, draws=1) for which in (windows, other))
    with pytest.raises(DataError, match="same windows"):
        ours.bits_above(theirs)


def test_the_best_mask_rates_are_proportional_to_the_deviations_of_the_loss():
    windows = 6
    spread = np.linspace(1.0, 0.1, 10)
    signs = np.array([1.0, -1.0, 1.0, -1.0, 0.0, 0.0])[:, None]
    bases = np.tile(np.arange(1, 11), (windows, 1))
    # the last window has no draw in any tenth, and tells nothing.
    bases[-1] = 0
    scores = WindowScores(
        ("all",), np.arange(windows), np.zeros((windows, 1)), np.ones((windows, 1), np.int64),
        "upper bound", (2.0 + signs * spread) * bases, bases,
    )  # fmt: skip
    expected = spread * 10 / spread.sum()
    assert scores.best_mask_rates() == pytest.approx(expected)
    few = replace(scores, hidden_bases=np.where(np.arange(windows)[:, None] < 5, 0, bases))
    assert few.best_mask_rates() == ()
    assert replace(scores, hidden_nats=None, hidden_bases=None).best_mask_rates() == ()
