"""Chains with copies: normalised, of bounded reach, and better exactly where they should be."""

import dataclasses
import math

import numpy as np
import pytest

from dnamdlm.words.codes import N_CODE
from dnamdlm.words.copies import Copier, chain_log_probs, fit_copies
from dnamdlm.words.markov_chain import MarkovChain
from dnamdlm.words.seeds import HISTORY, SeedIndex

REACH = 24


def mutated(rng, codes, share):
    """A copy with substitutions."""
    changed = rng.random(len(codes)) < share
    return np.where(changed, (codes + rng.integers(1, 4, len(codes))) % 4, codes).astype(np.uint8)


@pytest.fixture(scope="module")
def genome():
    """Training, validation and test codes: half of each is an old copy of the training sequence."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 4, 6000).astype(np.uint8)
    others = []
    for start in (500, 2500):
        copy = mutated(rng, train[start : start + 1500], 0.05)
        others.append(np.concatenate([rng.integers(0, 4, 1500).astype(np.uint8), copy]))
    # the test has its copy from the other strand.
    others[1][1500:] = 3 - others[1][1500:][::-1]
    return train, *others


@pytest.fixture(scope="module")
def chain(genome):
    return MarkovChain.of_codes(genome[0], (0, 1, 11), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def fit(genome, chain):
    train, valid, _ = genome
    scored = np.ones(len(valid), np.bool_)
    return fit_copies(train, valid, scored, chain, seed_lengths=(10, 14), reach=REACH)


def test_the_four_bases_sum_to_one_everywhere_also_beside_n(fit, genome):
    codes = genome[2].copy()
    codes[1700] = N_CODE
    total = np.exp(fit.model.log_probs(codes)).sum(axis=1)
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    assert fit.model.position_nats(codes)[1700] == 0.0


def test_copies_are_worth_what_the_chain_loses_after_each_substitution(fit, chain, genome):
    test = genome[2]
    nats = fit.model.position_nats(test)
    plain = chain.position_nats(test)
    # the chain has to read eleven bases again, the copy goes on; chance matches cost little.
    assert nats[1550:].mean() < 0.75 * plain[1550:].mean()
    assert nats[:1500].mean() < plain[:1500].mean() + 0.02


def test_the_probability_of_a_base_depends_on_the_context_before_it_alone(fit, genome):
    test = genome[2]
    context = fit.model.context
    assert context == HISTORY + REACH
    whole = fit.model.position_nats(test)
    part = fit.model.position_nats(test[1600 - context : 1700], context)
    assert part.tolist() == whole[1600:1700].tolist()
    later = test.copy()
    later[1650:] = 3 - later[1650:]
    assert fit.model.position_nats(later)[:1650].tolist() == whole[:1650].tolist()


def test_the_figure_of_validation_leaves_each_position_out_of_its_counts(genome, chain):
    train, valid = genome[0], genome[1][1480:1600]
    scored = np.ones(len(valid), np.bool_)
    scored[:5] = False

    def fitted(scored):
        return fit_copies(train, valid, scored, chain, seed_lengths=(10,), reach=REACH)

    whole = fitted(scored)
    (copier,) = whole.model.copiers
    aligned = copier.index.aligned(valid, REACH).positions
    assert copier.positions.sum() == (aligned >= 5).sum() > 30
    plain, nats = chain_log_probs(chain, valid), []
    for position in np.flatnonzero(scored):
        others = scored.copy()
        others[position] = False
        (without,) = fitted(others).model.copiers
        without = dataclasses.replace(without, pseudo_count=copier.pseudo_count)
        nats.append(-without.refined(plain, valid)[position, valid[position]])
    assert whole.valid_bits == pytest.approx(np.mean(nats) / math.log(2), abs=1e-12)


def test_rare_kinds_are_drawn_towards_the_chain():
    index = SeedIndex.of_codes(np.array([0, 1, 2, 3, 0, 1], np.uint8), 4)
    shape = (12, 13, 16)
    empty = Copier(index, 3, np.zeros(shape, np.int64), np.zeros(shape, np.int64), 2.0)
    plain = np.log(np.full((6, 4), 0.25))
    codes = np.array([0, 1, 2, 3, 0, 1], np.uint8)
    np.testing.assert_allclose(empty.refined(plain, codes), plain, atol=1e-15)
    sure = dataclasses.replace(empty, positions=np.full(shape, 6), hits=np.full(shape, 6))
    refined = np.exp(sure.refined(plain, codes))
    # (6 + 2/4) / 8 for the base that follows, the rest in equal parts.
    assert refined[4] == pytest.approx([6.5 / 8, 0.5 / 8, 0.5 / 8, 0.5 / 8])
