"""Exact counts drawn with a power law keep the expectation of the bound."""

import itertools
import math

import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.data.stream import TrainingStream
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LAW = TabulatedLaw()


def _batch(repeats, step=None):
    tokens = LAW.sequences.repeat(repeats, 1)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    rows = torch.arange(len(tokens))
    return Batch(
        tokens=tokens,
        present=everywhere,
        valid=everywhere,
        weight=None,
        key=row_keys(3, rows),
        row=rows,
        global_size=len(tokens),
        step=step,
    )


def _mean_nats(objective, repeats=4000, step=None):
    """Mean loss of each sequence of the law, and its standard error."""
    model = MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, LogLinear(), Stratified(), objective
    )
    nats = model.loss_terms(_batch(repeats, step)).nats.sum(dim=1).reshape(repeats, -1)
    return nats.mean(dim=0), nats.std(dim=0) / repeats**0.5


@pytest.mark.parametrize(
    "objective",
    [
        *(ExactCount(power=power) for power in (1.0, 2.0, 3.5)),
        ExactCount(complementary=True),
        ExactCount(power=2.0, complementary=True),
        ExactCount(density=(3.0, 1.0, 0.5)),
        ExactCount(density=(3.0, 1.0), complementary=True),
        ExactCount(ramp_steps=10),
    ],
    ids=repr,
)
def test_the_mean_loss_of_the_oracle_is_the_negative_log_likelihood(objective):
    mean, error = _mean_nats(objective)
    # eight standard scores below 4 each.
    assert ((mean + LAW.probs.log()) / error).abs().max() < 4


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_without_small_shares_the_loss_is_the_mean_over_the_others(power):
    # one masked token is never drawn, the other counts are equally likely.
    mean, error = _mean_nats(ExactCount(power=power, lowest=1.0 / LAW.length))
    # eight standard scores below 4 each.
    assert ((mean - _mean_over_counts({2, 3})) / error).abs().max() < 4


def _mean_over_counts(counts):
    """The loss of the oracle, enumerated, if these counts are equally likely and no others."""
    length = LAW.length
    expected = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    for mask in itertools.product([False, True], repeat=length):
        count = sum(mask)
        if count not in counts:
            continue
        hidden = torch.tensor(mask)
        log_probs = LAW.log_probs(torch.where(hidden, LAW.mask_id, LAW.sequences))
        surprise = -log_probs.gather(-1, LAW.sequences[..., None]).squeeze(-1)
        likely = 1.0 / (len(counts) * math.comb(length, count))
        expected += likely * length / count * (surprise * hidden).sum(dim=1)
    return expected


@pytest.mark.parametrize("complementary", [False, True])
@pytest.mark.parametrize(
    ("step", "counts"), [(0, {1}), (5, {1, 2}), (10, {1, 2, 3}), (99, {1, 2, 3})]
)
def test_the_largest_share_rises_over_the_ramp(step, counts, complementary):
    third = 1.0 / LAW.length
    objective = ExactCount(ramp_steps=10, ramp_from=third, complementary=complementary)
    assert objective.shares(step).highest == pytest.approx(len(counts) * third)
    mean, error = _mean_nats(objective, step=step)
    # eight standard scores below 4 each.
    assert ((mean - _mean_over_counts(counts)) / error).abs().max() < 4


def test_both_calls_of_complementary_masks_hide_each_token_once():
    model = MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, objective=ExactCount(complementary=True)
    )
    one, other = model.objective.hide(model.process, _batch(50))
    hidden = [draw.xt == LAW.mask_id for draw in (one, other)]
    assert bool((hidden[0] ^ hidden[1]).all())
    assert torch.equal(one.xt, ExactCount().hide(model.process, _batch(50))[0].xt)


def test_the_ramp_follows_the_step_of_the_stream_and_not_the_process():
    class Rows:
        def at(self, positions, rows, size):
            return _batch(1)

    assert [TrainingStream(Rows(), 8).batch(step).step for step in (0, 7)] == [0, 7]
    part = TrainingStream(Rows(), 8).batch(7)
    assert part.rows(slice(0, 2)).step == part.to("cpu").step == 7


def test_nothing_below_the_lowest_share_is_drawn():
    objective = ExactCount(power=3.0, lowest=0.34)
    model = MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, LogLinear(), Stratified(), objective
    )
    (draw,) = objective.hide(model.process, _batch(200))
    counts = (draw.xt == LAW.mask_id).sum(dim=1)
    assert counts.min() == math.floor(0.34 * LAW.length) + 1


@pytest.mark.parametrize("lowest", [-0.1, 1.0, float("nan")])
def test_a_share_outside_its_range_is_refused(lowest):
    with pytest.raises(ConfigError, match=r"lm\.objective\.lowest"):
        ExactCount(lowest=lowest)


@pytest.mark.parametrize("power", [0.5, float("inf"), float("nan")])
def test_an_exponent_below_one_is_refused(power):
    with pytest.raises(ConfigError, match=r"lm\.objective\.power"):
        ExactCount(power=power)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ramp_steps": -1}, r"lm\.objective\.ramp_steps=-1 must be at least 0"),
        (
            {"ramp_steps": 5, "ramp_from": 1.5},
            r"lm\.objective\.ramp_from=1\.5 must lie in \(0, 1\]",
        ),
        ({"ramp_steps": 5, "ramp_from": 0.1, "lowest": 0.2}, r"must lie in \(0\.2, 1\], above"),
        ({"density": (1.0, 2.0), "power": 2.0}, "both say how the share of masked tokens is drawn"),
    ],
)
def test_a_ramp_or_density_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ExactCount(**settings)


def test_the_start_of_a_ramp_has_no_effect_without_one():
    assert list(ExactCount().without_effect()) == ["ramp_from"]
    assert not ExactCount(ramp_steps=3).without_effect()
