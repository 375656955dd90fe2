"""Markov chains that skip orders against the formula, computed context by context."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.words import markov_chain
from dnamdlm.words.markov_chain import MarkovChain, chain_orders, fit_chain, named_orders
from tests.words.test_sorted_words import both_strands, codes_of

ORDERS = (0, 1, 3, 12, 15)


def random_dna(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length, p=[0.3, 0.2, 0.1, 0.4]))


def probability(
    words: dict[int, Counter[str]], context: str, base: str, orders: dict[int, float]
) -> float:
    """p(base | context) by the formula of the module, with exact counts."""
    value = 0.25
    for order, m in orders.items():
        if order <= len(context):
            suffix = context[len(context) - order :]
            counts = {letter: words[order][suffix + letter] for letter in "ACGT"}
            value = (counts[base] + m * value) / (sum(counts.values()) + m)
    return value


def test_probabilities_follow_the_formula_at_every_position():
    train = random_dna(300, 1)
    train += train[40:120] + "NN" + random_dna(50, 2)
    pseudo_counts = {0: 0.5, 1: 2.0, 3: 4.0, 12: 1.0, 15: 0.25}
    words = {order: both_strands(train, order + 1) for order in ORDERS}
    chain = MarkovChain.of_codes(codes_of(train), ORDERS, tuple(pseudo_counts.values()))
    test = train[50:100] + "N" + random_dna(30, 3)
    expected = []
    for position, base in enumerate(test):
        context = test[:position].rpartition("N")[2]
        is_base = base != "N"
        expected.append(
            -math.log(probability(words, context, base, pseudo_counts)) if is_base else 0
        )
    np.testing.assert_allclose(chain.position_nats(codes_of(test)), expected, rtol=1e-12)
    # the long contexts of what training has are used.
    assert np.mean(expected[20:50]) < 0.5 * np.mean(expected[51:])


@settings(max_examples=40, deadline=None)
@given(
    train=st.text("ACGTN", min_size=1, max_size=60),
    test=st.text("ACGTN", min_size=1, max_size=40),
    orders=st.sets(st.integers(1, 8)),
)
def test_sorted_words_and_tables_give_the_same_model(train, test, orders):
    every = (0, *sorted(orders))
    pseudo_counts = tuple(2.0 ** (order % 5 - 2) for order in every)
    with pytest.MonkeyPatch.context() as patch:
        dense = MarkovChain.of_codes(codes_of(train), every, pseudo_counts)
        patch.setattr(markov_chain, "DENSE_ORDER", 0)
        sparse = MarkovChain.of_codes(codes_of(train), every, pseudo_counts)
    assert (len(dense.counts), len(sparse.tables)) == (0, 1)
    nats = [model.position_nats(codes_of(test)) for model in (dense, sparse)]
    np.testing.assert_allclose(*nats, rtol=1e-12)


def test_probabilities_of_the_four_bases_sum_to_one():
    train = random_dna(400, 4) * 2
    chain = MarkovChain.of_codes(codes_of(train), ORDERS, (1.0,) * len(ORDERS))
    rng = np.random.default_rng(5)
    log_probs = chain.next_log_probs(rng.integers(0, 4**15, 500), rng.integers(0, 16, 500))
    # float64 sums of four terms.
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, rtol=1e-14)


def test_probabilities_of_all_sequences_sum_to_one(monkeypatch):
    monkeypatch.setattr(markov_chain, "DENSE_ORDER", 1)
    chain = MarkovChain.of_codes(codes_of("ACGTTACGACGNTTACG"), (0, 1, 2, 4), (1.0, 0.5, 2.0, 0.1))
    total = sum(
        math.exp(-chain.position_nats(np.array(row, np.uint8)).sum())
        for row in itertools.product(range(4), repeat=6)
    )
    assert total == pytest.approx(1.0, rel=1e-12)


def test_pseudo_counts_are_the_best_on_validation(monkeypatch):
    monkeypatch.setattr(markov_chain, "DENSE_ORDER", 2)
    shared = random_dna(60, 6)
    train, valid = codes_of(random_dna(500, 7) + shared), codes_of(shared + random_dna(200, 8))
    fit = fit_chain(train, valid, np.ones(len(valid), np.bool_), (0, 1, 2, 6))
    for number, tried in enumerate(
        (*[markov_chain.PSEUDO_COUNTS] * 3, markov_chain.LONG_PSEUDO_COUNTS)
    ):
        orders = fit.model.orders[: number + 1]
        earlier = fit.model.pseudo_counts[:number]
        bits = []
        for m in tried:
            other = MarkovChain.of_codes(train, orders, (*earlier, m))
            bits.append(other.position_nats(valid).sum() / math.log(2) / len(valid))
        assert fit.model.pseudo_counts[number] == tried[int(np.argmin(bits))]
        assert fit.valid_bits[number] == pytest.approx(min(bits), rel=1e-12)


def test_context_is_not_scored_but_used():
    train, valid = codes_of(random_dna(300, 9)), codes_of(random_dna(40, 10))
    is_scored = np.arange(40) >= 25
    fit = fit_chain(train, valid, is_scored, (0, 1, 12))
    nats = fit.model.position_nats(valid)[is_scored]
    assert fit.valid_bits[-1] == pytest.approx(nats.sum() / math.log(2) / 15, rel=1e-12)


def test_a_shorter_chain_shares_the_orders_up_to_its_last():
    train = codes_of(random_dna(300, 11))
    chain = MarkovChain.of_codes(train, (0, 2, 12, 16), (1.0, 2.0, 3.0, 4.0))
    test = codes_of(random_dna(50, 12))
    for order in chain.orders:
        number = chain.orders.index(order) + 1
        alone = MarkovChain.of_codes(train, chain.orders[:number], chain.pseudo_counts[:number])
        np.testing.assert_array_equal(
            chain.truncated(order).position_nats(test), alone.position_nats(test)
        )
    with pytest.raises(ValueError, match="one of 0, 2, 12, 16, got 8"):
        chain.truncated(8)


def test_samples_follow_the_conditional_probabilities():
    train = random_dna(200, 13)
    chain = MarkovChain.of_codes(codes_of(train), (0, 2, 12), (1.0, 1.0, 0.1))
    start = np.tile(codes_of(train[20:32] + "N"), (4000, 1))
    uniforms = np.random.default_rng(14).random(start.shape)
    drawn = np.bincount(chain.fill(start, uniforms)[:, 12], minlength=4) / 4000
    context = int("".join(map(str, codes_of(train[20:32]))), 4)
    expected = np.exp(chain.next_log_probs(np.array([context]), np.array([12])))[0]
    # four standard errors of a share of 4,000 draws.
    assert np.abs(drawn - expected).max() < 4 * 0.5 / math.sqrt(4000)
    assert chain.sample(np.random.default_rng(15), 3, 20).shape == (3, 20)


@pytest.mark.parametrize(
    ("max_order", "orders"),
    [
        (0, (0,)),
        (10, tuple(range(11))),
        (11, (*range(11), 11)),
        (20, (*range(11), 12, 16, 20)),
        (22, (*range(11), 12, 16, 20, 22)),
        (24, (*range(11), 12, 16, 20, 24)),
    ],
)
def test_a_chain_has_every_order_to_ten_and_every_fourth_above(max_order, orders):
    assert chain_orders(max_order) == orders


@pytest.mark.parametrize("orders", [(), (1, 2), (0, 2, 2), (0, 3, 1)])
def test_orders_that_do_not_increase_from_zero_are_refused(orders):
    with pytest.raises(ValueError, match="increase from 0"):
        MarkovChain.of_codes(codes_of("ACGT"), orders, (1.0,) * len(orders))


@pytest.mark.parametrize("call", [lambda: chain_orders(25), lambda: chain_orders(-1)])
def test_orders_beyond_the_limit_are_refused(call):
    with pytest.raises(ValueError, match=r"0\.\.24"):
        call()
    with pytest.raises(ValueError, match=r"0\.\.24, got 25"):
        MarkovChain.of_codes(codes_of("ACGT"), (0, 25), (1.0, 1.0))


def test_a_label_names_the_orders():
    assert named_orders((0, 1, 2, 5, 6, 9, 10, 11)) == "0-2, 5, 6, 9-11"
