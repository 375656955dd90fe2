"""Log-probabilities at each position: exact conditionals of the oracle, and what is left out."""

import itertools

import pytest
import torch

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import Cosine
from dnamdlm.errors import ConfigError
from dnamdlm.lm import places
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.helpers.rounding import rounding

LAW = TabulatedLaw(length=3, num_symbols=3, seed=2)
MASK, PAD, N_ID = 3, 4, 11


def _batch(tokens, *, valid=None, present=None, label=None):
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    rows = torch.arange(len(tokens))
    return Batch(
        tokens=tokens, present=everywhere if present is None else present,
        valid=everywhere if valid is None else valid, weight=None,
        key=row_keys(0, rows), row=rows, global_size=len(tokens), label=label,
    )  # fmt: skip


def _dna_batch(length=9):
    tokens = torch.randint(7, 11, (3, length), generator=torch.Generator().manual_seed(0))
    tokens[0, 2], tokens[1, -2:], tokens[2, 4] = N_ID, PAD, MASK
    present = tokens != PAD
    return _batch(tokens, present=present, valid=(tokens >= 7) & (tokens <= 10))


def _network(**options):
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2, **options)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, Cosine())


def _conditional(sequence, position):
    """p(x_i | all other tokens) of the table, by summing over the symbols at i."""
    table = LAW.probs.reshape((LAW.num_symbols,) * LAW.length)
    others = [slice(None) if i == position else int(x) for i, x in enumerate(sequence)]
    joint = table[tuple(others)]
    return joint / joint.sum()


@pytest.mark.parametrize("positions_at_once", [1, 5, 1000])
def test_with_each_position_hidden_the_oracle_gives_its_exact_conditionals(positions_at_once):
    lm = MaskedDiffusionLM(OracleBackbone(LAW), LAW.vocabulary)
    found = lm.log_probs(_batch(LAW.sequences), positions_at_once=positions_at_once)
    expected = torch.stack(
        [torch.stack([_conditional(row, i) for i in range(LAW.length)]) for row in LAW.sequences]
    )
    torch.testing.assert_close(found.exp(), expected)


def test_with_nothing_hidden_the_network_says_what_it_says_of_the_visible_sequence():
    lm, batch = _network().double(), _dna_batch()
    found = lm.log_probs(batch, hide="none")
    logits = lm.backbone(batch.tokens, None, batch.attended)[..., 7:11]
    known = batch.valid | (batch.tokens == MASK)
    torch.testing.assert_close(found[known], logits.log_softmax(-1)[known])


@pytest.mark.parametrize("hide", ["each", "none"])
def test_unknown_bases_and_padding_have_no_probabilities_and_masks_do(hide):
    batch = _dna_batch()
    found = _network().double().log_probs(batch, hide=hide)
    assert found.shape == (3, 9, 4)
    known = batch.valid | (batch.tokens == MASK)
    assert bool(found[~known].isnan().all())
    torch.testing.assert_close(found[known].exp().sum(-1), torch.ones(int(known.sum())).double())


def test_the_base_that_stands_at_a_position_does_not_enter_where_it_is_hidden():
    lm, batch = _network().double(), _dna_batch()
    tokens = batch.tokens.clone()
    tokens[0, 5] = 7 + (tokens[0, 5] - 6) % 4
    changed = _batch(tokens, valid=batch.valid, present=batch.present)
    before, after = lm.log_probs(batch), lm.log_probs(changed)
    torch.testing.assert_close(after[0, 5], before[0, 5])
    assert not torch.allclose(after[0, 6], before[0, 6])


def test_chosen_positions_of_a_large_vocabulary_give_the_same_numbers(monkeypatch):
    lm, batch = _network().double(), _dna_batch()
    plain = lm.log_probs(batch, positions_at_once=4)
    monkeypatch.setattr(places, "SMALL_VOCABULARY", 1)
    chosen = lm.log_probs(batch, positions_at_once=4)
    torch.testing.assert_close(chosen, plain, equal_nan=True)


def test_a_network_that_sees_the_time_gets_that_of_one_mask_among_the_bases():
    lm, batch, seen = _network(time_conditioning=True), _dna_batch(), []
    lm.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[1]))
    lm.log_probs(batch, positions_at_once=1)
    # rows of 8, 7 and 9 bases or masks; the last one has a mask of its own beside the hidden base.
    shares = [1 / 8] * 8 + [1 / 7] * 7 + [2 / 9] * 4 + [1 / 9] + [2 / 9] * 4
    expected = -(1 - torch.tensor(shares, dtype=torch.float64)).log()
    # the schedule inverts a cosine in float64, and the network gets float32.
    allowed = rounding(1, expected.max().item())
    torch.testing.assert_close(torch.cat(seen).double(), expected, rtol=0, atol=allowed)


def test_a_class_is_taken_from_the_batch():
    lm = _network(num_classes=2).double()
    tokens = torch.full((2, 5), 8)
    found = lm.log_probs(_batch(tokens, label=torch.tensor([0, 1])))
    assert not torch.allclose(found[0], found[1])
    alone = lm.log_probs(_batch(tokens[:1], label=torch.tensor([1])))
    torch.testing.assert_close(alone[0], found[1])


def test_dropout_is_off_and_nothing_to_predict_is_no_work():
    lm = _network(dropout=0.5).train()
    batch = _dna_batch()
    first, second = lm.log_probs(batch), lm.log_probs(batch)
    assert torch.equal(first.nan_to_num(), second.nan_to_num())
    assert lm.training
    tokens = torch.full((2, 3), N_ID)
    empty = lm.log_probs(_batch(tokens, valid=torch.zeros_like(tokens, dtype=torch.bool)))
    assert empty.shape == (2, 3, 4)
    assert bool(empty.isnan().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hide": "all"}, "hide=all is unknown; choose each or none"),
        ({"positions_at_once": 0}, "positions_at_once=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        _network().log_probs(_dna_batch(), **settings)


def test_an_autoregressive_model_gives_the_conditionals_of_its_likelihood():
    torch.manual_seed(0)
    backbone = CausalTransformer(12, 16, 2, 2).double()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    lm = CausalLM(backbone, NUCLEOTIDE_VOCABULARY)
    triples = torch.tensor(list(itertools.product(range(7, 11), repeat=3)))
    found = lm.log_probs(_batch(triples))
    of_sequence = found.gather(-1, (triples - 7).unsqueeze(-1)).sum(dim=(1, 2)).exp()
    # the chain rule: the 64 products are a distribution.
    assert of_sequence.sum().item() == pytest.approx(1.0, abs=1e-12)
    changed = triples.clone()
    changed[:, 1] = 7 + (triples[:, 1] - 6) % 4
    after = lm.log_probs(_batch(changed))
    assert torch.equal(after[:, :2], found[:, :2])
    assert not torch.allclose(after[:, 2], found[:, 2])
    unknown = _batch(triples, valid=triples != 7)
    assert bool(lm.log_probs(unknown)[triples == 7].isnan().all())
