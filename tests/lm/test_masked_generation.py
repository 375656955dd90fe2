"""Sequences that a masked diffusion model generates."""

import math

import pytest
import torch

from dnamdlm.diffusion.analytic import Analytic
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import cosine_grid
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ScoreEntropy
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone
from tests.lm.test_masked import LAW, N_ID, _bases, _batch, _network, _oracle


@pytest.mark.parametrize("time_conditioning", [False, True])
def test_generated_bytes_do_not_depend_on_batch_size_or_order(time_conditioning):
    model = _network(time_conditioning=time_conditioning)
    keys = row_keys(7, torch.arange(9))
    whole = model.generate(keys, 21, num_steps=10)
    assert bool(((whole.tokens >= 7) & (whole.tokens <= 10)).all())
    for batch_size in (1, 2, 4):
        part = model.generate(keys, 21, num_steps=10, batch_size=batch_size)
        assert torch.equal(part.tokens, whole.tokens)
        assert part.row_calls == whole.row_calls
    order = torch.tensor([5, 0, 8])
    assert torch.equal(model.generate(keys[order], 21, num_steps=10).tokens, whole.tokens[order])


def test_generation_keeps_what_is_given_and_fills_the_rest():
    initial = torch.full((5, 16), 3)
    initial[:, 2:6] = torch.tensor([7, N_ID, 9, 10])
    initial[:, 14:] = NUCLEOTIDE_VOCABULARY.pad_id
    allowed = torch.zeros(12, dtype=torch.bool)
    allowed[[8, 9]] = True
    model = _network()
    keys = row_keys(0, torch.arange(5))
    tokens = model.generate(
        keys,
        16,
        initial=initial,
        constraints=Constraints(allowed),
        times=cosine_grid(6),
        rule=Ancestral(Choice(temperature=0.7, top_p=0.9)),
        batch_size=2,
    ).tokens
    given = initial != 3
    assert torch.equal(tokens[given], initial[given])
    assert set(tokens[~given].tolist()) <= {8, 9}


def test_generation_with_the_oracle_follows_its_law():
    tokens = (
        _oracle()
        .generate(row_keys(0, torch.arange(400)), LAW.length, num_steps=32, batch_size=100)
        .tokens
    )
    counts = torch.bincount(LAW.index_of(tokens), minlength=8).double()
    expected = LAW.probs * 400
    # 7 degrees of freedom: 24.3 is the 0.999 quantile.
    assert ((counts - expected) ** 2 / expected).sum() < 24.3


def test_no_sequences_and_no_masks_are_no_work():
    model = _network()
    assert model.generate(row_keys(0, torch.arange(0)), 5).tokens.shape == (0, 5)
    initial = _bases(2, 5)
    done = model.generate(row_keys(0, torch.arange(2)), 5, initial=initial)
    assert torch.equal(done.tokens, initial)
    assert done.row_calls == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, b: m.log_likelihood(b, draws=0), "draws must be at least 1, got 0"),
        (lambda m, b: m.log_likelihood(b, draws=1, estimator="count"), "use estimator=time"),
        (lambda m, b: m.generate(b.key, 0), "length and batch_size must be at least 1"),
        (lambda m, b: m.generate(b.key, 4, batch_size=0), "at least 1, got 4 and 0"),
        (lambda m, b: m.generate(b.key, 4, num_steps=0), "num_steps must be at least 1"),
        (lambda m, b: m.generate(b.key, 4, initial=torch.full((2, 5), 3)), r"shape \(2, 5\)"),
        (lambda m, b: m.generate(b.key, 4, initial=torch.full((2, 4), 12)), r"outside \[0, 12\)"),
    ],
)
def test_impossible_requests_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call(_network(time_conditioning=True), _batch(_bases(2, 8)))


def test_only_the_asked_masks_are_filled():
    fill = torch.zeros(3, 10, dtype=torch.bool)
    fill[:, 2:5] = True
    tokens = _network().generate(row_keys(0, torch.arange(3)), 10, fill=fill, batch_size=2).tokens
    assert torch.equal(tokens != 3, fill)


def test_a_model_of_scores_reveals_with_the_totals_it_gives():
    backbone = OracleBackbone(LAW)
    model = MaskedDiffusionLM(
        backbone, LAW.vocabulary, LogLinear(), Uniform(), objective=ScoreEntropy()
    )
    xt = torch.full((1, LAW.length), LAW.mask_id)
    # the logits of the oracle are log p + 3, of which log 2 is taken off for the two symbols.
    totals = model.log_unnormalized(xt, torch.ones(1)).logsumexp(-1)
    torch.testing.assert_close(totals, torch.full_like(totals, 3 - math.log(2)))
    torch.testing.assert_close(model.denoise(xt).logsumexp(-1), torch.zeros_like(totals))
    # so large a total reveals everything in the first of two steps, and the law is that of one.
    tokens = model.generate(row_keys(0, torch.arange(50)), LAW.length, rule=Analytic(), num_steps=2)
    assert tokens.row_calls == 50
