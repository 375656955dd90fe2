"""Populations in the reverse process: laws and estimates of Z, with all random choices enumerated.

The laws have two or three positions of two or three symbols. `expectation` runs the real loop once
for each path of random choices, so the estimates hold to rounding.
"""

import itertools
import math

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst, Threshold
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.guidance import classifier_free
from dnamdlm.diffusion.lookahead import check_lookahead
from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys
from dnamdlm.diffusion.remasking import Capped, Remasking
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import Ancestral, FirstHitting, StepRule, draw_tokens
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.regressor import NoisyRegressor
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.every_choice import expectation, positions_of_first_hitting
from tests.helpers.oracle import TabulatedLaw

PAIRS = TabulatedLaw(length=2, seed=1)
PAIRS_OF_THREE = TabulatedLaw(length=2, num_symbols=3, seed=2)
TRIPLES = TabulatedLaw(length=3, seed=3)
TRIPLES_OF_THREE = TabulatedLaw(length=3, num_symbols=3, seed=1003)


def _rewards(law, seed=5):
    """r / a of each sequence of a law."""
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(len(law.sequences), generator=generator, dtype=torch.float64)


def _reward(law):
    return lambda ids: _rewards(law)[law.index_of(ids)]


def _wrong_value(xt, _time):
    """A value that has nothing to do with the reward."""
    return torch.sin(3.0 * (xt * torch.tensor([5, 3, 2])[: xt.shape[1]]).sum(dim=-1).double() + 1)


def _exact_value(law, rewards):
    return lambda xt, _time: (law.posterior(xt) @ rewards.exp()).log()


def _steered(law, tilt, *, keys=None, rule=None, steps=1, denoise=None, **settings):
    """All slots after the reverse process, and the outcome."""
    keys = row_keys(0, torch.arange(1)) if keys is None else keys
    totals = settings.pop("counts_totals", False)
    steering = Steering(tilt, keys, mask_id=law.mask_id, counts_totals=totals, remembers=True)
    generated = reverse_process(
        denoise or (lambda xt, _time, _rows: law.log_probs(xt)),
        torch.full((len(steering.keys), law.length), law.mask_id),
        rule=rule or FirstHitting(),
        schedule=LogLinear(),
        times=linear_grid(steps),
        mask_id=law.mask_id,
        noise=RowNoise(steering.keys),
        steering=steering,
        **settings,
    )
    return generated, steering.finished(generated.tokens)


def _weighted(law, tilt, **settings):
    """The estimate of Z at the place of the sequence that was drawn."""
    generated, outcome = _steered(law, tilt, **settings)
    place = law.index_of(generated.tokens[outcome.rows])
    found = torch.zeros(len(law.sequences), dtype=torch.float64)
    found[place] = outcome.log_z.exp()
    return found


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


HITS = {law: positions_of_first_hitting(law.length) for law in (PAIRS, PAIRS_OF_THREE)}
REVEALS = {(Stream.REVEALS, 0): 2}


