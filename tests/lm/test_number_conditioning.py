"""A model of numbers: exact on a tabulated p(x, y), in training, likelihood and generation."""

import dataclasses
import itertools
import math

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.steps import FirstHitting
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.classes import dropped_numbers, label_input
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling import network_calls
from dnamdlm.lm.sampling.class_guidance import NumberGuidance
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import FirstHittingSampler
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.lm.test_class_conditioning import _batch
from tests.lm.test_guidance import (
    LAW,
    NUM_ROWS,
    STATES,
    TEMPLATE,
    _chi_square,
    _draw,
    _law_of,
    _oracle,
    _random,
    _tokens,
)
from tests.lm.test_samplers import SAMPLERS
from tests.lm.test_steered import _assert_drawn_from

# p(y | x) of three numbers for each of the eight sequences; p(x) is that of LAW.
NUMBERS = (-1.0, 0.25, 2.0)
GIVEN_X = torch.rand(8, 3, generator=torch.Generator().manual_seed(4)).double()
GIVEN_X /= GIVEN_X.sum(dim=1, keepdim=True)


def _law(number):
    """The law p(x | y) of one number."""
    law = TabulatedLaw()
    joint = LAW.probs * GIVEN_X[:, NUMBERS.index(number)]
    law.probs = joint / joint.sum()
    return law


LAWS = {number: _law(number) for number in NUMBERS}


class NumberLaws(OracleBackbone):
    """The exact conditionals of p(x | y), and of p(x) where y is not known."""

    def __init__(self):
        super().__init__(LAW)
        self.num_classes, self.num_numbers = 0, 1

    def forward(self, tokens, time, present=None, label=None):
        logits = LAW.logits(tokens)
        if label is None:
            return logits
        for number, law in LAWS.items():
            logits = torch.where((label == number)[..., None], law.logits(tokens), logits)
        return logits

    def hidden(self, tokens, time, present=None, label=None):
        return self(tokens, time, present, label)


def _bound(lm, sequence, label):
    """The bound of exact counts with all masks enumerated, in nats."""
    total = 0.0
    for count in (1, 2, 3):
        subsets = list(itertools.combinations(range(3), count))
        for places in map(list, subsets):
            xt = sequence.clone()
            xt[places] = LAW.mask_id
            found = lm.denoise(xt[None], label=label)[0, places, sequence[places]]
            total -= found.sum().item() / (count * len(subsets))
    return total


@pytest.mark.parametrize("number", [*NUMBERS, None])
def test_the_bound_of_the_exact_denoiser_is_minus_log_p_given_the_number(number):
    lm = _oracle(NumberLaws())
    law, label = (LAW, None) if number is None else (LAWS[number], (number,))
    for place, sequence in enumerate(LAW.sequences):
        assert _bound(lm, sequence, label) == pytest.approx(-law.probs[place].log().item(), 1e-12)


def test_likelihoods_are_given_the_number_of_each_row_where_it_is_known():
    lm = _oracle(NumberLaws())
    label = torch.tensor([-1.0, 0.25, 2.0, math.nan]).double()[:, None].repeat(2, 1)
    batch = _batch(8, 3, label=label)
    batch = dataclasses.replace(batch, tokens=LAW.sequences)
    for estimator in ("left_to_right", "orders:2"):
        nats = lm.log_likelihood(batch, estimator=estimator).nats.sum(dim=1)
        for row, number in enumerate(label[:, 0].tolist()):
            law = LAW if math.isnan(number) else LAWS[number]
            assert nats[row].item() == pytest.approx(-law.probs[row].log().item(), 1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0, 2.5])
def test_a_number_is_mixed_as_defined_in_every_state(gamma):
    laws, _ = _law_of(_oracle(NumberLaws()), NumberGuidance((2.0,), gamma))
    given, free = LAWS[2.0].log_probs(STATES).exp(), LAW.log_probs(STATES).exp()
    weights = torch.nan_to_num(given**gamma * free ** (1 - gamma), posinf=0.0)
    torch.testing.assert_close(laws.exp(), weights / weights.sum(-1, keepdim=True))


@pytest.fixture
def _large_groups(monkeypatch):
    monkeypatch.setattr(network_calls, "ROWS_PER_CALL_CPU", 1 << 17)


@pytest.mark.usefixtures("_large_groups")
def test_strength_one_draws_from_the_law_given_the_number():
    generated = _draw(_oracle(NumberLaws()), NumberGuidance((0.25,)), rule=FirstHitting())
    # beyond the 0.9999 quantile for 7 degrees of freedom.
    assert _chi_square(generated.tokens, LAWS[0.25].probs) < 29.9
    assert _chi_square(generated.tokens, LAW.probs) > 100


@pytest.mark.usefixtures("_large_groups")
def test_corrected_guidance_draws_from_the_product_of_powers():
    corrected = NumberGuidance((2.0,), 2.5, corrected=True)
    (piece,) = generate_pieces(
        _oracle(NumberLaws()), torch.arange(2_000) * 977, MASKS, sampler=FirstHittingSampler(),
        trained_length=3, guidance=corrected, tilt=Tilt(24),
    )  # fmt: skip
    _assert_drawn_from(piece, LAWS[2.0].probs ** 2.5 * LAW.probs**-1.5)


