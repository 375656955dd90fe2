"""Exact counts drawn with a power law keep the expectation of the bound."""

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


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_the_mean_loss_of_the_oracle_is_the_negative_log_likelihood(power):
    repeats = 4000
    tokens = LAW.sequences.repeat(repeats, 1)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    rows = torch.arange(len(tokens))
    batch = Batch(
        tokens=tokens,
        present=everywhere,
        valid=everywhere,
        weight=None,
        key=row_keys(3, rows),
        row=rows,
        global_size=len(tokens),
    )
    model = MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, LogLinear(), Stratified(), ExactCount(power=power)
    )
    nats = model.loss_terms(batch).nats.sum(dim=1).reshape(repeats, -1)
    error = (nats.mean(dim=0) + LAW.probs.log()) / (nats.std(dim=0) / repeats**0.5)
    # eight standard scores below 4 each.
    assert error.abs().max() < 4


@pytest.mark.parametrize("power", [0.5, float("inf"), float("nan")])
def test_an_exponent_below_one_is_refused(power):
    with pytest.raises(ConfigError, match=r"lm\.objective\.power"):
        ExactCount(power=power)
