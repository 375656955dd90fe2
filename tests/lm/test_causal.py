"""The autoregressive model: exact likelihood, exact cache, generation, refusals."""

import itertools
import math

import pytest
import torch

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.backbone import Backbone
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

MASK, PAD, N_ID = 3, 4, 11


def _model(dtype=torch.float32, *, std=0.4, **options):
    torch.manual_seed(0)
    backbone = CausalTransformer(12, 16, 2, 2, **options).to(dtype)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return CausalLM(backbone, NUCLEOTIDE_VOCABULARY)


def _batch(tokens, *, valid=None, present=None):
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens,
        present=everywhere if present is None else present,
        valid=everywhere if valid is None else valid,
        weight=None,
        key=row_keys(0, torch.arange(len(tokens))),
        row=torch.arange(len(tokens)),
        global_size=len(tokens),
    )


def _bases(rows, length, seed=0):
    return torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(seed))


ALL_TRIPLES = torch.tensor(list(itertools.product(range(7, 11), repeat=3)))


def test_it_is_a_language_model_over_a_backbone():
    model = _model()
    assert isinstance(model, LanguageModel)
    assert isinstance(model.backbone, Backbone)


def test_the_future_does_not_change_the_past():
    model, tokens = _model(torch.float64), _bases(1, 12)
    for place in range(12):
        changed = tokens.clone()
        changed[0, place] = 7 + (tokens[0, place] - 6) % 4
        moved = (model.backbone(tokens) != model.backbone(changed)).any(-1)[0]
        assert moved.tolist() == [i >= place for i in range(12)]


def test_the_probabilities_of_all_sequences_sum_to_one():
    likelihood = _model(torch.float64).log_likelihood(_batch(ALL_TRIPLES), draws=5)
    assert likelihood.kind == "exact"
    total = (-likelihood.nats.sum(dim=1)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-12)


def test_the_cache_gives_the_logits_of_the_whole_sequence():
    backbone, tokens = _model(torch.float64).backbone.eval(), _bases(3, 40)
    cache = backbone.new_cache(3, 40)
    steps = torch.stack([backbone.step(tokens[:, i], cache) for i in range(40)], dim=1)
    # float64 rounding of sums in another order.
    torch.testing.assert_close(steps, backbone(tokens), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="the cache is full: it has 40 tokens"):
        backbone.step(tokens[:, 0], cache)


def test_generation_follows_the_law_of_the_model():
    model = _model()
    probs = (-model.log_likelihood(_batch(ALL_TRIPLES)).nats.double().sum(dim=1)).exp()
    keys = row_keys(0, torch.arange(600))
    tokens = model.generate(keys, 3).tokens
    index = ((tokens - 7) * torch.tensor([16, 4, 1])).sum(dim=1)
    expected = probs * 600
    counts = torch.bincount(index, minlength=64).double()
    rare = expected < 5
    groups = torch.cat([expected[~rare], expected[rare].sum()[None]])
    observed = torch.cat([counts[~rare], counts[rare].sum()[None]])
    statistic = ((observed - groups) ** 2 / groups).sum().item()
    # mean and variance of the chi-squared law; four standard deviations.
    degrees = len(groups) - 1
    assert statistic < degrees + 4 * math.sqrt(2 * degrees)


def test_a_causal_network_without_a_cache_is_served_too():
    torch.manual_seed(0)
    model = CausalLM(Mamba(12, 8, 1, directions="forward"), NUCLEOTIDE_VOCABULARY).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    total = (-model.log_likelihood(_batch(ALL_TRIPLES)).nats.sum(dim=1)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-10)
    keys = row_keys(3, torch.arange(3))
    greedy = model.generate(keys, 6, choice=Choice(top_k=1)).tokens
    for place in range(6):
        best = model.next_log_probs(greedy)[:, place].argmax(dim=-1)
        assert torch.equal(greedy[:, place], best)
    with pytest.raises(ConfigError, match="use backbone=ar"):
        CausalLM(Mamba(12, 8, 1), NUCLEOTIDE_VOCABULARY)


