"""Networks conditioned on numbers: what a number, an unknown one and none at all add."""

import math

import pytest
import torch

from dnamdlm.backbones.number_embedding import NumberEmbedding, label_embedding, number_features
from dnamdlm.errors import ConfigError
from tests.backbones.cases import CASES, _caduceus, _dit, _mamba

WITH_NUMBERS = [case for case in CASES if "numbers" in case.name]
with_numbers = pytest.mark.parametrize("case", WITH_NUMBERS, ids=lambda case: case.name)
BUILDERS = pytest.mark.parametrize("build", [_dit, _mamba, _caduceus])


def _tokens(batch, length=9):
    return torch.randint(7, 11, (batch, length), generator=torch.Generator().manual_seed(1))


def test_features_are_ramps_that_keep_growing_outside():
    values = torch.tensor([-9.0, -0.25, 0.0, 9.0], dtype=torch.float64)
    features = number_features(values)
    assert features.shape == (4, 18)
    for row, value in zip(features.tolist(), values.tolist(), strict=True):
        expected = [math.asinh(value)]
        expected += [math.tanh((value - centre / 2) * 2) for centre in range(-8, 9)]
        assert row == pytest.approx(expected, rel=1e-12)


def test_numbers_add_up_and_an_unknown_one_has_a_vector_of_its_own():
    embedding = NumberEmbedding(2, 4).double()
    torch.manual_seed(0)
    for parameter in embedding.parameters():
        torch.nn.init.normal_(parameter)
    nan = torch.nan
    given = torch.tensor([[0.3, -1.2], [0.3, nan], [nan, -1.2], [nan, nan]]).double()
    both, first, second, none = embedding(given)[:, 0]
    torch.testing.assert_close(both + none, first + second)
    torch.testing.assert_close(none, embedding(None)[0, 0])
    torch.testing.assert_close(first - none, _of(embedding, 0, 0.3) - embedding.unknown[0])


def _of(embedding, number, value):
    return number_features(torch.tensor([value]).double())[0] @ embedding.weight[number]


def test_an_unknown_number_spoils_no_gradient():
    embedding = NumberEmbedding(1, 4)
    embedding(torch.tensor([[1.0], [torch.nan]])).sum().backward()
    assert embedding.weight.grad.isfinite().all()
    # one row of two has it.
    assert torch.equal(embedding.unknown.grad, torch.ones(1, 4))


@with_numbers
def test_each_number_and_none_give_different_logits_and_rows_do_not_mix(case):
    network, tokens = case.network(torch.float64), _tokens(3)
    count = network.num_numbers
    label = torch.stack([torch.full((count,), value) for value in (-1.0, 0.4, math.nan)]).double()
    together = network(tokens[:1].expand(3, -1), None, None, label)
    assert not torch.allclose(together[0], together[1], atol=1e-3)
    assert not torch.allclose(together[1], together[2], atol=1e-3)
    torch.testing.assert_close(network(tokens[:1], None), together[2:])
    mixed = network(tokens, None, None, label)
    for row in range(3):
        one = slice(row, row + 1)
        torch.testing.assert_close(network(tokens[one], None, None, label[one]), mixed[one])


@BUILDERS
def test_before_training_numbers_change_neither_weights_nor_logits(build):
    torch.manual_seed(0)
    plain = build().double()
    torch.manual_seed(0)
    with_two = build(num_numbers=2).double()
    weights = dict(with_two.named_parameters())
    added = weights.keys() - {name for name, _ in plain.named_parameters()}
    assert len(added) == 2
    for name, weight in plain.named_parameters():
        assert torch.equal(weight, weights[name])
    assert not any(bool(weights[name].any()) for name in added)
    label = torch.tensor([[0.5, 1.0], [torch.nan, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(with_two(_tokens(2), None, None, label), plain(_tokens(2)))


@BUILDERS
def test_a_negative_count_and_classes_at_once_are_refused(build):
    with pytest.raises(ConfigError, match=r"backbone\.num_numbers=-1 must be 0"):
        build(num_numbers=-1)
    with pytest.raises(ConfigError, match="conditioned on classes or on numbers"):
        label_embedding(2, 1, 4)
