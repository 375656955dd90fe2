"""A module of a user's own as a backbone: what it may leave out, and what it may not."""

import pytest
import torch
from torch import nn

from dnamdlm.backbones import Backbone, ClassBackbone, DiT, ModuleBackbone, as_backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion import LogLinear, Stratified, row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens import NUCLEOTIDE_VOCABULARY

TOKENS = torch.tensor([[7, 8, 3, 10, 11], [3, 3, 9, 9, 4]])
PRESENT = TOKENS != 4
TIME = torch.tensor([0.3, 0.7])


class Recorder(nn.Module):
    """Logits that are all zero; keeps what it was called with."""

    def __init__(self, size=12):
        super().__init__()
        self.size = size

    def _record(self, tokens, **given):
        self.given = given
        return torch.zeros(*tokens.shape, self.size)


class OfTime(Recorder):
    def forward(self, tokens, time):
        return self._record(tokens, time=time)


class OfPresent(Recorder):
    def forward(self, ids, present=None):
        return self._record(ids, present=present)


class OfOptionalTime(Recorder):
    def forward(self, tokens, time=None):
        return self._record(tokens, time=time)


class OfClasses(Recorder):
    num_classes = 3

    def forward(self, tokens, label=None, present=None):
        return self._record(tokens, label=label, present=present)


def _embedder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(12, 16), nn.Linear(16, 12))


def test_a_module_from_ids_to_logits_is_enough():
    network = _embedder()
    backbone = as_backbone(network, vocab_size=12)
    assert isinstance(backbone, Backbone)
    assert isinstance(backbone, ClassBackbone)
    assert (backbone.time_conditioning, backbone.num_classes, backbone.vocab_size) == (False, 0, 12)
    logits = backbone(TOKENS, TIME, PRESENT)
    assert torch.equal(logits, network(TOKENS))
    # without states of its own, any positions of the logits pass through the head unchanged.
    assert torch.equal(backbone.head(backbone.hidden(TOKENS)[0, :2]), logits[0, :2])


def test_a_model_of_a_plain_module_trains_and_generates():
    backbone = as_backbone(_embedder(), vocab_size=12)
    lm = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified())
    tokens, rows = torch.full((64, 8), 7), torch.arange(64)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    batch = Batch(
        tokens=tokens, present=everywhere, valid=everywhere, weight=None, key=row_keys(0, rows),
        row=rows, global_size=64,
    )  # fmt: skip
    optimizer = torch.optim.Adam(lm.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = lm.loss_terms(batch).nats.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    tokens = lm.generate(row_keys(0, torch.arange(16)), 8, num_steps=8).tokens
    assert (tokens == 7).double().mean() > 0.9
    assert "backbone.module.0.weight" in lm.state_dict()


def test_a_backbone_is_taken_as_it_is():
    network = DiT(12, 8, 1, 2)
    assert as_backbone(network) is network
    assert as_backbone(network, vocab_size=12) is network


def test_a_module_is_given_what_it_names_and_nothing_else():
    for network in (OfTime(), OfPresent(), OfClasses()):
        backbone = as_backbone(network, vocab_size=12)
        label = torch.tensor([2, 0])
        backbone(TOKENS, TIME, PRESENT, label)
        expected = {"time": TIME, "present": PRESENT, "label": label}
        assert all(network.given[name] is expected[name] for name in network.given)
    assert backbone.num_classes == 3


def test_a_module_that_must_have_the_time_is_conditioned_on_it():
    assert as_backbone(OfTime(), vocab_size=12).time_conditioning
    with pytest.raises(ValueError, match="needs `time`"):
        as_backbone(OfTime(), vocab_size=12)(TOKENS)


def test_a_module_that_may_have_the_time_gets_it_only_if_it_says_so():
    network = OfOptionalTime()
    as_backbone(network, vocab_size=12)(TOKENS, TIME)
    assert network.given == {"time": None}
    network.time_conditioning = True
    as_backbone(network, vocab_size=12)(TOKENS, TIME)
    assert network.given["time"] is TIME


def test_states_of_a_module_are_used():
    class WithStates(nn.Module):
        vocab_size = 12

        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(12, 5), nn.Linear(5, 12).bfloat16()

        def hidden(self, tokens):
            return self.embedding(tokens).bfloat16()

        def forward(self, tokens):
            return self.head(self.hidden(tokens))

    network = WithStates()
    backbone = as_backbone(network)
    assert isinstance(backbone, ModuleBackbone)
    states = backbone.hidden(TOKENS, TIME, PRESENT)
    assert torch.equal(states, network.hidden(TOKENS))
    # logits are never in half precision.
    assert backbone.head(states).dtype == backbone(TOKENS).dtype == torch.float32
    assert torch.equal(backbone.head(states), network(TOKENS).float())


def test_a_layer_named_hidden_is_not_taken_for_hidden_states():
    network = OfPresent()
    network.hidden, network.head = nn.Linear(5, 5), nn.Linear(5, 12)
    backbone = as_backbone(network, vocab_size=12)
    assert torch.equal(backbone.hidden(TOKENS), backbone(TOKENS))


@pytest.mark.parametrize(
    ("network", "size", "message"),
    [
        (_embedder(), None, "Sequential does not say how many logits it gives; set its attribute"),
        (DiT(12, 8, 1, 2), 16, "DiT.vocab_size=12, but vocab_size=16 was given"),
    ],
)
def test_an_unknown_or_contradictory_size_is_refused(network, size, message):
    with pytest.raises(ConfigError, match=message):
        as_backbone(network, size)


@pytest.mark.parametrize(
    ("name", "value", "argument"),
    [("time_conditioning", True, "time"), ("num_classes", 2, "label")],
)
def test_a_promise_that_forward_does_not_keep_is_refused(name, value, argument):
    network = OfPresent()
    setattr(network, name, value)
    with pytest.raises(ConfigError, match=f"must take `{argument}`.*{name} is {value}"):
        as_backbone(network, vocab_size=12)


def test_logits_of_another_shape_are_refused():
    with pytest.raises(ConfigError, match=r"= \(2, 5, 12\), got \(2, 5, 9\)"):
        as_backbone(OfPresent(size=9), vocab_size=12)(TOKENS)
    with pytest.raises(ConfigError, match="got tuple"):
        as_backbone(nn.Sequential(nn.Embedding(12, 5), nn.LSTM(5, 12)), vocab_size=12)(TOKENS)
