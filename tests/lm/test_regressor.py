"""A regression of noisy sequences: its loss, numbers that are not known, and what it learns."""

import math
from dataclasses import replace

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Importance, Stratified
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.language_model import LanguageModel, Trainable
from dnamdlm.lm.regressor import NoisyRegressor
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY


def regressor_of(std=0.4, numbers=2):
    torch.manual_seed(0)
    made = NoisyRegressor(
        DiT(12, 16, 1, 2, time_conditioning=True), NUCLEOTIDE_VOCABULARY, LogLinear(),
        Stratified(), num_numbers=numbers,
    )  # fmt: skip
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return made


def batch_of(label, length=12):
    rows = len(label)
    tokens = torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(1))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens, present=everywhere, valid=everywhere, weight=None,
        key=row_keys(0, torch.arange(rows)), row=torch.arange(rows), global_size=rows, label=label,
    )  # fmt: skip


LABEL = torch.tensor([[1.0, -2.0], [math.nan, 0.5], [math.nan, math.nan]])


def test_the_loss_is_half_the_squared_error_of_the_numbers_that_are_known():
    regressor, batch = regressor_of(), batch_of(LABEL)
    t = torch.tensor([0.3, 0.6, 0.9])
    noise = RowNoise(batch.key)
    nats, explained = regressor.scored(batch, t, noise, draw=0)
    found = regressor.outputs(regressor.noisy(batch, t, noise, 0), t)
    first = ((found[0] - LABEL[0]) ** 2).mean()
    second = (found[1, 1] - 0.5) ** 2
    torch.testing.assert_close(nats[:2], torch.stack([first, second]) / 2)
    torch.testing.assert_close(explained[:2], 1 - torch.stack([first, second]))
    assert nats[2].isnan()


def test_rows_without_a_number_neither_count_nor_move_the_weights():
    regressor, batch = regressor_of(), batch_of(LABEL)
    terms = regressor.loss_terms(batch)
    assert terms.valid[:, 0].tolist() == [True, True, False]
    assert terms.nats[2].tolist() == [0.0] * 12
    terms.nats.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in regressor.parameters() if p.grad is not None)
    nats, _ = regressor.score(batch, draws=2)
    assert nats.isnan().tolist() == [False, False, True]


@pytest.mark.slow
def test_it_learns_the_mean_given_what_is_visible():
    # the number is that of the first base; nothing else tells of it.
    torch.manual_seed(1)
    regressor = regressor_of(std=0.1, numbers=1)
    optimizer = torch.optim.Adam(regressor.parameters(), lr=0.01)
    values = torch.tensor([0.0] * 7 + [-1.5, -0.5, 0.5, 1.5])
    for step in range(150):
        tokens = torch.randint(7, 11, (64, 2))
        tokens[:, 1] = 7
        batch = batch_of(values[tokens[:, 0]][:, None], length=2)
        keys = row_keys(step, torch.arange(64))
        loss = regressor.loss_terms(replace(batch, tokens=tokens, key=keys)).nats.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mask = regressor.mask_id
    xt = torch.tensor([[7, 7], [10, 7], [mask, mask], [mask, 7]])
    with torch.no_grad():
        found = regressor.outputs(xt, torch.full((4,), 0.5))[:, 0]
    # a network that has learned for 150 steps is near, not exact.
    torch.testing.assert_close(found, torch.tensor([-1.5, 1.5, 0.0, 0.0]), rtol=0, atol=0.35)


def test_it_can_be_trained_but_is_no_language_model():
    assert isinstance(regressor_of(), Trainable)
    assert not isinstance(regressor_of(), LanguageModel)


def test_what_it_cannot_be_made_of_is_refused():
    make = {"vocabulary": NUCLEOTIDE_VOCABULARY, "schedule": LogLinear(), "times": Stratified()}
    with pytest.raises(ConfigError, match="must be at least 1"):
        NoisyRegressor(DiT(12, 8, 1, 1), num_numbers=0, **make)
    with pytest.raises(ConfigError, match="would give the regression its own answer"):
        NoisyRegressor(DiT(12, 8, 1, 1, num_numbers=1), **make)
    with pytest.raises(ConfigError, match="does not suit a regression"):
        NoisyRegressor(DiT(12, 8, 1, 1), **make | {"times": Importance()})
    with pytest.raises(DataError, match="have no numbers for a regression"):
        regressor_of().loss_terms(batch_of(torch.arange(3)))
