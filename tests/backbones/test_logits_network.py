"""Networks of other packages as backbones: what they are given, and what is demanded of them."""

import pytest
import torch
from torch import nn

from dnamdlm.backbones.backbone import Backbone, ClassBackbone
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.logits_network import LogitsNetwork
from dnamdlm.errors import ConfigError

IDS = torch.tensor([[0, 1, 2], [3, 0, 1]])


class Reads(nn.Module):
    """Remembers what it was called with."""

    def __init__(self, width=5):
        super().__init__()
        self.embed = nn.Embedding(4, width)
        self.seen = {}

    def forward(self, ids, time=None, present=None, label=None):
        self.seen = {"time": time, "present": present, "label": label}
        return self.embed(ids)


class OfIds(nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.embed = nn.Embedding(4, 6, dtype=dtype)

    def forward(self, ids):
        return self.embed(ids)


def test_a_network_is_given_what_its_parameters_name():
    network = Reads()
    network.num_classes = 3
    backbone = LogitsNetwork(network, 4)
    assert isinstance(backbone, Backbone)
    assert isinstance(backbone, ClassBackbone)
    assert (backbone.time_conditioning, backbone.num_classes) == (True, 3)
    time, label, present = torch.ones(2), torch.tensor([0, 3]), torch.ones_like(IDS).bool()
    backbone(IDS, time, present, label)
    assert network.seen == {"time": time, "present": present, "label": label}


def test_a_network_of_ids_alone_is_given_ids_alone():
    network = OfIds()
    # an attribute of this name means nothing where labels are not taken.
    network.num_classes = 1000
    backbone = LogitsNetwork(network, 4)
    assert (backbone.time_conditioning, backbone.num_classes, backbone.causal) == (False, 0, False)
    logits = backbone(IDS, torch.ones(2), torch.ones_like(IDS).bool())
    assert torch.equal(logits, network.embed.weight[IDS][..., :4])


def test_a_network_may_ignore_the_time_that_it_takes():
    network = Reads()
    network.time_conditioning = False
    assert not LogitsNetwork(network, 4).time_conditioning


def test_logits_are_float32_or_wider():
    for dtype, wide in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert LogitsNetwork(OfIds(dtype), 4)(IDS).dtype == wide


def test_too_few_logits_are_refused():
    with pytest.raises(ConfigError, match=r"shape \(2, 3, 6\); return \(2, 3, 7\), one logit"):
        LogitsNetwork(OfIds(), 7)(IDS)


def test_a_submodule_named_hidden_is_not_taken_for_hidden_states():
    network = OfIds()
    network.hidden = nn.Linear(6, 6)
    with pytest.raises(ConfigError, match="OfIds has no hidden states"):
        LogitsNetwork(network, 4).hidden(IDS)


def test_arguments_are_kept_by_the_class_that_declares_it_and_not_by_others():
    class Kept(nn.Module):
        @keeps_arguments
        def __init__(self, width, *, depth=2):
            super().__init__()

    class Same(Kept):
        pass

    class Other(Kept):
        def __init__(self, size):
            super().__init__(size, depth=1)

    assert Kept(3).made_with == Same(width=3).made_with == {"width": 3, "depth": 2}
    assert not hasattr(Other(3), "made_with")