def test_generated_bytes_do_not_depend_on_batch_size_or_order():
    model, keys = _model(), row_keys(7, torch.arange(7))
    whole = model.generate(keys, 17)
    assert bool(((whole.tokens >= 7) & (whole.tokens <= 10)).all())
    assert whole.row_calls == 7 * 17
    for batch_size in (1, 3):
        assert torch.equal(model.generate(keys, 17, batch_size=batch_size).tokens, whole.tokens)
    order = torch.tensor([5, 0])
    assert torch.equal(model.generate(keys[order], 17).tokens, whole.tokens[order])


def test_a_prefix_is_continued_and_kept():
    initial = torch.full((4, 12), MASK)
    initial[:, :5] = torch.tensor([7, N_ID, 9, 10, 8])
    initial[:, 10:] = PAD
    model, keys = _model(), row_keys(0, torch.arange(4))
    tokens = model.generate(keys, 12, initial=initial, choice=Choice(0.7, 0.9)).tokens
    assert torch.equal(tokens[initial != MASK], initial[initial != MASK])
    assert set(tokens[initial == MASK].tolist()) <= {7, 8, 9, 10}
    complete = _bases(2, 6)
    done = model.generate(keys[:2], 6, initial=complete)
    assert torch.equal(done.tokens, complete)
    assert done.network_calls == 0
    assert model.generate(keys[:0], 6).tokens.shape == (0, 6)


def test_padding_and_unknown_bases_are_not_scored_and_padding_is_not_seen():
    model, tokens = _model(torch.float64), _bases(3, 20)
    tokens[:, 4] = N_ID
    tokens[:, 15:] = PAD
    present = tokens != PAD
    valid = present & (tokens != N_ID)
    nats = model.loss_terms(_batch(tokens, valid=valid, present=present)).nats
    assert bool((nats[~valid] == 0).all())
    short = _batch(tokens[:, :15], valid=valid[:, :15])
    torch.testing.assert_close(nats[:, :15], model.loss_terms(short).nats)
    nats.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_the_likelihood_of_a_row_does_not_depend_on_its_batch_and_dropout_is_off():
    model, batch = _model(torch.float64, dropout=0.5).train(), _batch(_bases(6, 24))
    whole = model.log_likelihood(batch).nats
    part = model.log_likelihood(batch.rows(torch.tensor([4, 1]))).nats
    torch.testing.assert_close(part, whole[[4, 1]])
    assert model.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, k: m.generate(k, 0), "at least 1, got 0 and 64"),
        (lambda m, k: m.generate(k, 4, initial=torch.full((2, 5), 3)), r"shape \(2, 5\)"),
        (lambda m, k: m.generate(k, 4, initial=torch.full((2, 4), 12)), r"outside \[0, 12\)"),
        (
            lambda m, k: m.generate(k, 4, initial=torch.tensor([[3, 7, 3, 3]] * 2)),
            "continues a prefix and cannot fill gaps",
        ),
        (lambda _m, _k: CausalLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY), "use backbone=ar"),
        (
            lambda _m, _k: CausalLM(CausalTransformer(8, 16, 1, 2), NUCLEOTIDE_VOCABULARY),
            "vocab_size=8 is below the 12 ids",
        ),
        (
            lambda m, _k: MaskedDiffusionLM(
                m.backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified()
            ),
            "or lm=ar for an autoregressive model",
        ),
        (lambda _m, _k: CausalTransformer(12, 16, 2, 3), "num_heads=3 does not split"),
        (lambda _m, _k: CausalTransformer(12, 16, 0, 2), "num_blocks must be positive"),
        (lambda _m, _k: CausalTransformer(12, 16, 1, 2, dropout=1.0), "dropout must lie"),
        (lambda _m, _k: CausalTransformer(12, 16, 1, 2, activation="x"), "'x' is unknown"),
    ],
)
def test_impossible_requests_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call(_model(), row_keys(0, torch.arange(2)))


def test_a_plain_causal_module_is_a_language_model():
    class Bigrams(torch.nn.Module):
        causal = True

        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(12, 12)

        def forward(self, tokens):
            return self.table(tokens)

    torch.manual_seed(0)
    model = CausalLM(Bigrams().double(), NUCLEOTIDE_VOCABULARY)
    total = (-model.log_likelihood(_batch(ALL_TRIPLES)).nats.sum(dim=1)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-12)
    assert model.generate(row_keys(0, torch.arange(2)), 5).tokens.shape == (2, 5)
