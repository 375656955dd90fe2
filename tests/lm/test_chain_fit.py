"""Chains of a genome against the Markov models with tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import DataError
from dnamdlm.lm import contexts
from dnamdlm.lm.chain_fit import fit_markov_chain, joined_codes
from dnamdlm.lm.markov import MarkovLM
from dnamdlm.lm.markov_fit import fit_markov
from tests.lm.test_markov import batch_of, random_dna, store_of, whole


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    shared = random_dna(400, 20)
    return store_of(
        tmp_path_factory.mktemp("genome"),
        train=random_dna(3000, 21) + shared + "NNN" + random_dna(500, 22).lower(),
        valid=random_dna(600, 23) + shared[:150],
        test=random_dna(300, 24) + shared[100:300] + "N" + random_dna(200, 25),
    )


@pytest.fixture(scope="module")
def fit(genome):
    return fit_markov_chain(genome, whole(genome, "train"), whole(genome, "valid"))


def test_the_orders_with_tables_are_those_of_the_interpolated_model_bit_for_bit(genome, fit):
    train, valid = whole(genome, "train"), whole(genome, "valid")
    expected = fit_markov(genome, train, valid, max_order=10)["interpolated"]
    assert fit.model.pseudo_counts[:11] == expected.model.pseudo_counts
    for table, log_probs in zip(fit.model.tables, expected.model.log_probs, strict=True):
        np.testing.assert_array_equal(table, log_probs)
    np.testing.assert_allclose(fit.valid_bits[:11], expected.valid_bits, rtol=1e-12)


def test_long_orders_win_where_validation_copies_training(fit):
    assert fit.best_order >= 12
    assert fit.model.orders == (*range(11), 12, 16, 20)


def test_a_window_alone_and_a_window_with_the_bases_before_it(genome, fit):
    windows = Sweep.over(SplitWindows(genome, whole(genome, "test"), 64))
    (batch,) = windows.batches(len(windows))
    codes = np.asarray(genome.fetch(Interval("test", 0, 701)))
    alone = MarkovLM(fit.model).log_likelihood(batch).nats.numpy()
    after = MarkovLM(fit.model, before=genome).log_likelihood(batch).nats.numpy()
    np.testing.assert_array_equal(after.reshape(-1)[:701], fit.model.position_nats(codes))
    for number, row in enumerate(alone):
        part = fit.model.position_nats(codes[64 * number : 64 * (number + 1)])
        np.testing.assert_array_equal(row[: len(part)], part)
    assert after.sum() < alone.sum()


def test_windows_without_a_place_have_no_bases_before_them(genome, fit):
    with pytest.raises(DataError, match="no place in a genome"):
        MarkovLM(fit.model, before=genome).log_likelihood(batch_of("ACGT", "TTTT"))


def test_a_chain_generates_from_keys(fit):
    made = MarkovLM(fit.model).generate(torch.arange(3), 40).tokens
    assert made.shape == (3, 40)
    assert set(made.unique().tolist()) <= {7, 8, 9, 10}


@pytest.mark.parametrize("chunk", [7, 50])
def test_joined_codes_have_their_context_once_and_a_gap_after_each_interval(
    monkeypatch, genome, chunk
):
    monkeypatch.setattr(contexts, "CHUNK_BASES", chunk)
    plain = np.asarray(genome.fetch(Interval("train", 0, 3903))) & 7
    parts = [Interval("train", 5, 70), Interval("train", 100, 160)]
    codes, is_scored = joined_codes(genome, parts, context=12)
    expected = [*plain[0:70], 4, *plain[88:160], 4]
    assert codes.tolist() == expected
    assert is_scored.tolist() == [False] * 5 + [True] * 65 + [False] * 13 + [True] * 60 + [False]


def test_a_split_without_bases_is_refused(tmp_path):
    store = store_of(tmp_path, train="NNNN", valid="ACGT")
    with pytest.raises(DataError, match="training split holds no A, C, G or T"):
        fit_markov_chain(store, whole(store, "train"), whole(store, "valid"))


@pytest.mark.slow
def test_yeast_figures_of_the_chain(shared, tmp_path):
    store = prepare_genome(shared / "data/genomes/yeast_S288C_R64.fa.gz", cache_dir=tmp_path)
    chromosomes = whole(store)
    fit = fit_markov_chain(store, chromosomes[:14], chromosomes[14:15])
    codes, _ = joined_codes(store, chromosomes[15:16])
    bits = {
        order: fit.model.truncated(order).position_nats(codes).sum() / np.log(2) / 948_066
        for order in (8, 10, 20)
    }
    # measured on the whole chromosome with the bases before each position as context.
    assert bits == {
        8: pytest.approx(1.9307, abs=5e-5),
        10: pytest.approx(1.9153, abs=5e-5),
        20: pytest.approx(1.8449, abs=5e-5),
    }
