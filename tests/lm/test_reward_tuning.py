"""Fine-tuning on a reward, enumerated: what the weighted loss is minimal at, weights, distances."""

import itertools
import math

import pytest
import torch
from torch import nn

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.path_laws import hidden_divergence, random_order
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm import path_weights
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.path_weights import denoiser, model_paths, path_divergence
from dnamdlm.training.module import TrainingModule
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.lm.test_guidance import LAW, NUM_ROWS, STATES, _chi_square, _oracle

TEMPERATURE = 0.7
REWARDS = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 1.5, 0.2]).double()
WEIGHTS = (REWARDS / TEMPERATURE).exp()
MASK = LAW.mask_id


def _tilted():
    law = TabulatedLaw()
    law.probs = LAW.probs * WEIGHTS / (LAW.probs * WEIGHTS).sum()
    return law


TILTED = _tilted()


@pytest.fixture(autouse=True)
def _large_groups(monkeypatch):
    """Tables do not mind how many rows share a call, and tests have many rows."""
    monkeypatch.setattr(path_weights, "ROWS_PER_CALL_CPU", NUM_ROWS)


class Table(nn.Module):
    """A network that is a table: logits of the two symbols at each position of each state."""

    def __init__(self, logits=None):
        super().__init__()
        self.vocab_size, self.time_conditioning = LAW.vocab_size, False
        zeros = torch.zeros(len(STATES), 3, 2, dtype=torch.float64)
        self.logits = nn.Parameter(zeros if logits is None else logits.clone())

    def forward(self, tokens, time=None, present=None):
        place = (tokens * torch.tensor([9, 3, 1])).sum(dim=1)
        nonsense = torch.zeros(*tokens.shape, 2, dtype=torch.float64)
        return torch.cat([self.logits[place], nonsense], dim=-1)

    def hidden(self, tokens, time=None, present=None):
        return self(tokens, time, present)

    def head(self, states):
        return states


def _of(law):
    """The table of the conditionals of a law; certain symbols are only those that are seen."""
    return Table(law.logits(STATES)[..., :2].clamp(min=-30.0))


def _model(table):
    return MaskedDiffusionLM(table, LAW.vocabulary, LogLinear(), Stratified())


def _batch(weight):
    rows = torch.arange(8)
    everywhere = torch.ones(8, 3, dtype=torch.bool)
    return Batch(
        LAW.sequences, everywhere, everywhere, weight[:, None].expand(-1, 3), rows, rows, 8
    )


MASKS = [torch.tensor(mask) for mask in itertools.product((False, True), repeat=3) if any(mask)]


def _wdce(lm, weight):
    """The weighted loss as training computes it, with all sequences and masks enumerated.

    The batch holds every sequence with weight p(x) w(x), the masks have their probabilities under
    the bound of exact counts.
    """
    batch, total = _batch(weight), 0.0
    for mask in MASKS:
        count = int(mask.sum())
        share = 1 / (3 * math.comb(3, count))
        xt = torch.where(mask, MASK, batch.tokens)
        draw = lm.process.cross_entropy(batch, xt, None, torch.full((8,), 3 / count).double())
        total = total + share * (lm._nats(draw, batch, None) * batch.weight).sum()
    return total


def _gradient(lm, weight):
    (found,) = torch.autograd.grad(_wdce(lm, weight), lm.backbone.logits)
    return found


def test_the_weighted_loss_is_minimal_at_the_conditionals_of_the_tilted_law():
    at_tilted = _gradient(_model(_of(TILTED)), LAW.probs * WEIGHTS)
    assert at_tilted.abs().max() < 1e-10
    # at the pre-trained law it is not, nor is the loss without weights at the tilted one.
    assert _gradient(_model(_of(LAW)), LAW.probs * WEIGHTS).abs().max() > 1e-2
    assert _gradient(_model(_of(TILTED)), LAW.probs).abs().max() > 1e-2


