"""Populations in the reverse process: laws and estimates of Z, with all random choices enumerated.

The laws have two or three positions of two or three symbols. `expectation` runs the real loop once
for each path of random choices, so the estimates hold to rounding.
"""

import itertools

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst, Threshold
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.randomness import Stream
from dnamdlm.diffusion.remasking import Capped, Remasking
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.regressor import NoisyRegressor
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.every_choice import expectation
from tests.helpers.steered_laws import (
    HITS,
    PAIRS,
    PAIRS_OF_THREE,
    TRIPLES,
    guided,
    mixture_of,
    reward_of,
    rewards_of,
    weighted_place,
    wrong_value,
)


def _two_steps(law):
    """The law of two ancestral steps: each position is revealed in the first with probability 1/2.

    Plain loops over the positions of the first step and its tokens.
    """
    total = torch.zeros(len(law.sequences), dtype=torch.float64)
    for shown in itertools.product([False, True], repeat=law.length):
        for sequence in law.sequences:
            for first in law.sequences:
                # tokens of the first step count where they are shown; each such pair only once.
                if any(
                    (f != s) if is_shown else (f != 0)
                    for f, s, is_shown in zip(first, sequence, shown, strict=True)
                ):
                    continue
                start = torch.full((1, law.length), law.mask_id)
                middle = torch.where(torch.tensor(shown), sequence, law.mask_id)[None]
                weight = 0.5**law.length
                for i in range(law.length):
                    probs = law.log_probs(start if shown[i] else middle)[0, i].exp()
                    weight = weight * probs[sequence[i]]
                total[law.index_of(sequence)] += weight
    return total


REVEALS = {(Stream.REVEALS, 0): 2}


