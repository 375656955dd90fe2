"""Scores of variants against laws whose probabilities are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from dnamdlm.data.variants.variant_windows import PairOfWindows
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.record_states import StateReader
from dnamdlm.lm.states.variant_scores import (
    _draw_counts,
    bound_difference,
    make_pairs,
    site_log_ratio,
    state_distances,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.helpers.rounding import rounding

DRAWS = 200


def pair_of(reference, alternative, slots=None, start=0):
    reference, alternative = np.array(reference), np.array(alternative)
    differs = np.flatnonzero(reference != alternative) if len(reference) == len(alternative) else []
    slots = np.arange(len(alternative)) if slots is None else np.array(slots)
    site = int(differs[0]) if len(differs) == 1 else -1
    return PairOfWindows(reference, alternative, slots, site, start)


def language_model(backbone, vocabulary):
    return MaskedDiffusionLM(backbone, vocabulary, LogLinear(), Stratified()).eval()


@pytest.fixture(scope="module")
def law():
    return TabulatedLaw(length=4, num_symbols=2, seed=3)


@pytest.fixture(scope="module")
def oracle(law):
    return language_model(OracleBackbone(law), law.vocabulary)


def log_prob(law, tokens):
    return float(law.probs[law.index_of(torch.tensor(tokens))].log())


ALLELES = [
    ([0, 0, 1, 0], [0, 1, 1, 0]),
    ([1, 1, 0, 1], [1, 1, 0, 0]),
    ([0, 0, 1, 0], [0, 1, 0, 0]),
    ([0, 1, 1, 0], [1, 0, 0, 1]),
]


def test_the_log_ratio_at_a_site_is_that_of_the_exact_conditional(law, oracle):
    found = site_log_ratio(oracle, make_pairs([pair_of(*x) for x in ALLELES], law.vocabulary, 0))
    for (reference, alternative), value in zip(ALLELES[:2], found, strict=False):
        # log p(alt | rest) - log p(ref | rest): the rest cancels.
        expected = log_prob(law, alternative) - log_prob(law, reference)
        assert float(value) == pytest.approx(expected, abs=1e-10)
    assert torch.isnan(found[2:]).all()


def test_the_bound_of_an_exact_law_differs_by_the_difference_of_log_p(law, oracle):
    # the bound of the exact conditionals is tight, so that only the draws scatter.
    pairs = make_pairs([pair_of(*x, start=i) for i, x in enumerate(ALLELES)], law.vocabulary, 1)
    found, error = bound_difference(oracle, pairs, draws=DRAWS)
    expected = [log_prob(law, alt) - log_prob(law, ref) for ref, alt in ALLELES]
    assert (error > 0).all()
    assert (error < 0.2).all()
    np.testing.assert_array_less(np.abs(found.numpy() - expected), 4 * error.numpy())


def test_addresses_of_noise_do_not_change_what_is_estimated(law, oracle):
    pair = pair_of([0, 0, 1, 0], [1, 0, 0, 1], slots=[0, 12, 1, 2])
    found, error = bound_difference(oracle, make_pairs([pair], law.vocabulary, 2), draws=DRAWS)
    expected = log_prob(law, [1, 0, 0, 1]) - log_prob(law, [0, 0, 1, 0])
    assert abs(float(found) - expected) < 4 * float(error)


def given_laws():
    """Laws of the same sequences given 0 and given 1, behind the interface of a network."""
    laws = [TabulatedLaw(length=4, num_symbols=2, seed=seed) for seed in (3, 8)]

    class Given(OracleBackbone):
        num_classes = 2

        def forward(self, tokens, time, present=None, label=None):
            first, second = (law.logits(tokens) for law in laws)
            return torch.where((label == 1)[:, None, None], second, first)

    return laws, Given(laws[0])


@pytest.mark.parametrize("label", [0, 1])
def test_scores_given_a_class_are_those_of_the_law_given_the_class(label):
    laws, backbone = given_laws()
    lm = language_model(backbone, laws[0].vocabulary)
    pairs = make_pairs([pair_of(*x, start=i) for i, x in enumerate(ALLELES)], lm.vocabulary, 1)
    asked = pairs.labelled(label)
    law = laws[label]
    expected = [log_prob(law, alt) - log_prob(law, ref) for ref, alt in ALLELES]
    np.testing.assert_allclose(site_log_ratio(lm, asked)[:2], expected[:2], rtol=0, atol=1e-10)
    found, error = bound_difference(lm, asked, draws=DRAWS)
    np.testing.assert_array_less(np.abs(found.numpy() - expected), 4 * error.numpy())
    # the other law is told from it.
    other = [
        log_prob(laws[1 - label], alt) - log_prob(laws[1 - label], ref) for ref, alt in ALLELES
    ]
    assert (np.abs(found.numpy() - other) > 4 * error.numpy()).any()


class SingleBases(nn.Module):
    """Bases are independent, with one law; the state of a base is its one-hot vector."""

    def __init__(self, shares=(0.4, 0.1, 0.2, 0.3), *, time_conditioning=False):
        super().__init__()
        self.vocab_size = len(NUCLEOTIDE_VOCABULARY)
        self.time_conditioning = time_conditioning
        logits = torch.zeros(self.vocab_size, dtype=torch.float64)
        shares = torch.tensor(shares, dtype=torch.float64)
        logits[list(NUCLEOTIDE_VOCABULARY.real_ids)] = shares.log()
        self.logits = nn.Parameter(logits)
        self.times = []

    def forward(self, tokens, time=None, present=None):
        self.times.append(time)
        return self.logits.expand(*tokens.shape, -1)

    def hidden(self, tokens, time=None, present=None):
        return nn.functional.one_hot(tokens, self.vocab_size).float()

    def head(self, states):
        return self.logits.expand(*states.shape[:-1], -1)


SHARES = {7: 0.4, 8: 0.1, 9: 0.2, 10: 0.3}


def test_with_independent_bases_each_draw_gives_the_exact_difference():
    lm = language_model(SingleBases(), NUCLEOTIDE_VOCABULARY)
    pair = pair_of([7, 8, 9, 10, 11, 7], [7, 8, 8, 10, 11, 7])
    pairs = make_pairs([pair], NUCLEOTIDE_VOCABULARY, 0)
    expected = math.log(0.1 / 0.2)
    found, error = bound_difference(lm, pairs, draws=3)
    # the weight of a count is a float32 quotient.
    assert float(found) == pytest.approx(expected, rel=rounding(1))
    assert float(error) == pytest.approx(0, abs=rounding(1))
    assert float(site_log_ratio(lm, pairs)) == pytest.approx(expected, abs=1e-12)
    assert torch.isnan(bound_difference(lm, pairs, draws=1)[1]).all()


def test_an_insertion_has_the_difference_of_all_bases():
    lm = language_model(SingleBases(), NUCLEOTIDE_VOCABULARY)
    # TT comes in after the second base and the last two fall out of the window.
    pair = pair_of([7, 8, 9, 7, 8, 8], [7, 8, 10, 10, 9, 7], slots=[0, 1, 12, 13, 2, 3])
    found, error = bound_difference(lm, make_pairs([pair], NUCLEOTIDE_VOCABULARY, 0), draws=DRAWS)
    expected = math.log(0.3 * 0.3 / (0.1 * 0.1))
    assert abs(float(found) - expected) < 4 * float(error)


def test_a_network_that_sees_the_time_is_shown_it():
    backbone = SingleBases(time_conditioning=True)
    pairs = make_pairs([pair_of([7, 8, 9], [7, 10, 9])], NUCLEOTIDE_VOCABULARY, 0)
    lm = language_model(backbone, NUCLEOTIDE_VOCABULARY)
    assert float(site_log_ratio(lm, pairs)) == pytest.approx(math.log(3), abs=1e-12)
    # one of three is hidden: alpha = 2 / 3, and the network gets -log alpha in float32.
    assert float(backbone.times[0]) == pytest.approx(math.log(1.5), abs=rounding(2))
    found, _ = bound_difference(lm, pairs, draws=2)
    assert float(found) == pytest.approx(math.log(3), rel=rounding(1))


def test_scores_do_not_depend_on_the_other_pairs(law, oracle):
    windows = [pair_of(*x, start=i) for i, x in enumerate(ALLELES)]
    together = bound_difference(oracle, make_pairs(windows, law.vocabulary, 1), draws=5)
    alone = [
        bound_difference(oracle, make_pairs([x], law.vocabulary, 1), draws=5) for x in windows[::-1]
    ]
    for part in (0, 1):
        torch.testing.assert_close(together[part], torch.cat([x[part] for x in alone[::-1]]))


def alleles_of_one_place(start):
    reference = [7, 8, 9, 10, 11, 7]
    return [pair_of(reference, [7, 8, alt, 10, 11, 7], start=start) for alt in (7, 8, 10)]


def test_the_alleles_of_a_place_share_what_depends_on_the_reference_alone():
    windows = [*alleles_of_one_place(0), *alleles_of_one_place(5)]
    backbone = SingleBases()
    lm = language_model(backbone, NUCLEOTIDE_VOCABULARY)
    pairs = make_pairs(windows, NUCLEOTIDE_VOCABULARY, 0)
    rows = []
    backbone.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    shared = [site_log_ratio(lm, pairs), *bound_difference(lm, pairs, draws=2)]
    # the base hidden: two places; in each draw also the reference, and six alternatives.
    assert rows == [2, *[2, 2, 6] * 2]
    apart = [make_pairs([x], NUCLEOTIDE_VOCABULARY, 0) for x in windows]
    for number, part in enumerate(apart):
        alone = [site_log_ratio(lm, part), *bound_difference(lm, part, draws=2)]
        torch.testing.assert_close([x[number : number + 1] for x in shared], alone)


def test_two_places_with_equal_windows_do_not_share_their_noise(law, oracle):
    windows = [pair_of(*ALLELES[0], start=start) for start in (0, 5)]
    found, _ = bound_difference(oracle, make_pairs(windows, law.vocabulary, 0), draws=1)
    assert found[0] != found[1]


def test_a_base_alone_is_scored():
    lm = language_model(SingleBases(), NUCLEOTIDE_VOCABULARY)
    pairs = make_pairs([pair_of([7], [10])], NUCLEOTIDE_VOCABULARY, 0)
    found, _ = bound_difference(lm, pairs, draws=2)
    assert float(found) == pytest.approx(math.log(0.75), rel=rounding(1))


def test_states_move_by_what_the_changed_base_has_in_the_mean():
    reader = StateReader(language_model(SingleBases(), NUCLEOTIDE_VOCABULARY))
    # N does not count, so that one of four bases changes.
    pair = pair_of([7, 7, 11, 8, 8], [7, 7, 11, 8, 9])
    cosine, euclidean = state_distances(reader, make_pairs([pair], NUCLEOTIDE_VOCABULARY, 0))
    before, after = np.array([2, 2, 0]) / 4, np.array([2, 1, 1]) / 4
    expected = 1 - before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    # halves and quarters are exact in float32, and all else is float64.
    assert float(cosine) == pytest.approx(expected, abs=1e-12)
    assert float(euclidean) == pytest.approx(np.linalg.norm(after - before), abs=1e-12)


@pytest.mark.parametrize("visible", [True, False])
def test_drawn_counts_are_weighed_back_to_the_uniform_mean(visible):
    n, number = 6, 200_000
    place = (torch.arange(number).double() + 0.5) / number
    count, weight = _draw_counts(torch.full((number,), n), place, visible=visible)
    assert set(count.tolist()) == set(range(1, n if visible else n + 1))
    # a test function of k; the mean over equal strata of places is the integral to 1 / number.
    values = torch.tensor([k**2 + 1.0 for k in range(n + 1)], dtype=torch.float64)
    found = float((weight * values[count]).mean())
    expected = sum(((n - k if visible else n) / k) * (k**2 + 1) for k in range(1, n + 1)) / n
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_split_has_less_variance_than_two_bounds_apart():
    law = TabulatedLaw(length=6, num_symbols=2, seed=5)
    lm = language_model(OracleBackbone(law), law.vocabulary)
    sequences = list(itertools.product(range(2), repeat=6))[:8]
    windows = [pair_of(x, (*x[:2], 1 - x[2], *x[3:]), start=i) for i, x in enumerate(sequences)]
    pairs = make_pairs(windows, law.vocabulary, 0)
    _, ours = bound_difference(lm, pairs, draws=64)
    apart = []
    for draw in range(64):
        noise = make_pairs(windows, law.vocabulary, draw)
        nats = [
            lm.log_likelihood(x, draws=1).nats.sum(dim=1)
            for x in (noise.reference, make_pairs(windows, law.vocabulary, draw + 64).alternative)
        ]
        apart.append(nats[0] - nats[1])
    theirs = torch.stack(apart).std(dim=0) / 8
    assert float(ours.pow(2).mean()) < 0.5 * float(theirs.pow(2).mean())
