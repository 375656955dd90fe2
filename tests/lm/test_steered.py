"""Populations of a language model: the laws they draw from, and the samplers that are refused."""

import pytest
import torch

from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.steps import StepRule, draw_tokens
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling import network_calls
from dnamdlm.lm.sampling.class_guidance import ClassGuidance
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    BlockSampler,
    FirstHittingSampler,
    RemaskSampler,
    SemiAutoregressiveSampler,
)
from tests.lm.test_guidance import LAW, TwoLaws, _joint, _network, _oracle

REWARDS = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 1.5, 0.2]).double()
MASKS = Template(torch.full((3,), LAW.mask_id).numpy(), None)


def _reward(ids):
    return REWARDS[LAW.index_of(ids)]


def _made(tilt, *, sampler, guidance=None, populations=2_000, lm=None, **settings):
    lm = lm or _oracle(TwoLaws())
    keys = row_keys(0, torch.arange(populations))
    (piece,) = generate_pieces(
        lm, keys, MASKS, sampler=sampler, trained_length=3, guidance=guidance, tilt=tilt, **settings
    )
    return piece


def _assert_drawn_from(piece, weights):
    counts = torch.bincount(LAW.index_of(piece.tokens), minlength=8).double()
    expected = weights / weights.sum() * len(piece.tokens)
    # the 0.9999 quantile of the chi-square distribution with 7 degrees of freedom.
    assert ((counts - expected) ** 2 / expected).sum() < 29.9
    # four standard errors of the mean of the estimates of Z.
    estimates = piece.outcome.log_z.exp()
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - weights.sum()) < 4 * error + 1e-6


@pytest.fixture
def _large_groups(monkeypatch):
    monkeypatch.setattr(network_calls, "ROWS_PER_CALL_CPU", 1 << 17)


@pytest.mark.usefixtures("_large_groups")
@pytest.mark.parametrize(
    "sampler", [FirstHittingSampler(), BlockSampler("first_hitting", block=2)], ids=repr
)
def test_a_reward_tilts_the_law_of_the_model(sampler):
    tilt = Tilt(12, _reward, proposal="first_order")
    piece = _made(tilt, sampler=sampler, populations=500)
    _assert_drawn_from(piece, LAW.probs * REWARDS.exp())


@pytest.mark.usefixtures("_large_groups")
def test_corrected_guidance_draws_from_the_product_of_powers():
    corrected = ClassGuidance(1, 2.5, corrected=True)
    piece = _made(Tilt(24), sampler=FirstHittingSampler(), guidance=corrected)
    _assert_drawn_from(piece, _joint().probs ** 2.5 * LAW.probs**-1.5)


def test_a_population_is_not_cut_by_what_shares_its_batch():
    lm, keys = _network(), row_keys(5, torch.arange(3))
    template = Template(torch.full((6,), lm.mask_id).numpy(), None)
    tilt = Tilt(3, lambda ids: (ids == 8).sum(dim=1).double())

    def made(some):
        (piece,) = generate_pieces(
            lm, some, template, sampler=AncestralSampler(4), trained_length=6, tilt=tilt
        )
        return piece

    together = made(keys)
    assert together.tokens.shape == (3, 6)
    for number in range(3):
        alone = made(keys[number : number + 1])
        assert torch.equal(alone.tokens[0], together.tokens[number])
        # a sum of another shape may round otherwise.
        torch.testing.assert_close(alone.outcome.log_z[0], together.outcome.log_z[number])


def test_given_bases_stay_in_every_member():
    lm, keys = _network(), row_keys(5, torch.arange(4))
    ids = torch.full((6,), lm.mask_id)
    ids[2] = 9
    tilt = Tilt(4, lambda ids: -(ids == 9).sum(dim=1).double())
    (piece,) = generate_pieces(
        lm, keys, Template(ids.numpy(), None), sampler="ancestral", trained_length=6, tilt=tilt
    )
    assert bool((piece.tokens[:, 2] == 9).all())


class Own(StepRule):
    """A rule that says nothing of how it draws."""

    def __call__(self, step, log_probs):
        return draw_tokens(step, log_probs, step.hidden)


CORRECTED = ClassGuidance(1, 2.0, corrected=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": SemiAutoregressiveSampler()}, "sampler=semi_ar gives windows away"),
        ({"sampler": Own()}, "Own does not say that it can be done"),
        ({"sampler": RemaskSampler(), "guidance": CORRECTED}, "sampler=remask reopens"),
        (
            {"sampler": "first_hitting", "guidance": CORRECTED, "choice": Choice(temperature=0.5)},
            "leave temperature, top_p and top_k out",
        ),
        ({"sampler": "ancestral", "guidance": CORRECTED, "tilt": None}, "give a population"),
    ],
)
def test_what_cannot_be_exact_is_refused(settings, message):
    settings = {"tilt": Tilt(2, _reward, proposal="first_order"), "populations": 1, **settings}
    with pytest.raises(ConfigError, match=message):
        _made(**settings)


def test_a_rule_that_says_nothing_is_weighed_where_it_draws_by_itself():
    tilt = Tilt(2, _reward)
    piece = _made(tilt, sampler=Own(), populations=2)
    assert piece.tokens.shape == (2, 3)
