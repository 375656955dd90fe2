"""The output layer at chosen positions: the same numbers as at all positions."""

import dataclasses

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.analytic import Analytic
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst, Threshold
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.remasking import Capped, LeastConfident, Remasking
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting
from dnamdlm.diffusion.times import Stratified
from dnamdlm.lm import places
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import (
    ContinuousTime,
    DiscreteTime,
    ExactCount,
    MaskedPrediction,
    ScoreEntropy,
    SimpleCrossEntropy,
)
from dnamdlm.lm.places import EVERYWHERE, Chosen, places_of
from dnamdlm.lm.sampling import network_calls as calls
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

OBJECTIVES = [
    ContinuousTime(),
    SimpleCrossEntropy(),
    ExactCount(),
    DiscreteTime(num_steps=7),
    DiscreteTime(num_steps=7, carry_over=False, zero_mask=False),
    ScoreEntropy(),
    MaskedPrediction(),
]
RULES = [
    Ancestral(),
    Ancestral(Choice(temperature=0.7, top_p=0.9)),
    FirstHitting(),
    Analytic(),
    Remasking(Capped(0.1)),
    Remasking(LeastConfident(0.8)),
    SurestFirst("entropy"),
    Threshold(0.4),
    EntropyBounded(0.8),
]


def _model(objective=None):
    torch.manual_seed(0)
    backbone = DiT(12, 16, 2, 2).double()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return MaskedDiffusionLM(
        backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), objective=objective
    )


def _batch(rows=5, length=9):
    tokens = torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(1))
    tokens[0, :3] = 11
    tokens[1, -2:] = NUCLEOTIDE_VOCABULARY.pad_id
    present = tokens != NUCLEOTIDE_VOCABULARY.pad_id
    return Batch(
        tokens=tokens,
        present=present,
        valid=present & (tokens != 11),
        weight=None,
        key=row_keys(3, torch.arange(rows)),
        row=torch.arange(rows),
        global_size=rows,
    )


@pytest.fixture
def large(monkeypatch):
    """Treat the vocabulary of the tests as a large one."""

    def switch():
        monkeypatch.setattr(places, "SMALL_VOCABULARY", 1)

    return switch


def _loss_and_gradients(model):
    model.zero_grad()
    terms = model.loss_terms(_batch())
    nats = terms.nats if terms.minimised is None else terms.minimised
    nats.sum().backward()
    return nats.detach(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_losses_and_gradients_are_those_of_all_positions(objective, large):
    model = _model(objective)
    nats, gradients = _loss_and_gradients(model)
    large()
    chosen_nats, chosen_gradients = _loss_and_gradients(model)
    torch.testing.assert_close(chosen_nats, nats, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(chosen_gradients, gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("objective", [None, ScoreEntropy()], ids=repr)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_draws_the_same_tokens(rule, objective, large):
    model = _model(objective)
    keys = row_keys(1, torch.arange(4))
    full = model.generate(keys, 9, rule=rule, num_steps=6)
    large()
    sparse = model.generate(keys, 9, rule=rule, num_steps=6)
    assert torch.equal(sparse.tokens, full.tokens)
    assert sparse.row_calls == full.row_calls


def test_the_output_layer_runs_only_where_a_token_is_revealed(large):
    large()
    model, seen = _model(), []
    model.backbone.head.register_forward_hook(
        lambda _module, inputs, _output: seen.append(inputs[0].shape[0])
    )
    made = model.generate(row_keys(1, torch.arange(3)), 9, num_steps=50)
    assert sum(seen) == made.tokens.numel()


@pytest.mark.parametrize("is_cpu", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_bytes_do_not_depend_on_the_batch_where_positions_are_chosen(
    is_cpu, batch_size, large, monkeypatch
):
    large()
    if not is_cpu:
        monkeypatch.setattr(calls, "ROWS_PER_CALL_CPU", 4)
        plain = calls.NetworkCalls.__init__

        def with_groups(self, lm, **settings):
            plain(self, lm, **settings)
            self.positions_per_call = 8

        monkeypatch.setattr(calls.NetworkCalls, "__init__", with_groups)
    model = _model().float()
    keys = row_keys(2, torch.arange(7))
    whole = model.generate(keys, 9, num_steps=8, batch_size=7).tokens
    parts = model.generate(keys.flip(0), 9, num_steps=8, batch_size=batch_size).tokens
    assert torch.equal(parts.flip(0), whole)


def test_a_fixed_number_of_positions_per_call_gives_the_same_logits():
    model, xt = _model(), _batch().tokens
    mask = torch.rand(xt.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    plain = model.logits(xt, places=Chosen(mask))
    torch.testing.assert_close(model.logits(xt, places=Chosen(mask, positions_per_call=4)), plain)
    torch.testing.assert_close(plain[:, 0], model.logits(xt)[mask])
    nothing = Chosen(torch.zeros_like(mask), positions_per_call=4)
    assert model.logits(xt, places=nothing).shape == (0, 1, 12)


def test_few_ids_are_looked_at_everywhere():
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert places_of(mask, 12) is EVERYWHERE
    assert isinstance(places_of(mask, 30_000), Chosen)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rule_is_given_the_distributions_that_it_reads_and_no_others(rule, large):
    large()
    model, given = _model(), []

    class Watched(type(rule)):
        def __call__(self, step, log_probs):
            given.append((len(log_probs.values), int(self.reads(step).sum())))
            return super().__call__(step, log_probs)

        def for_normalized(self):
            return self

    fields = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    model.generate(row_keys(1, torch.arange(3)), 9, rule=Watched(**fields), num_steps=6)
    assert all(values == read for values, read in given)
    assert sum(read for _, read in given) >= 27
