"""Short rows share calls of a network on a CPU, only where each has the bits that it has alone."""

import pytest
import torch
from torch import nn

from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling import network_calls
from dnamdlm.threads import running_with
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

ROWS = 19
KEYS = row_keys(5, torch.arange(ROWS))


class HeightReader(nn.Module):
    """A network whose numbers depend on how many rows share a call."""

    vocab_size, time_conditioning = 12, False

    def __init__(self, network):
        super().__init__()
        self.network = network

    def hidden(self, *inputs):
        return self.network.hidden(*inputs)

    def head(self, states):
        return self.network.head(states)

    def forward(self, tokens, time=None, present=None):
        return self.network(tokens, time, present) + 1e-3 * len(tokens)


class RowReader(HeightReader):
    """A network that computes each row by itself: the same bits in any call on any processor."""

    def forward(self, tokens, time=None, present=None):
        return torch.cat([
            self.network(
                tokens[row : row + 1],
                None if time is None else time[row : row + 1],
                None if present is None else present[row : row + 1],
            )
            for row in range(len(tokens))
        ])  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    with running_with(1):
        yield


def network():
    draw = torch.Generator().manual_seed(2)
    net = DiT(12, 16, 2, 2, conv_width=3, local_radius=1)
    for weight in net.parameters():
        weight.data = torch.randn(weight.shape, generator=draw) / 3
    return net


def made(net, **settings):
    """Sequences, and the number of rows in each call."""
    lm, heights = MaskedDiffusionLM(net, NUCLEOTIDE_VOCABULARY), []
    handle = net.register_forward_pre_hook(lambda _, inputs: heights.append(len(inputs[0])))
    tokens = lm.generate(KEYS, 64, num_steps=6, **settings).tokens
    handle.remove()
    return tokens, heights


def test_rows_that_share_calls_are_those_made_one_by_one(monkeypatch):
    together, heights = made(RowReader(network()))
    # 1,024 positions are 16 rows of 64; the other three are too few.
    trial, rest = heights[:17], heights[17:]
    assert trial == [16] + [1] * 16
    assert rest[:4] == [16, 1, 1, 1]
    # products of matrices have the same bits in taller calls on some processors, not on all.
    of_any_processor, _ = made(network())
    monkeypatch.setattr(network_calls, "POSITIONS_OF_ROWS_CPU", 1)
    alone, heights = made(network())
    assert set(heights) == {1}
    assert torch.equal(together, alone)
    assert torch.equal(of_any_processor, alone)


def test_rows_of_other_bits_are_called_one_by_one():
    tokens, heights = made(HeightReader(network()))
    assert heights[:17] == [16] + [1] * 16
    assert set(heights[17:]) == {1}
    one_by_one = torch.cat([
        MaskedDiffusionLM(HeightReader(network()), NUCLEOTIDE_VOCABULARY)
        .generate(KEYS[row : row + 1], 64, num_steps=6).tokens
        for row in range(3)
    ])  # fmt: skip
    assert torch.equal(tokens[:3], one_by_one)


def test_the_number_of_sequences_held_at_once_changes_nothing():
    assert torch.equal(made(network())[0], made(network(), batch_size=7)[0])


@pytest.mark.parametrize(
    ("length", "threads", "num_padded"), [(63, 1, 0), (64, 2, 0), (64, 1, 1), (1024, 1, 0)],
    ids=["ends within a vector", "threads", "padding", "long"],
)  # fmt: skip
def test_what_could_depend_on_other_rows_is_called_one_by_one(length, threads, num_padded):
    lm = MaskedDiffusionLM(network(), NUCLEOTIDE_VOCABULARY)
    heights = []
    lm.backbone.register_forward_pre_hook(lambda _, inputs: heights.append(len(inputs[0])))
    initial = torch.full((ROWS, length), NUCLEOTIDE_VOCABULARY.mask_id)
    initial[0, length - num_padded :] = NUCLEOTIDE_VOCABULARY.pad_id
    with running_with(threads):
        lm.generate(KEYS, length, initial=initial, num_steps=1)
    assert set(heights) == {1}