MASKS = Template(torch.full((3,), LAW.mask_id).numpy(), None)


def _network(num_numbers=2):
    backbone = _random(DiT(12, 16, 1, 2, num_numbers=num_numbers))
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY).eval()


@pytest.mark.parametrize("sampler", SAMPLERS[::2], ids=repr)
def test_samplers_follow_a_number_whatever_the_batch(sampler):
    lm, guidance = _network(), NumberGuidance((1.5, math.nan), 2.0)
    tokens = _tokens(lm, range(2), sampler, guidance)
    assert torch.equal(_tokens(lm, [1], sampler, guidance), tokens[[1]])
    assert not torch.equal(_tokens(lm, range(2), sampler, None), tokens)
    zero = dataclasses.replace(guidance, gamma=0.0)
    assert torch.equal(_tokens(lm, range(2), sampler, zero), _tokens(lm, range(2), sampler, None))


def test_block_diffusion_follows_a_number_with_and_without_its_cache():
    backbone = _random(DiT(12, 16, 1, 2, num_numbers=1))
    lm = BlockDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, block_length=4).eval()
    keys = torch.arange(2) * 977
    start = torch.from_numpy(TEMPLATE.ids[:8]).long().repeat(2, 1)

    def made(guidance, *, use_cache=True):
        pieces = lm.pieces(
            keys, start, window=8, guidance=guidance, num_steps=4, use_cache=use_cache
        )
        return torch.cat([piece.tokens for piece in pieces], dim=1)

    guided = made(NumberGuidance((2.0,), 1.5))
    assert torch.equal(guided, made(NumberGuidance((2.0,), 1.5), use_cache=False))
    assert not torch.equal(guided, made(None))
    batch = _batch(3, 8, label=torch.tensor([[0.5], [math.nan], [2.0]]))
    assert lm.loss_terms(batch).nats.isfinite().all()
    free = lm.log_likelihood(dataclasses.replace(batch, label=None), draws=2).nats
    told = lm.log_likelihood(batch, draws=2).nats
    torch.testing.assert_close(told[1], free[1])
    assert not torch.allclose(told[0], free[0])


def test_numbers_are_dropped_together_and_alone_as_often_as_asked_and_by_key_alone():
    numbers, noise = torch.rand(NUM_ROWS, 2), RowNoise(_batch(NUM_ROWS, 1).key)
    dropped = dropped_numbers(numbers, noise, probability=0.2)
    gone = dropped.isnan()
    # both: together, or each alone.
    for share, expected in (
        (gone.all(dim=1), 0.2 + 0.8 * 0.04), (gone[:, 0], 0.2 + 0.8 * 0.2),
        (gone[:, 1], 0.2 + 0.8 * 0.2),
    ):  # fmt: skip
        # four standard errors of a share.
        assert abs(share.double().mean() - expected) < 4 * (0.25 / NUM_ROWS) ** 0.5
    assert torch.equal(dropped[~gone], numbers[~gone])
    some = torch.tensor([17, 4, 900])
    again = dropped_numbers(numbers[some], RowNoise(_batch(NUM_ROWS, 1).key[some]), probability=0.2)
    torch.testing.assert_close(again, dropped[some], equal_nan=True)
    one = dropped_numbers(numbers[:, :1], noise, probability=0.2).isnan()
    assert abs(one.double().mean() - 0.2) < 4 * (0.16 / NUM_ROWS) ** 0.5


def test_the_loss_is_that_of_the_numbers_that_are_left():
    lm = _network(1).double()
    lm.label_dropout = 0.5
    label = torch.tensor([[-1.0], [0.2], [1.0], [2.0], [math.nan], [0.1]], dtype=torch.float64)
    batch = _batch(label=label)
    loss = lm.loss_terms(batch).nats
    kept = dropped_numbers(label, RowNoise(batch.key), probability=0.5)
    assert set(kept.isnan()[:, 0].tolist()) == {True, False}
    lm.label_dropout = 0.0
    expected = lm.loss_terms(dataclasses.replace(batch, label=kept)).nats
    torch.testing.assert_close(loss, expected)
    without = lm.loss_terms(dataclasses.replace(batch, label=None)).nats
    torch.testing.assert_close(loss[4], without[4])
    assert not torch.allclose(loss, without)


@pytest.mark.parametrize(
    ("lm", "guidance", "message"),
    [
        (_oracle(), NumberGuidance((1.0,)), "trained without numbers"),
        (_network(2), NumberGuidance((1.0,)), "1 numbers are given"),
        (_network(1), NumberGuidance((math.nan,)), "must be finite"),
        (_network(1), NumberGuidance((math.inf,)), "must be finite"),
        (_network(1), NumberGuidance((1.0,), -1.0), "guidance=-1.0 must be at least 0"),
    ],
)
def test_numbers_that_a_model_cannot_follow_are_refused(lm, guidance, message):
    with pytest.raises(ConfigError, match=message):
        guidance.check(lm)


def test_a_class_is_no_number():
    with pytest.raises(ConfigError, match="conditioned on numbers"):
        label_input(1, 2, num_classes=0, num_numbers=1, device=torch.device("cpu"))
