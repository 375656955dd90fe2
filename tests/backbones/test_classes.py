"""Networks conditioned on a class, and networks that read distributions over tokens."""

import pytest
import torch

from dnamdlm.backbones.backbone import ClassBackbone
from dnamdlm.errors import ConfigError
from tests.backbones.cases import CASES, COMPLEMENT, VOCAB_SIZE, _caduceus, _dit, _mamba

WITH_CLASSES = [case for case in CASES if "classes" in case.name]
with_classes = pytest.mark.parametrize("case", WITH_CLASSES, ids=lambda case: case.name)
BUILDERS = pytest.mark.parametrize("build", [_dit, _mamba, _caduceus])


def _tokens(batch, length):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(7, 11, (batch, length), generator=generator)


def _time(batch):
    return torch.full((batch,), 0.7, dtype=torch.float64)


@with_classes
def test_each_class_and_no_class_give_different_logits(case):
    network, tokens, time = case.network(torch.float64), _tokens(1, 9), _time(1)
    assert isinstance(network, ClassBackbone)
    outputs = [
        network(tokens, time, None, torch.tensor([label]))
        for label in range(network.num_classes + 1)
    ]
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            assert not torch.allclose(one, other, atol=1e-3)
    torch.testing.assert_close(network(tokens, time), outputs[-1])


@with_classes
def test_a_row_is_told_its_own_class(case):
    network, tokens, time = case.network(torch.float64), _tokens(3, 9), _time(3)
    label = torch.tensor([1, network.num_classes, 0])
    together = network(tokens, time, None, label)
    for row in range(3):
        one = slice(row, row + 1)
        alone = network(tokens[one], time[one], None, label[one])
        torch.testing.assert_close(together[one], alone)


@pytest.mark.parametrize(
    "case", [case for case in WITH_CLASSES if "caduceus" in case.name], ids=lambda case: case.name
)
def test_a_class_is_the_same_for_both_strands(case):
    network, tokens, time = case.network(torch.float64), _tokens(2, 9), _time(2)
    label, complement = torch.tensor([0, 1]), torch.tensor(COMPLEMENT)
    ahead = network(tokens, time, None, label)
    back = network(complement[tokens.flip(1)], time, None, label)
    torch.testing.assert_close(back, ahead.flip(1)[..., complement])


@BUILDERS
def test_without_classes_weights_and_logits_are_what_they_were(build):
    torch.manual_seed(0)
    plain = build().double()
    torch.manual_seed(0)
    classy = build(num_classes=2).double()
    names = {name for name, _ in plain.named_parameters()}
    assert not any("class" in name for name in names)
    weights = dict(classy.named_parameters())
    added = weights.keys() - names
    assert len(added) == 1
    # the classes draw no random numbers and say nothing before they are trained.
    for name, weight in plain.named_parameters():
        assert torch.equal(weight, weights[name])
    assert not weights[added.pop()].any()
    torch.testing.assert_close(
        classy(_tokens(2, 9), None, None, torch.tensor([0, 1])), plain(_tokens(2, 9))
    )
    torch.testing.assert_close(
        plain(_tokens(2, 9), None, None, torch.tensor([0, 1])), plain(_tokens(2, 9))
    )


@BUILDERS
def test_a_negative_number_of_classes_is_refused(build):
    with pytest.raises(ConfigError, match=r"backbone\.num_classes=-1"):
        build(num_classes=-1)


# a network of words refuses distributions over bases, see test_import_esm.
OF_BASES = [case for case in CASES if not case.name.startswith("nt")]


@pytest.mark.parametrize("case", OF_BASES, ids=lambda case: case.name)
def test_a_one_hot_law_gives_the_states_of_the_id(case):
    network, tokens = case.network(torch.float64), _tokens(2, 9)
    time, present = _time(2), torch.ones(2, 9, dtype=torch.bool)
    present[1, 6:] = False
    one_hot = torch.nn.functional.one_hot(tokens, VOCAB_SIZE).double().requires_grad_()
    states = network.hidden(one_hot, time, present)
    torch.testing.assert_close(states[present], network.hidden(tokens, time, present)[present])
    (slope,) = torch.autograd.grad(states[present].square().sum(), one_hot)
    # a step along one letter of one position, against the difference that it makes.
    step = torch.zeros_like(one_hot)
    step[0, 4, 8] = 1e-5
    moved = (
        network.hidden(one_hot.detach() + sign * step, time, present)[present].square().sum()
        for sign in (1, -1)
    )
    difference = (next(moved) - next(moved)) / 2e-5
    assert difference.item() == pytest.approx(slope[0, 4, 8].item(), rel=1e-4, abs=1e-6)
