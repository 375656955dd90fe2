"""A trained model from Python: samples, likelihoods, embeddings."""

import math

import numpy as np
import pytest
import torch

import dnamdlm
from dnamdlm.lm.sampling.samplers import SemiAutoregressiveSampler
from tests.helpers.rounding import additions, rounding


@pytest.fixture(scope="module")
def model(trained):
    return dnamdlm.load(str(trained), device="cpu")


def test_samples_are_dna_and_do_not_depend_on_the_batch(model):
    sequences = model.sample(5, length=40, seed=3)
    assert [len(sequence) for sequence in sequences] == [40] * 5
    assert set("".join(sequences)) <= set("ACGT")
    assert model.sample(5, length=40, seed=3, batch_size=2) == sequences
    assert model.sample(5, length=40, seed=4) != sequences


def test_long_sequences_come_window_by_window(model):
    sampler = SemiAutoregressiveSampler(num_steps=4)
    (sequence,) = model.sample(1, length=150, sampler=sampler)
    assert len(sequence) == 150


def test_likelihoods_are_near_those_of_a_barely_trained_model(model):
    values = model.log_likelihood(["ACGT" * 8, "ACGT" * 8, "A"], draws=8)
    assert values.shape == (3,)
    # about two bits per base, whatever the sequence.
    assert -32 * math.log(4) * 1.5 < values[0] < -32 * math.log(4) * 0.5


def test_n_is_seen_but_not_scored(model):
    (with_n,) = model.log_likelihood(["ACGTNNNNNNNN"], draws=4)
    assert with_n > -4 * math.log(4) * 2


def test_embeddings_do_not_depend_on_what_shares_the_batch(model):
    alone = model.embed(["ACGTACGTAA"])
    together = model.embed(["ACGTACGTAA", "ACGT" * 10])
    allowed = rounding(additions(model.loaded.lm), np.abs(alone).max())
    np.testing.assert_allclose(alone[0], together[0], rtol=0, atol=allowed)


def test_an_embedding_is_the_mean_over_a_c_g_and_t_alone(model, monkeypatch):
    def hidden(batch):
        return torch.nn.functional.one_hot(batch.tokens, 12).float()

    monkeypatch.setattr(model.loaded.lm, "hidden", hidden)
    rows = model.embed(["AACGNN.R", "T"])
    # the share of each base; N, masks, ambiguity codes and padding do not count.
    assert rows[:, 7:11].tolist() == [[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]
    assert not rows[:, :7].any()
    assert not rows[:, 11:].any()


def test_an_empty_sequence_is_refused(model):
    with pytest.raises(dnamdlm.DataError, match="empty"):
        model.log_likelihood([""])