@pytest.mark.parametrize("threshold", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
@pytest.mark.parametrize("proposal", ["bootstrap", "first_order"])
def test_z_and_the_law_are_unbiased_for_a_wrong_value(proposal, threshold, monkeypatch):
    law = PAIRS
    tilt = Tilt(2, reward_of(law), wrong_value, proposal=proposal, threshold=threshold)
    found, count = expectation(
        lambda: weighted_place(law, tilt),
        monkeypatch,
        cells=HITS[law],
        twisted=proposal == "first_order",
    )
    assert count >= 128
    expected = law.probs * rewards_of(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert abs(found.sum() - expected.sum()) < 1e-12


@pytest.mark.parametrize(
    ("law", "rule", "tilt"),
    [
        (PAIRS_OF_THREE, SurestFirst(), {"value": wrong_value, "threshold": 0.9}),
        pytest.param(
            TRIPLES,
            SurestFirst(),
            {"value": wrong_value, "threshold": 0.9},
            marks=pytest.mark.slow,
        ),
        (PAIRS, SurestFirst(), {"value": "likely", "threshold": 1.0}),
        (PAIRS, SurestFirst(), {"guesses": 1, "threshold": 0.9, "proposal": "bootstrap"}),
        (PAIRS, Threshold(0.95), {"value": wrong_value, "threshold": 1.0}),
        (PAIRS, EntropyBounded(0.0), {"value": wrong_value, "threshold": 1.0}),
    ],
    ids=["three symbols", "three positions", "likely", "random values", "threshold", "entropy"],
)
def test_z_is_unbiased_for_rules_that_choose_by_certainty(law, rule, tilt, monkeypatch):
    made = Tilt(2, reward_of(law), **{"proposal": "first_order", **tilt})
    found, _ = expectation(
        lambda: weighted_place(law, made, rule=rule, steps=law.length),
        monkeypatch,
        cells={},
        twisted=made.is_twisted,
    )
    expected = law.probs * rewards_of(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["bootstrap", "first_order"])
def test_z_is_unbiased_for_the_law_of_a_few_ancestral_steps(proposal, monkeypatch):
    law = PAIRS
    tilt = Tilt(2, reward_of(law), wrong_value, proposal=proposal, threshold=0.9)
    found, _ = expectation(
        lambda: weighted_place(law, tilt, rule=Ancestral(), steps=2),
        monkeypatch,
        cells=REVEALS,
        twisted=proposal == "first_order",
    )
    chain = _two_steps(law)
    assert chain.sum() == pytest.approx(1.0, abs=1e-12)
    assert (chain - law.probs).abs().max() > 1e-3
    torch.testing.assert_close(found, chain * rewards_of(law).exp(), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_z_is_unbiased_where_tokens_are_reopened(monkeypatch):
    law, rule, steps = PAIRS, Remasking(Capped(0.5)), 2
    tilt = Tilt(2, reward_of(law), wrong_value, proposal="first_order", threshold=0.9)
    with monkeypatch.context() as patch:
        plain, _ = expectation(
            lambda: weighted_place(law, Tilt(1), rule=rule, steps=steps),
            patch,
            cells=REVEALS,
            twisted=False,
        )
    assert plain.sum() == pytest.approx(1.0, abs=1e-12)
    found, _ = expectation(
        lambda: weighted_place(law, tilt, rule=rule, steps=steps),
        monkeypatch,
        cells=REVEALS,
        twisted=True,
    )
    torch.testing.assert_close(found, plain * rewards_of(law).exp(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("rule", [FirstHitting(), SurestFirst("entropy")], ids=repr)
def test_corrected_guidance_has_the_law_that_it_states(rule, gamma, monkeypatch):
    law = PAIRS_OF_THREE
    found, _ = expectation(
        lambda: weighted_place(
            law,
            Tilt(1),
            rule=rule,
            steps=2,
            denoise=guided(law, gamma),
            counts_totals=True,
        ),
        monkeypatch,
        cells=HITS[law],
        twisted=False,
    )
    torch.testing.assert_close(found, mixture_of(law, gamma), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_corrected_guidance_with_a_reward_and_resampling_has_the_product_law(monkeypatch):
    law, gamma = PAIRS_OF_THREE, 2.0
    tilt = Tilt(2, reward_of(law), wrong_value, proposal="first_order", threshold=1.0)
    found, _ = expectation(
        lambda: weighted_place(
            law,
            tilt,
            rule=SurestFirst(),
            steps=2,
            denoise=guided(law, gamma),
            counts_totals=True,
        ),
        monkeypatch,
        cells={},
        twisted=True,
    )
    expected = mixture_of(law, gamma) * rewards_of(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_template_that_allows_some_tokens_has_the_conditional_law(monkeypatch):
    law = PAIRS_OF_THREE
    allowed = torch.zeros(1, 2, law.vocab_size, dtype=torch.bool)
    allowed[0, 0, :2] = allowed[0, 1, 1:3] = True
    found, _ = expectation(
        lambda: weighted_place(
            law,
            Tilt(2, threshold=1.0),
            rule=SurestFirst(),
            steps=2,
            constraints=Constraints(allowed.expand(2, -1, -1)),
        ),
        monkeypatch,
        cells={},
        twisted=False,
    )
    inside = (law.sequences[:, 0] < 2) & (law.sequences[:, 1] > 0)
    torch.testing.assert_close(found, law.probs * inside, rtol=0, atol=1e-12)


def test_a_temperature_of_the_sampler_is_part_of_its_law(monkeypatch):
    law, rule = PAIRS, SurestFirst(choice=Choice(temperature=0.5))
    tilt = Tilt(2, reward_of(law), wrong_value, proposal="first_order", threshold=1.0)
    with monkeypatch.context() as patch:
        plain, _ = expectation(
            lambda: weighted_place(law, Tilt(1), rule=rule, steps=2), patch, cells={}, twisted=False
        )
    found, _ = expectation(
        lambda: weighted_place(law, tilt, rule=rule, steps=2), monkeypatch, cells={}, twisted=True
    )
    torch.testing.assert_close(found, plain * rewards_of(law).exp(), rtol=0, atol=1e-12)


def test_a_gradient_of_a_linear_reward_is_the_first_order_proposal(monkeypatch):
    law = PAIRS
    slope = torch.tensor([[0.3, -1.0], [1.2, 0.1]]).double()

    def reward(ids):
        return slope[[0, 1], ids].sum(dim=1)

    def gradient(ids):
        padded = torch.nn.functional.pad(slope, (0, 2))
        return reward(ids), padded.expand(len(ids), -1, -1)

    def law_of(**settings):
        tilt = Tilt(2, reward, "likely", threshold=0.9, **settings)
        with monkeypatch.context() as patch:
            found, _ = expectation(
                lambda: weighted_place(law, tilt), patch, cells=HITS[law], twisted=True
            )
        return found

    by_gradient = law_of(proposal="gradient", gradient=gradient)
    torch.testing.assert_close(by_gradient, law_of(proposal="first_order"), rtol=0, atol=1e-12)
    expected = law.probs * reward(law.sequences).exp()
    torch.testing.assert_close(by_gradient, expected, rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="needs the derivatives"):
        Tilt(2, reward, proposal="gradient")
    with pytest.raises(ConfigError, match="value= is a function"):
        Tilt(2, reward, wrong_value, proposal="gradient", gradient=gradient)


def test_a_wrong_gradient_leaves_z_unbiased(monkeypatch):
    law = PAIRS

    def gradient(ids):
        wrong = torch.sin(torch.arange(ids.numel() * 4).double()).view(*ids.shape, 4)
        return reward_of(law)(ids), wrong

    tilt = Tilt(2, reward_of(law), "likely", proposal="gradient", gradient=gradient, threshold=0.8)
    found, _ = expectation(
        lambda: weighted_place(law, tilt), monkeypatch, cells=HITS[law], twisted=True
    )
    torch.testing.assert_close(found, law.probs * rewards_of(law).exp(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "proposal", [pytest.param("bootstrap", marks=pytest.mark.slow), "first_order"]
)
def test_a_regression_of_noisy_sequences_as_value_leaves_z_unbiased(proposal, monkeypatch):
    law = PAIRS
    torch.manual_seed(0)
    regressor = NoisyRegressor(
        DiT(12, 8, 1, 1, time_conditioning=True), NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform()
    ).double()
    for parameter in regressor.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    ids = torch.tensor([7, 8, regressor.mask_id])

    def value(xt, time):
        return regressor.outputs(ids[xt], time)[:, 0].detach()

    tilt = Tilt(2, reward_of(law), value, proposal=proposal, threshold=0.8)
    found, _ = expectation(
        lambda: weighted_place(law, tilt),
        monkeypatch,
        cells=HITS[law],
        twisted=proposal == "first_order",
    )
    expected = law.probs * rewards_of(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    # the value depends on the time too.
    half = torch.full((1,), 0.5, dtype=torch.float64)
    masked = ids[torch.tensor([[2, 0]])]
    assert regressor.outputs(masked, half) != regressor.outputs(masked, half / 2)
