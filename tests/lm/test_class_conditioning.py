"""A model of classes: what training, likelihood and the network get of a label."""

import dataclasses

import pytest
import torch

from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classes import dropped_labels
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import DiscreteTime, ExactCount, ScoreEntropy
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.backbones.cases import COMPLEMENT
from tests.lm.test_guidance import NUM_ROWS, OneClass, _network, _random


def _batch(rows=6, length=10, label=None, seed=0):
    tokens = torch.randint(7, 11, (rows, length), generator=torch.Generator().manual_seed(seed))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens=tokens, present=everywhere, valid=everywhere, weight=None,
        key=row_keys(seed, torch.arange(rows)), row=torch.arange(rows), global_size=rows,
        label=label,
    )  # fmt: skip


def test_labels_are_dropped_as_often_as_asked_and_by_key_alone():
    label, batch = torch.arange(NUM_ROWS) % 3, _batch(NUM_ROWS, 1)
    dropped = dropped_labels(label, RowNoise(batch.key), probability=0.1)
    share = (dropped == -1).double().mean().item()
    assert abs(share - 0.1) < 4 * (0.09 / NUM_ROWS) ** 0.5
    assert torch.equal(dropped[dropped >= 0], label[dropped >= 0])
    some = torch.tensor([17, 4, 900])
    again = dropped_labels(label[some], RowNoise(batch.key[some]), probability=0.1)
    assert torch.equal(again, dropped[some])
    assert torch.equal(dropped_labels(label, RowNoise(batch.key), probability=0.0), label)


@pytest.mark.parametrize(
    "objective", [None, ExactCount(), DiscreteTime(8), ScoreEntropy()], ids=repr
)
def test_the_loss_is_that_of_the_model_of_each_rows_class(objective):
    lm = _network(3, objective).double()
    lm.label_dropout = 0.5
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    batch = _batch(label=label)
    loss = lm.loss_terms(batch).nats
    kept = dropped_labels(label, RowNoise(batch.key), probability=0.5)
    assert set((kept < 0).tolist()) == {True, False}
    network = lm.backbone
    for row in range(6):
        plain = dataclasses.replace(batch, label=None).rows(slice(row, row + 1))
        lm.backbone = OneClass(network, int(kept[row]) if kept[row] >= 0 else 3)
        expected = lm.loss_terms(plain).nats[0]
        torch.testing.assert_close(loss[row], expected)


def test_the_likelihood_is_given_the_class_where_the_batch_has_one():
    lm, label = _network(2).double(), torch.tensor([0, 1, 0, 1, 0, 1])
    given = lm.log_likelihood(_batch(label=label), draws=2).nats
    without = lm.log_likelihood(_batch(), draws=2).nats
    none = lm.log_likelihood(_batch(label=torch.full((6,), -1)), draws=2).nats
    torch.testing.assert_close(without, none)
    assert not torch.allclose(given, without)
    swapped = lm.log_likelihood(_batch(label=1 - label), draws=2).nats
    assert not torch.allclose(given, swapped)
    # exact orders as well.
    exact = [
        lm.log_likelihood(_batch(label=label), estimator="left_to_right").nats
        for label in (torch.zeros(6).long(), torch.ones(6).long())
    ]
    assert not torch.allclose(*exact)


def test_a_model_without_classes_does_not_mind_labels():
    lm, label = _network(0), torch.tensor([0, 1, 0, 1, 0, 1])
    assert torch.equal(lm.loss_terms(_batch(label=label)).nats, lm.loss_terms(_batch()).nats)
    xt = torch.tensor([[7, 3, 9]])
    assert torch.equal(lm.denoise(xt, label=1), lm.denoise(xt))


def test_a_class_is_one_for_all_rows_or_one_for_each():
    lm = _network(2).double()
    xt = torch.tensor([[7, 3, 9, 3]]).repeat(3, 1)
    each = lm.denoise(xt, label=torch.tensor([1, -1, 0]))
    for row, label in enumerate((1, None, 0)):
        of_all = lm.denoise(xt, label=label)
        torch.testing.assert_close(each[row], of_all[row])
    assert not torch.equal(each[0], each[1])


def test_the_embedding_of_the_class_is_trained():
    lm = _network(2)
    lm.loss_terms(_batch(label=torch.ones(6).long())).nats.sum().backward()
    assert lm.backbone.class_embedding.weight.grad.any()


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_label_dropout_that_is_no_probability_is_refused(dropout):
    with pytest.raises(ConfigError, match=r"lm\.label_dropout="):
        MaskedDiffusionLM(
            DiT(12, 8, 1, 1), NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform(), label_dropout=dropout
        )


def test_strands_of_a_class_are_alike():
    backbone = _random(CaduceusPS(12, COMPLEMENT, 8, 1, state_size=4, num_classes=2), 0.3)
    lm = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform()).double().eval()
    xt = torch.tensor([[7, 3, 9, 3, 10]])
    complement = torch.tensor(COMPLEMENT)
    ahead = lm.denoise(xt, label=1)
    back = lm.denoise(complement[xt.flip(1)], label=1)
    torch.testing.assert_close(back.exp(), ahead.exp().flip(1)[..., complement])
