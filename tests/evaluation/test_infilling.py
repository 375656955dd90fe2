"""Gaps are hidden, refilled and counted."""

import numpy as np
import pytest
import torch

from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.evaluation.likelihood.locus_bits import locus_bits, smoothed_bits
from dnamdlm.evaluation.samples.infilling import (
    MASK_ID,
    commonest_filled,
    hide_span,
    infill_recovery,
    recovery,
    sharpest,
)
from dnamdlm.evaluation.samples.reference_samples import markov_models
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY


class Repeater(torch.nn.Module):
    """Knows that base i of every sequence is i mod 4, and how sure it is of that."""

    vocab_size = len(NUCLEOTIDE_VOCABULARY)
    time_conditioning = False

    def __init__(self, sureness):
        super().__init__()
        self.sureness = torch.nn.Parameter(torch.tensor(float(sureness)))

    def forward(self, tokens, time=None, present=None):
        return self.head(self.hidden(tokens, time, present))

    def hidden(self, tokens, time=None, present=None):
        ids = torch.arange(tokens.shape[1]) % 4 + 7
        logits = torch.zeros(*tokens.shape, self.vocab_size, dtype=self.sureness.dtype)
        told = self.sureness.detach().expand(*tokens.shape, 1)
        return logits.scatter(2, ids.expand(tokens.shape)[..., None], told)

    def head(self, states):
        return states


def repeater(sureness):
    return MaskedDiffusionLM(
        Repeater(sureness), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified()
    ).eval()


def test_one_span_of_each_row_is_hidden():
    tokens = np.full((20, 30), 7)
    hidden = hide_span(tokens, 4, np.random.default_rng(0)) == MASK_ID
    assert (hidden.sum(axis=1) == 4).all()
    assert all(np.flatnonzero(row)[-1] - np.flatnonzero(row)[0] == 3 for row in hidden)


def test_the_commonest_visible_base_fills():
    hidden = np.array([[7, 9, 9, MASK_ID]])
    assert commonest_filled(hidden).tolist() == [[7, 9, 9, 9]]


def test_recovery_is_the_share_of_hidden_bases():
    tokens = np.array([[7, 8, 9, 10], [7, 8, 9, 10]])
    hidden = np.array([[7, MASK_ID, MASK_ID, 10], [MASK_ID, MASK_ID, 9, 10]])
    made = np.array([[7, 8, 8, 10], [10, 10, 9, 10]])
    assert recovery(tokens, hidden, made, np.random.default_rng(0)).value == 0.25


def test_the_sharpest_model_has_one_base_per_context():
    model = sharpest(markov_models([np.array([0, 1, 0, 1, 0], np.uint8)], 1)[1])
    assert all((np.exp(table).sum(axis=1) == 1).all() for table in model.log_probs)


def test_a_model_that_knows_recovers_everything():
    codes = np.tile(np.arange(64, dtype=np.uint8) % 4, (6, 1))
    markov = markov_models(list(codes), 3)[3]
    rows = infill_recovery(
        repeater(60.0), IDS_OF_CODES[codes], markov, seed=0, num_windows=6, gaps=(1, 8, 40)
    )
    assert {row["gap"] for row in rows} == {1, 8}
    values = {(row["gap"], row["label"]): row["value"] for row in rows}
    assert values[8, "model, drawn"] == values[8, "model, most likely"] == 1.0
    assert values[8, "commonest base"] == pytest.approx(0.25)


def test_bits_along_a_locus_are_those_of_the_law():
    sureness = 2.0
    codes = np.arange(200, dtype=np.uint8) % 4
    codes[50] = 4
    bits = locus_bits(repeater(sureness).double(), codes, 40)
    expected = -np.log2(np.exp(sureness) / (np.exp(sureness) + 3))
    assert np.isnan(bits[50])
    # tiles start at multiples of 4 here, so that the law is that of the genome's positions.
    known = np.isfinite(bits)
    assert known.sum() == 199
    assert bits[known] == pytest.approx(expected, rel=1e-12)


def test_the_running_mean_leaves_gaps_out():
    smooth = smoothed_bits(np.array([1.0, np.nan, 3.0, 5.0]), 3)
    assert smooth == pytest.approx([1.0, 2.0, 4.0, 4.0])
