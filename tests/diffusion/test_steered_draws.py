"""Populations in the reverse process: what is drawn, what it depends on, and what is refused."""

import math

import pytest
import torch

from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.lookahead import check_lookahead
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.remasking import Capped, Remasking
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting, StepRule, draw_tokens
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.errors import ConfigError
from tests.helpers.steered_laws import (
    PAIRS,
    PAIRS_OF_THREE,
    TRIPLES_OF_THREE,
    exact_value,
    guided,
    mixture_of,
    reward_of,
    rewards_of,
    run_steered,
)


def test_guidance_without_correction_has_another_law():
    law, keys = PAIRS_OF_THREE, row_keys(0, torch.arange(1_500))
    plain, _ = run_steered(law, Tilt(1), keys=keys, denoise=guided(law, 3.0))
    exact = mixture_of(law, 3.0)
    _assert_far(plain.tokens, exact / exact.sum(), law)
    tilt = Tilt(24)
    many, outcome = run_steered(law, tilt, keys=keys, denoise=guided(law, 3.0), counts_totals=True)
    _assert_drawn_from(many.tokens[outcome.rows], exact / exact.sum(), law)


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
    law, rewards = TRIPLES_OF_THREE, rewards_of(TRIPLES_OF_THREE)
    tilt = Tilt(3, reward_of(law), exact_value(law, rewards), proposal="first_order")
    keys = row_keys(0, torch.arange(50))
    _, outcome = run_steered(law, tilt, keys=keys, rule=rule, steps=3)
    exact = (law.probs @ rewards.exp()).log()
    torch.testing.assert_close(outcome.log_weights, exact.expand(50, 3), rtol=0, atol=1e-12)
    torch.testing.assert_close(outcome.effective_size, torch.full((50,), 3.0).double())


def test_with_the_exact_value_one_member_draws_from_the_target():
    law, rewards = TRIPLES_OF_THREE, rewards_of(TRIPLES_OF_THREE)
    # never resampled, so that each of the members is a draw by itself.
    value = exact_value(law, rewards)
    tilt = Tilt(20_000, reward_of(law), value, proposal="first_order", threshold=0.0)
    generated, _ = run_steered(law, tilt)
    target = law.probs * rewards.exp()
    _assert_drawn_from(generated.tokens, target / target.sum(), law)


@pytest.mark.parametrize(
    "rule", [FirstHitting(), Ancestral(), Remasking(Capped(0.1)), SurestFirst()], ids=repr
)
def test_a_population_of_one_draws_what_the_sampler_draws(rule):
    law, keys = TRIPLES_OF_THREE, row_keys(4, torch.arange(200))
    tilt = Tilt(1, reward_of(law), proposal="bootstrap")
    steered, outcome = run_steered(law, tilt, keys=keys, rule=rule, steps=5)
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
    torch.testing.assert_close(outcome.log_z, reward_of(law)(plain.tokens))


@pytest.mark.parametrize("value", ["draws", "likely"])
@pytest.mark.parametrize(
    "rule", [FirstHitting(), Ancestral(), Remasking(Capped(0.1)), EntropyBounded(0.5)], ids=repr
)
def test_a_population_does_not_depend_on_those_it_shares_a_batch_with(rule, value):
    law, keys = TRIPLES_OF_THREE, row_keys(4, torch.arange(6))
    tilt = Tilt(4, reward_of(law), value, proposal="first_order", threshold=0.9)
    together, outcome = run_steered(law, tilt, keys=keys, rule=rule, steps=5)
    for number in range(6):
        alone, own = run_steered(law, tilt, keys=keys[number : number + 1], rule=rule, steps=5)
        assert torch.equal(alone.tokens, together.tokens[4 * number : 4 * number + 4])
        # a sum of another shape may round otherwise.
        torch.testing.assert_close(own.log_z[0], outcome.log_z[number])
        assert own.rows + 4 * number == outcome.rows[number]


def test_a_network_that_does_not_see_the_time_is_called_once_for_each_sequence():
    law, keys = TRIPLES_OF_THREE, row_keys(0, torch.arange(3))
    generated, _ = run_steered(law, Tilt(4, reward_of(law), proposal="first_order"), keys=keys)
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
        run_steered(PAIRS, Tilt(2, values))


def test_a_population_without_a_possible_member_is_refused():
    def impossible(xt, _time, _rows):
        return torch.full_like(PAIRS.log_probs(xt), -torch.inf).index_fill(2, torch.tensor(0), 0.0)

    allowed = torch.arange(PAIRS.vocab_size) == 1
    with pytest.raises(ConfigError, match="no member of 1 of 1 populations is possible"):
        run_steered(PAIRS, Tilt(2), denoise=impossible, constraints=Constraints(allowed))


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