def test_descent_from_the_pre_trained_law_ends_at_the_tilted_law():
    lm = _model(_of(LAW))
    weight = LAW.probs * WEIGHTS / (LAW.probs * WEIGHTS).sum()
    steps = torch.optim.LBFGS(
        lm.parameters(), max_iter=300, tolerance_grad=1e-13, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss():
        steps.zero_grad()
        value = _wdce(lm, weight)
        value.backward()
        return value

    steps.step(loss)
    found = lm.denoise(STATES).exp()
    expected = TILTED.log_probs(STATES).exp()
    # a table is determined where something is hidden; the loss is convex in it.
    assert (found - expected).abs().max() < 1e-6


def test_a_gradient_is_that_of_the_divergence_of_paths_from_the_tilted_law():
    torch.manual_seed(0)
    table = Table(torch.randn(len(STATES), 3, 2, dtype=torch.float64))
    lm, weight = _model(table), LAW.probs * WEIGHTS / (LAW.probs * WEIGHTS).sum()
    total = 0.0
    # KL(P* || P_u) = -E*[log u(path)] + constant, over all six orders.
    for order in itertools.permutations(range(3)):
        xt = torch.full((8, 3), MASK)
        for place in order:
            found = lm.denoise(xt)[torch.arange(8), place, LAW.sequences[:, place]]
            total = total - (weight * found).sum() / 6
            xt = xt.clone()
            xt[:, place] = LAW.sequences[:, place]
    (expected,) = torch.autograd.grad(total, table.logits)
    torch.testing.assert_close(_gradient(lm, weight), expected)


def test_training_multiplies_the_loss_of_each_row_by_its_weight():
    lm = _model(_of(LAW))
    batch = _batch(WEIGHTS)
    module = TrainingModule(lm, None, None, max_steps=1, averaging_decay=0.5)
    nats = lm.loss_terms(batch).nats
    expected = (nats * WEIGHTS[:, None]).sum() / 24
    torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_weights_of_paths_turn_draws_of_one_model_into_those_of_the_other():
    lm, other = _oracle(OracleBackbone(TILTED)), _oracle(OracleBackbone(LAW))
    paths = model_paths([lm, other], row_keys(3, torch.arange(NUM_ROWS)), 3)
    # beyond the 0.9999 quantile for 7 degrees of freedom.
    assert _chi_square(paths.tokens, TILTED.probs) < 29.9
    # conditionals of a joint law: the order does not matter.
    index = LAW.index_of(paths.tokens)
    torch.testing.assert_close(paths.log_probs[0], TILTED.probs.log()[index])
    torch.testing.assert_close(paths.log_ratio(), (LAW.probs / TILTED.probs).log()[index])


def test_paths_of_any_table_have_mean_weight_one_over_all_orders_and_draws():
    torch.manual_seed(1)
    tables = [Table(torch.randn(len(STATES), 3, 2, dtype=torch.float64)) for _ in range(2)]
    lm, other = map(_model, tables)
    paths = model_paths([lm, other], row_keys(5, torch.arange(4_000)), 3)
    order, _ = random_order(
        torch.full((4_000, 3), MASK), RowNoise(row_keys(5, torch.arange(4_000))), mask_id=MASK
    )
    for row in range(0, 4_000, 400):
        for number, model in enumerate((lm, other)):
            xt, expected = torch.full((1, 3), MASK), 0.0
            for place in order[row].tolist():
                token = paths.tokens[row, place]
                expected += model.denoise(xt)[0, place, token].item()
                xt[0, place] = token
            assert paths.log_probs[number, row].item() == pytest.approx(expected, rel=1e-12)
    ratios = paths.log_ratio().exp()
    # four standard errors of the mean.
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / 4_000**0.5
    orders = {tuple(found) for found in order.tolist()}
    assert len(orders) == 6


def test_the_divergence_over_hidden_positions_is_that_of_the_laws():
    expected = (TILTED.probs * (TILTED.probs / LAW.probs).log()).sum()
    lm, other = _oracle(OracleBackbone(TILTED)), _oracle(OracleBackbone(LAW))
    total = 0.0
    for mask in MASKS:
        count = int(mask.sum())
        xt = torch.where(mask, MASK, LAW.sequences)
        found = hidden_divergence(denoiser(lm)(xt), denoiser(other)(xt), xt, mask_id=MASK)
        total += (TILTED.probs * found).sum() * 3 / count / (3 * math.comb(3, count))
    torch.testing.assert_close(total, expected)


def test_the_estimate_of_the_divergence_has_that_mean_and_counts_no_visible_position():
    expected = (TILTED.probs * (TILTED.probs / LAW.probs).log()).sum().item()
    lm, other = _oracle(OracleBackbone(TILTED)), _oracle(OracleBackbone(LAW))
    rows = torch.arange(4_000)
    tokens = model_paths([lm], row_keys(3, rows), 3).tokens
    everywhere = torch.ones(4_000, 3, dtype=torch.bool)
    batch = Batch(tokens, everywhere, everywhere, None, row_keys(4, rows), rows, 4_000)
    found = path_divergence(lm, other, batch, draws=3)
    # four standard errors of the mean.
    assert abs(found.mean().item() - expected) < 4 * found.std().item() / 4_000**0.5
    assert path_divergence(lm, lm, batch, draws=2).abs().max() == 0
    clean = hidden_divergence(denoiser(lm)(tokens), denoiser(other)(tokens), tokens, mask_id=MASK)
    assert clean.abs().max() == 0


def test_what_cannot_be_compared_is_refused():
    lm, rows = _oracle(OracleBackbone(LAW)), torch.arange(2)
    third = TabulatedLaw(num_symbols=3)
    other = MaskedDiffusionLM(OracleBackbone(third), third.vocabulary)
    with pytest.raises(ConfigError, match="different vocabularies"):
        model_paths([lm, other], row_keys(0, rows), 3)
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    batch = Batch(LAW.sequences[:2], everywhere, everywhere, None, rows, rows, 2)
    with pytest.raises(ConfigError, match="draws must be at least 1"):
        path_divergence(lm, lm, batch, draws=0)
    uneven = torch.tensor([[MASK, MASK, 0], [MASK, 0, 0]])
    with pytest.raises(ValueError, match="the same number of masks"):
        random_order(uneven, RowNoise(rows), mask_id=MASK)
