"""Exact counts drawn with a power law keep the expectation of the bound."""

import itertools
import math

import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LAW = TabulatedLaw()


def _batch(repeats):
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
    )


def _mean_nats(objective, repeats=4000):
    """Mean loss of each sequence of the law, and its standard error."""
    model = MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, LogLinear(), Stratified(), objective
    )
    nats = model.loss_terms(_batch(repeats)).nats.sum(dim=1).reshape(repeats, -1)
    return nats.mean(dim=0), nats.std(dim=0) / repeats**0.5


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_the_mean_loss_of_the_oracle_is_the_negative_log_likelihood(power):
    mean, error = _mean_nats(ExactCount(power=power))
    # eight standard scores below 4 each.
    assert ((mean + LAW.probs.log()) / error).abs().max() < 4


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_without_small_shares_the_loss_is_the_mean_over_the_others(power):
    length = LAW.length
    lowest = 1.0 / length  # one masked token is never drawn, the other counts are equally likely.
    expected = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    for mask in itertools.product([False, True], repeat=length):
        count = sum(mask)
        if count < 2:
            continue
        hidden = torch.tensor(mask)
        log_probs = LAW.log_probs(torch.where(hidden, LAW.mask_id, LAW.sequences))
        surprise = -log_probs.gather(-1, LAW.sequences[..., None]).squeeze(-1)
        likely = 1.0 / ((length - 1) * math.comb(length, count))
        expected += likely * length / count * (surprise * hidden).sum(dim=1)
    mean, error = _mean_nats(ExactCount(power=power, lowest=lowest))
    # eight standard scores below 4 each.
    assert ((mean - expected) / error).abs().max() < 4


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
