"""The masked diffusion language model: bound, likelihood and generation."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import dnamdlm
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.data.content_keys import content_keys
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from dnamdlm.diffusion.times import Stratified, Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ContinuousTime
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.helpers.rounding import rounding

LAW = TabulatedLaw()
N_ID = 11


def _oracle(schedule=None):
    return MaskedDiffusionLM(
        OracleBackbone(LAW), LAW.vocabulary, schedule or LogLinear(), Stratified()
    )


def _network(*, time_conditioning=False, dropout=0.0, schedule=None):
    """A small transformer in which every parameter is random, so that all inputs matter."""
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2, time_conditioning=time_conditioning, dropout=dropout)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, schedule or LogLinear(), Stratified())


def _batch(tokens, *, valid=None, present=None, seed=0):
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens,
        present=everywhere if present is None else present,
        valid=everywhere if valid is None else valid,
        weight=None,
        key=row_keys(seed, torch.arange(len(tokens))),
        row=torch.arange(len(tokens)),
        global_size=len(tokens),
    )


def _bases(rows, length, seed=0):
    return torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_it_is_a_language_model():
    assert isinstance(_network(), LanguageModel)


@pytest.mark.parametrize("schedule", [LogLinear(), Cosine()], ids=repr)
def test_the_training_loss_of_the_oracle_averages_to_the_likelihood(schedule):
    rows = 40_000
    tokens = LAW.sequences[torch.arange(rows) % len(LAW.sequences)]
    terms = _oracle(schedule).loss_terms(_batch(tokens))
    nats = terms.nats.sum(dim=1).reshape(-1, len(LAW.sequences))
    error = (nats.mean(dim=0) + LAW.probs.log()) / (nats.std(dim=0) / len(nats) ** 0.5)
    # eight standard scores: below 4 each.
    assert error.abs().max() < 4
    assert bool(terms.valid.all())


@pytest.mark.parametrize("estimator", ["time", "count", "auto"])
def test_the_likelihood_of_the_oracle_is_exact_on_average(estimator):
    likelihood = _oracle().log_likelihood(
        _batch(LAW.sequences.repeat(500, 1)), draws=12, estimator=estimator
    )
    nats = likelihood.nats.sum(dim=1).reshape(-1, len(LAW.sequences))
    error = (nats.mean(dim=0) + LAW.probs.log()) / (nats.std(dim=0) / len(nats) ** 0.5)
    assert error.abs().max() < 4
    assert likelihood.kind == "upper bound"


def test_exact_counts_have_the_lower_variance():
    batch = _batch(LAW.sequences.repeat(500, 1))
    spread = {
        estimator: _oracle()
        .log_likelihood(batch, draws=6, estimator=estimator)
        .nats.sum(dim=1)
        .reshape(-1, len(LAW.sequences))
        .var(dim=0)
        .mean()
        for estimator in ("time", "count")
    }
    assert spread["count"] < 0.7 * spread["time"]


def test_more_draws_lower_the_variance():
    batch = _batch(LAW.sequences.repeat(300, 1))
    few, many = (
        _oracle().log_likelihood(batch, draws=draws, estimator="time").nats.sum(dim=1).var()
        for draws in (2, 32)
    )
    assert many < few / 8


@pytest.mark.parametrize("estimator", ["time", "count"])
def test_a_uniform_network_costs_two_bits_per_base(estimator):
    model = _network().double()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    likelihood = model.log_likelihood(_batch(_bases(64, 50)), draws=16, estimator=estimator)
    # log 4 nats for each base; the spread comes from the random share of masked tokens.
    mean = likelihood.nats.sum() / likelihood.valid.sum() / math.log(4)
    assert mean.item() == pytest.approx(1.0, abs=0.02)
    if estimator == "count":
        # the weight of a count is a float32 quotient.
        assert mean.item() == pytest.approx(1.0, abs=rounding(1))


def test_padding_and_unknown_bases_are_neither_masked_nor_scored():
    tokens = _bases(4, 20)
    tokens[:, 5] = N_ID
    present = torch.ones_like(tokens, dtype=torch.bool)
    present[:, 15:] = False
    tokens[~present] = NUCLEOTIDE_VOCABULARY.pad_id
    valid = present & (tokens != N_ID)
    model = _network()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    batch = _batch(tokens, valid=valid, present=present)
    for nats in (
        model.loss_terms(batch).nats,
        model.log_likelihood(batch, draws=3, estimator="time").nats,
        model.log_likelihood(batch, draws=3, estimator="count").nats,
    ):
        assert bool((nats[~valid] == 0).all())
        assert bool(nats.isfinite().all())
    for xt in seen:
        assert torch.equal(xt[~valid], tokens[~valid])


def test_the_times_of_the_draws_come_from_equal_strata():
    model = _network(time_conditioning=True)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[1]))
    model.log_likelihood(_batch(_bases(20, 6)), draws=5)
    for draw, conditioning in enumerate(seen):
        t = 1 - (-conditioning).exp()
        assert bool(((t >= draw / 5 - 1e-6) & (t <= (draw + 1) / 5 + 1e-6)).all())


def test_the_counts_of_the_draws_come_from_equal_strata():
    model = _network()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    model.log_likelihood(_batch(_bases(50, 20)), draws=5)
    for draw, xt in enumerate(seen):
        # 1 + floor(20 u) with u in the fifth of (0, 1) that belongs to the draw.
        counts = (xt == NUCLEOTIDE_VOCABULARY.mask_id).sum(dim=1)
        assert set(counts.tolist()) == set(range(4 * draw + 1, 4 * draw + 5))


def test_a_row_without_valid_bases_costs_nothing():
    tokens = torch.full((2, 6), N_ID)
    batch = _batch(tokens, valid=torch.zeros_like(tokens, dtype=torch.bool))
    model = _network()
    assert model.loss_terms(batch).nats.abs().sum() == 0
    assert model.log_likelihood(batch, draws=2, estimator="count").nats.abs().sum() == 0


@pytest.mark.parametrize("time_conditioning", [False, True])
def test_loss_and_likelihood_of_a_row_do_not_depend_on_its_batch(time_conditioning):
    model = _network(time_conditioning=time_conditioning).double()
    batch = _batch(_bases(6, 24))
    part = batch.rows(torch.tensor([4, 1]))
    torch.testing.assert_close(model.loss_terms(part).nats, model.loss_terms(batch).nats[[4, 1]])
    torch.testing.assert_close(
        model.log_likelihood(part, draws=3).nats, model.log_likelihood(batch, draws=3).nats[[4, 1]]
    )


def test_the_loss_has_finite_gradients_for_every_parameter():
    for time_conditioning in (False, True):
        model = _network(time_conditioning=time_conditioning)
        model.loss_terms(_batch(_bases(8, 32))).nats.mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name


def test_the_loss_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = _network().loss_terms(_batch(_bases(2, 16)))
    assert terms.nats.dtype == torch.float32


def test_training_mode_comes_back_and_dropout_is_off_meanwhile():
    model = _network(dropout=0.5).train()
    batch = _batch(_bases(2, 16))
    first, second = (model.log_likelihood(batch, draws=1).nats for _ in range(2))
    assert torch.equal(first, second)
    assert model.training
    model.generate(batch.key, 8, num_steps=2)
    assert model.training


def test_the_loss_falls_on_one_batch():
    torch.manual_seed(0)
    backbone = DiT(12, 32, 1, 2)
    model = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified())
    # one base repeated per row: the first reveal tells the rest, so 1.39 / 16 nats are the floor.
    tokens = (7 + torch.arange(16) % 4)[:, None].expand(16, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        loss = model.loss_terms(_batch(tokens, seed=step)).nats.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # the start is log 4 = 1.39 nats per base
    assert sum(losses[:3]) / 3 > 1.0
    assert sum(losses[-10:]) / 10 < 0.5


def test_denoise_gives_a_law_over_bases_and_asks_for_the_time_it_needs():
    xt = torch.tensor([[7, 3, N_ID, 3]])
    probs = _network().double().denoise(xt).exp()
    torch.testing.assert_close(probs.sum(-1), torch.ones(1, 4, dtype=torch.float64))
    assert bool((probs[0, [1, 3]][:, [0, 1, 2, 3, 4, 5, 6, 11]] == 0).all())
    with pytest.raises(ValueError, match="conditioned on time"):
        _network(time_conditioning=True).denoise(xt)


def test_the_network_is_told_minus_log_alpha():
    model = _network(time_conditioning=True, schedule=LogLinear(floor=1e-3))
    seen = []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[1]))
    model.denoise(torch.full((3, 4), 3), torch.tensor([0.0, 0.5, 1.0]))
    # computed in float64, and rounded once.
    expected = torch.tensor([0.0, 0.69214718, 6.90775528])
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=rounding(1, scale=6.9))
    exact = _network(time_conditioning=True)
    assert bool(exact.denoise(torch.full((1, 4), 3), torch.ones(1))[..., 7:11].isfinite().all())


def test_a_network_with_too_few_ids_is_refused_and_a_padded_one_accepted():
    with pytest.raises(ConfigError, match=r"vocab_size=8 is below the 12 ids"):
        MaskedDiffusionLM(DiT(8, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform())
    model = MaskedDiffusionLM(DiT(16, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform())
    tokens = model.generate(row_keys(0, torch.arange(2)), 8, num_steps=4).tokens
    assert bool(((tokens >= 7) & (tokens <= 10)).all())


def test_no_state_beside_the_network_is_saved():
    model = _network()
    assert all(name.startswith("backbone.") for name in model.state_dict())


def test_a_network_and_a_vocabulary_are_enough():
    torch.manual_seed(0)
    lm = MaskedDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)
    assert (lm.schedule, lm.times, lm.objective) == (LogLinear(), Stratified(), ContinuousTime())


def test_a_sequence_with_a_key_of_its_content_is_scored_alike_wherever_it_stands():
    model, tokens = _network().double(), _bases(5, 12)
    tokens[3, 7:] = NUCLEOTIDE_VOCABULARY.pad_id
    present = tokens != NUCLEOTIDE_VOCABULARY.pad_id

    def nats(rows):
        chosen = tokens[rows][:, : int(present[rows].sum(dim=1).max())]
        here = chosen != NUCLEOTIDE_VOCABULARY.pad_id
        batch = _batch(chosen, valid=here, present=here)
        batch = replace(batch, key=content_keys(chosen, here, seed=4))
        return model.log_likelihood(batch, draws=3).nats.sum(dim=1)

    together = nats([0, 1, 2, 3, 4])
    torch.testing.assert_close(nats([4, 3, 0]), together[[4, 3, 0]])
    torch.testing.assert_close(nats([3]), together[[3]])


class OwnNetwork(nn.Module):
    """A network from outside the package: ids in, logits out."""

    def __init__(self, num_logits=12):
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.mixing = nn.Conv1d(8, 8, 3, padding=1)
        self.output = nn.Linear(8, num_logits)

    def forward(self, tokens):
        return self.output(self.mixing(self.embedding(tokens).mT).mT)


def test_a_plain_module_is_trained_scored_and_sampled():
    torch.manual_seed(0)
    lm, batch = MaskedDiffusionLM(OwnNetwork(), dnamdlm.DNA), _batch(_bases(4, 10))
    assert isinstance(lm, LanguageModel)
    lm.loss_terms(batch).nats.sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in lm.parameters())
    assert bool(lm.log_likelihood(batch, draws=2).nats.isfinite().all())
    tokens = lm.generate(batch.key, 10, num_steps=4).tokens
    assert bool(((tokens >= 7) & (tokens <= 10)).all())
    assert lm.log_probs(batch).shape == (4, 10, 4)


def test_a_plain_module_with_other_shapes_gets_one_sentence():
    lm = MaskedDiffusionLM(OwnNetwork(num_logits=5), dnamdlm.DNA)
    with pytest.raises(ConfigError, match=r"OwnNetwork must give logits .* got \(2, 8, 5\)"):
        lm.loss_terms(_batch(_bases(2, 8)))