@pytest.mark.parametrize("threshold", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
@pytest.mark.parametrize("proposal", ["bootstrap", "first_order"])
def test_z_and_the_law_are_unbiased_for_a_wrong_value(proposal, threshold, monkeypatch):
    law = PAIRS
    tilt = Tilt(2, _reward(law), _wrong_value, proposal=proposal, threshold=threshold)
    found, count = expectation(
        lambda: _weighted(law, tilt),
        monkeypatch,
        cells=HITS[law],
        twisted=proposal == "first_order",
    )
    assert count >= 128
    expected = law.probs * _rewards(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert abs(found.sum() - expected.sum()) < 1e-12


@pytest.mark.parametrize(
    ("law", "rule", "tilt"),
    [
        (PAIRS_OF_THREE, SurestFirst(), {"value": _wrong_value, "threshold": 0.9}),
        pytest.param(
            TRIPLES,
            SurestFirst(),
            {"value": _wrong_value, "threshold": 0.9},
            marks=pytest.mark.slow,
        ),
        (PAIRS, SurestFirst(), {"value": "likely", "threshold": 1.0}),
        (PAIRS, SurestFirst(), {"guesses": 1, "threshold": 0.9, "proposal": "bootstrap"}),
        (PAIRS, Threshold(0.95), {"value": _wrong_value, "threshold": 1.0}),
        (PAIRS, EntropyBounded(0.0), {"value": _wrong_value, "threshold": 1.0}),
    ],
    ids=["three symbols", "three positions", "likely", "random values", "threshold", "entropy"],
)
def test_z_is_unbiased_for_rules_that_choose_by_certainty(law, rule, tilt, monkeypatch):
    made = Tilt(2, _reward(law), **{"proposal": "first_order", **tilt})
    found, _ = expectation(
        lambda: _weighted(law, made, rule=rule, steps=law.length),
        monkeypatch,
        cells={},
        twisted=made.is_twisted,
    )
    expected = law.probs * _rewards(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["bootstrap", "first_order"])
def test_z_is_unbiased_for_the_law_of_a_few_ancestral_steps(proposal, monkeypatch):
    law = PAIRS
    tilt = Tilt(2, _reward(law), _wrong_value, proposal=proposal, threshold=0.9)
    found, _ = expectation(
        lambda: _weighted(law, tilt, rule=Ancestral(), steps=2),
        monkeypatch,
        cells=REVEALS,
        twisted=proposal == "first_order",
    )
    chain = _two_steps(law)
    assert chain.sum() == pytest.approx(1.0, abs=1e-12)
    assert (chain - law.probs).abs().max() > 1e-3
    torch.testing.assert_close(found, chain * _rewards(law).exp(), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_z_is_unbiased_where_tokens_are_reopened(monkeypatch):
    law, rule, steps = PAIRS, Remasking(Capped(0.5)), 2
    tilt = Tilt(2, _reward(law), _wrong_value, proposal="first_order", threshold=0.9)
    with monkeypatch.context() as patch:
        plain, _ = expectation(
            lambda: _weighted(law, Tilt(1), rule=rule, steps=steps),
            patch,
            cells=REVEALS,
            twisted=False,
        )
    assert plain.sum() == pytest.approx(1.0, abs=1e-12)
    found, _ = expectation(
        lambda: _weighted(law, tilt, rule=rule, steps=steps),
        monkeypatch,
        cells=REVEALS,
        twisted=True,
    )
    torch.testing.assert_close(found, plain * _rewards(law).exp(), rtol=0, atol=1e-12)


OF_CLASS = TabulatedLaw(length=2, num_symbols=3, seed=7)


def _guided(law, gamma):
    """Unnormalised mixture of the law with a class and without it."""
    return lambda xt, _time, _rows: classifier_free(
        OF_CLASS.log_probs(xt), law.log_probs(xt), gamma, normalized=False
    )


def _mixture(law, gamma):
    return OF_CLASS.probs**gamma * law.probs ** (1 - gamma)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("rule", [FirstHitting(), SurestFirst("entropy")], ids=repr)
def test_corrected_guidance_has_the_law_that_it_states(rule, gamma, monkeypatch):
    law = PAIRS_OF_THREE
    found, _ = expectation(
        lambda: _weighted(
            law,
            Tilt(1),
            rule=rule,
            steps=2,
            denoise=_guided(law, gamma),
            counts_totals=True,
        ),
        monkeypatch,
        cells=HITS[law],
        twisted=False,
    )
    torch.testing.assert_close(found, _mixture(law, gamma), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_corrected_guidance_with_a_reward_and_resampling_has_the_product_law(monkeypatch):
    law, gamma = PAIRS_OF_THREE, 2.0
    tilt = Tilt(2, _reward(law), _wrong_value, proposal="first_order", threshold=1.0)
    found, _ = expectation(
        lambda: _weighted(
            law,
            tilt,
            rule=SurestFirst(),
            steps=2,
            denoise=_guided(law, gamma),
            counts_totals=True,
        ),
        monkeypatch,
        cells={},
        twisted=True,
    )
    expected = _mixture(law, gamma) * _rewards(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_guidance_without_correction_has_another_law():
    law, keys = PAIRS_OF_THREE, row_keys(0, torch.arange(1_500))
    plain, _ = _steered(law, Tilt(1), keys=keys, denoise=_guided(law, 3.0))
    exact = _mixture(law, 3.0)
    _assert_far(plain.tokens, exact / exact.sum(), law)
    tilt = Tilt(24)
    many, outcome = _steered(law, tilt, keys=keys, denoise=_guided(law, 3.0), counts_totals=True)
    _assert_drawn_from(many.tokens[outcome.rows], exact / exact.sum(), law)


def test_a_template_that_allows_some_tokens_has_the_conditional_law(monkeypatch):
    law = PAIRS_OF_THREE
    allowed = torch.zeros(1, 2, law.vocab_size, dtype=torch.bool)
    allowed[0, 0, :2] = allowed[0, 1, 1:3] = True
    found, _ = expectation(
        lambda: _weighted(
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


# the 0.9999 quantiles of the chi-square distribution with 8 and 26 degrees of freedom.
LARGEST_CHI_SQUARE = {9: 31.8, 27: 61.7}


def _chi_square(tokens, probs, law):
    counts = torch.bincount(law.index_of(tokens), minlength=len(probs)).double()
    expected = probs * len(tokens)
    return ((counts - expected) ** 2 / expected).sum().item()


def _assert_drawn_from(tokens, probs, law):
    assert _chi_square(tokens, probs, law) < LARGEST_CHI_SQUARE[len(probs)]


def _assert_far(tokens, probs, law):
    assert _chi_square(tokens, probs, law) > 2 * LARGEST_CHI_SQUARE[len(probs)]


@pytest.mark.parametrize("rule", [FirstHitting(), SurestFirst()], ids=repr)
def test_with_the_exact_value_all_weights_are_equal(rule):
    law, rewards = TRIPLES_OF_THREE, _rewards(TRIPLES_OF_THREE)
    tilt = Tilt(3, _reward(law), _exact_value(law, rewards), proposal="first_order")
    keys = row_keys(0, torch.arange(50))
    _, outcome = _steered(law, tilt, keys=keys, rule=rule, steps=3)
    exact = (law.probs @ rewards.exp()).log()
    torch.testing.assert_close(outcome.log_weights, exact.expand(50, 3), rtol=0, atol=1e-12)
    torch.testing.assert_close(outcome.effective_size, torch.full((50,), 3.0).double())


def test_with_the_exact_value_one_member_draws_from_the_target():
    law, rewards = TRIPLES_OF_THREE, _rewards(TRIPLES_OF_THREE)
    # never resampled, so that each of the members is a draw by itself.
    value = _exact_value(law, rewards)
    tilt = Tilt(20_000, _reward(law), value, proposal="first_order", threshold=0.0)
    generated, _ = _steered(law, tilt)
    target = law.probs * rewards.exp()
    _assert_drawn_from(generated.tokens, target / target.sum(), law)


@pytest.mark.parametrize(
    "rule", [FirstHitting(), Ancestral(), Remasking(Capped(0.1)), SurestFirst()], ids=repr
)
def test_a_population_of_one_draws_what_the_sampler_draws(rule):
    law, keys = TRIPLES_OF_THREE, row_keys(4, torch.arange(200))
    tilt = Tilt(1, _reward(law), proposal="bootstrap")
    steered, outcome = _steered(law, tilt, keys=keys, rule=rule, steps=5)
    plain = reverse_process(
        lambda xt, _time, _rows: law.log_probs(xt),
        torch.full((200, law.length), law.mask_id),
        rule=rule,
        schedule=LogLinear(),
        times=linear_grid(5),
        mask_id=law.mask_id,
        noise=RowNoise(keys),
    )
    assert torch.equal(steered.tokens[outcome.rows], plain.tokens)
    torch.testing.assert_close(outcome.log_z, _reward(law)(plain.tokens))


@pytest.mark.parametrize("value", ["draws", "likely"])
@pytest.mark.parametrize(
    "rule", [FirstHitting(), Ancestral(), Remasking(Capped(0.1)), EntropyBounded(0.5)], ids=repr
)
def test_a_population_does_not_depend_on_those_it_shares_a_batch_with(rule, value):
    law, keys = TRIPLES_OF_THREE, row_keys(4, torch.arange(6))
    tilt = Tilt(4, _reward(law), value, proposal="first_order", threshold=0.9)
    together, outcome = _steered(law, tilt, keys=keys, rule=rule, steps=5)
    for number in range(6):
        alone, own = _steered(law, tilt, keys=keys[number : number + 1], rule=rule, steps=5)
        assert torch.equal(alone.tokens, together.tokens[4 * number : 4 * number + 4])
        assert own.log_z == outcome.log_z[number]
        assert own.rows + 4 * number == outcome.rows[number]


def test_a_temperature_of_the_sampler_is_part_of_its_law(monkeypatch):
    law, rule = PAIRS, SurestFirst(choice=Choice(temperature=0.5))
    tilt = Tilt(2, _reward(law), _wrong_value, proposal="first_order", threshold=1.0)
    with monkeypatch.context() as patch:
        plain, _ = expectation(
            lambda: _weighted(law, Tilt(1), rule=rule, steps=2), patch, cells={}, twisted=False
        )
    found, _ = expectation(
        lambda: _weighted(law, tilt, rule=rule, steps=2), monkeypatch, cells={}, twisted=True
    )
    torch.testing.assert_close(found, plain * _rewards(law).exp(), rtol=0, atol=1e-12)


def test_a_network_that_does_not_see_the_time_is_called_once_for_each_sequence():
    law, keys = TRIPLES_OF_THREE, row_keys(0, torch.arange(3))
    generated, _ = _steered(law, Tilt(4, _reward(law), proposal="first_order"), keys=keys)
    assert generated.row_calls == 3 * 4 * law.length


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda ids: torch.zeros(len(ids), 2), r"values of shape \(\d+, 2\) for \d+ sequences"),
        (lambda ids: torch.full((len(ids),), math.nan), "the reward of .* is nan; give a finite"),
    ],
)
def test_a_reward_that_gives_no_number_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        _steered(PAIRS, Tilt(2, values))


def test_a_population_without_a_possible_member_is_refused():
    def impossible(xt, _time, _rows):
        return torch.full_like(PAIRS.log_probs(xt), -torch.inf).index_fill(2, torch.tensor(0), 0.0)

    allowed = torch.arange(PAIRS.vocab_size) == 1
    with pytest.raises(ConfigError, match="no member of 1 of 1 populations is possible"):
        _steered(PAIRS, Tilt(2), denoise=impossible, constraints=Constraints(allowed))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "population=0"),
        ({"guesses": 0}, "guesses=0"),
        ({"threshold": 1.5}, "threshold=1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Tilt(**{"size": 2, **settings})


def test_an_unknown_way_to_value_is_refused():
    with pytest.raises(ConfigError, match="value=mean is unknown; choose draws or likely"):
        check_lookahead("mean")


def test_rules_of_ones_own_do_not_claim_that_tokens_can_be_drawn_again():
    class Own(StepRule):
        def __call__(self, step, log_probs):
            return draw_tokens(step, log_probs, step.hidden)

    assert not Own().draws_apart


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
                lambda: _weighted(law, tilt), patch, cells=HITS[law], twisted=True
            )
        return found

    by_gradient = law_of(proposal="gradient", gradient=gradient)
    torch.testing.assert_close(by_gradient, law_of(proposal="first_order"), rtol=0, atol=1e-12)
    expected = law.probs * reward(law.sequences).exp()
    torch.testing.assert_close(by_gradient, expected, rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="needs the derivatives"):
        Tilt(2, reward, proposal="gradient")
    with pytest.raises(ConfigError, match="value= is a function"):
        Tilt(2, reward, _wrong_value, proposal="gradient", gradient=gradient)


def test_a_wrong_gradient_leaves_z_unbiased(monkeypatch):
    law = PAIRS

    def gradient(ids):
        wrong = torch.sin(torch.arange(ids.numel() * 4).double()).view(*ids.shape, 4)
        return _reward(law)(ids), wrong

    tilt = Tilt(2, _reward(law), "likely", proposal="gradient", gradient=gradient, threshold=0.8)
    found, _ = expectation(lambda: _weighted(law, tilt), monkeypatch, cells=HITS[law], twisted=True)
    torch.testing.assert_close(found, law.probs * _rewards(law).exp(), rtol=0, atol=1e-12)


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

    tilt = Tilt(2, _reward(law), value, proposal=proposal, threshold=0.8)
    found, _ = expectation(
        lambda: _weighted(law, tilt),
        monkeypatch,
        cells=HITS[law],
        twisted=proposal == "first_order",
    )
    expected = law.probs * _rewards(law).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    # the value depends on the time too.
    half = torch.full((1,), 0.5, dtype=torch.float64)
    masked = ids[torch.tensor([[2, 0]])]
    assert regressor.outputs(masked, half) != regressor.outputs(masked, half / 2)
