"""Blocks read from left to right: the pass over both halves, the cache, and what a block sees.

In float64; 1e-12 is a few thousand roundings of numbers of order 1.
"""

import pytest
import torch
from torch.nn import functional

from dnamdlm.backbones.block_pass import BlockDiT, block_reader_of
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError
from dnamdlm.ops.norm import modulate
from dnamdlm.ops.rotary import apply_rotary, rotary_angles
from dnamdlm.ops.selection import forced
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

MASK, ROWS, BLOCKS = 3, 2, 4
NETWORKS = {
    "plain": {},
    "neighbours": {"conv_width": 5, "stem_width": 7, "local_radius": 6, "local_size": 16},
    "window": {"attention_window": 5, "conv_width": 3},
    "time": {"time_conditioning": True, "cond_size": 8, "stem_width": 3},
    "classes": {"num_classes": 3, "qkv_bias": True},
}


@pytest.fixture(params=NETWORKS, scope="module")
def network(request):
    torch.manual_seed(1)
    net = DiT(12, 16, 2, 2, **NETWORKS[request.param]).double().eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def inputs(network, size, seed=0):
    """Clean and noisy ids, and the further arguments of `block_states`."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(7, 11, (ROWS, BLOCKS * size), generator=generator)
    hidden = torch.rand(clean.shape, generator=generator) < 0.5
    sees_time = network.time_conditioning
    times = torch.rand(ROWS, BLOCKS, generator=generator, dtype=torch.float64)
    settings = {
        "times": times if sees_time else None,
        "clean_time": torch.zeros(ROWS, dtype=torch.float64) if sees_time else None,
        "label": torch.tensor([0, 3]) if network.num_classes else None,
        "present": None,
    }
    return clean, clean.masked_fill(hidden, MASK), settings


class Reference:
    """One block after another, with the definition of every layer written out."""

    def __init__(self, net, label):
        self.net, self.label = net, label
        self.tokens = torch.zeros((ROWS, 0), dtype=torch.int64)
        self.inputs = [None] * len(net.blocks)
        self.keys = [None] * len(net.blocks)

    def read(self, tokens, time, *, keep):
        net, size = self.net, tokens.shape[1]
        so_far = torch.cat([self.tokens, tokens], dim=1)
        x = net.embed(so_far, None, self.label)[:, -size:]
        cond = None if time is None else net.time_embedding(time)
        for index, block in enumerate(net.blocks):
            x = self._layer(index, block, x, cond, keep)
        if keep:
            self.tokens = so_far
        x = net.final_norm(x)
        return x if cond is None else modulate(x, *net.final_modulation.chunks(cond))

    def _layer(self, index, block, x, cond, keep):
        size, attention = x.shape[1], block.attention
        shift, scale, gate, *mlp = (
            (0.0, 0.0, 1.0, 0.0, 0.0, 1.0) if cond is None else block.modulation.chunks(cond)
        )
        h = block.attention_norm(x) * (1 + scale) + shift
        before = self.inputs[index]
        all_h = h if before is None else torch.cat([before, h], dim=1)
        mixed = h if block.conv is None else block.conv(all_h)[:, -size:]
        q, k, v = attention.qkv(mixed).unflatten(-1, (3, attention.num_heads, -1)).unbind(2)
        cos, sin = rotary_angles(all_h.shape[1], q.shape[-1], dtype=torch.float64)
        q, k = (apply_rotary(part, cos[-size:], sin[-size:]) for part in (q, k))
        if self.keys[index] is not None:
            k = torch.cat([self.keys[index][0], k], dim=1)
            v = torch.cat([self.keys[index][1], v], dim=1)
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / q.shape[-1] ** 0.5
        place = torch.arange(k.shape[1])
        far = (place[-size:, None] - place).abs() > (self.net.attention_window or 10**6)
        weights = scores.masked_fill(far, -torch.inf).softmax(-1)
        out = torch.einsum("bhqk,bkhe->bqhe", weights, v).flatten(2)
        x = x + gate * functional.linear(out, attention.output.weight)
        x = x + mlp[2] * block.mlp(block.mlp_norm(x) * (1 + mlp[1]) + mlp[0])
        if keep:
            self.inputs[index], self.keys[index] = all_h, (k, v)
        return x


def at(values, block):
    return None if values is None else values[:, block]


@pytest.mark.parametrize("size", [1, 4])
def test_a_block_of_the_pass_is_the_network_on_its_left_context_and_the_block_alone(network, size):
    clean, noisy, settings = inputs(network, size)
    found = BlockDiT(network).block_states(clean, noisy, block_length=size, **settings)
    reference = Reference(network, settings["label"])
    for block in range(BLOCKS):
        here = slice(block * size, (block + 1) * size)
        expected = reference.read(noisy[:, here], at(settings["times"], block), keep=False)
        torch.testing.assert_close(found[:, here], expected, rtol=0, atol=1e-12)
        reference.read(clean[:, here], settings["clean_time"], keep=True)


@pytest.mark.parametrize("size", [1, 4])
def test_cached_states_are_those_of_the_pass(network, size):
    clean, noisy, settings = inputs(network, size)
    reader = BlockDiT(network)
    found = reader.block_states(clean, noisy, block_length=size, **settings)
    cache, everywhere = reader.new_cache(ROWS, BLOCKS * size), torch.ones(ROWS, size).bool()
    for block in range(BLOCKS):
        here = slice(block * size, (block + 1) * size)
        rest = (everywhere, settings["label"], cache)
        cached = reader.step(noisy[:, here], at(settings["times"], block), *rest)
        torch.testing.assert_close(cached, found[:, here], rtol=0, atol=1e-12)
        reader.step(clean[:, here], settings["clean_time"], *rest, keep=True)


def test_the_first_block_is_what_the_network_says_of_it_as_a_sequence(network):
    clean, noisy, settings = inputs(network, 4)
    found = BlockDiT(network).block_states(clean, noisy, block_length=4, **settings)
    label = () if settings["label"] is None else (settings["label"],)
    alone = network.hidden(noisy[:, :4], at(settings["times"], 0), None, *label)
    torch.testing.assert_close(found[:, :4], alone, rtol=0, atol=1e-12)


def test_nothing_reaches_a_block_from_later_blocks_or_from_its_own_clean_tokens(network):
    clean, noisy, settings = inputs(network, 4)
    halves = [functional.one_hot(ids, 12).double().requires_grad_() for ids in (clean, noisy)]
    states = BlockDiT(network).block_states(*halves, block_length=4, **settings)
    of_clean, of_noisy = torch.autograd.grad(states[:, 4:8].square().sum(), halves)
    reached = [gradient.abs().sum(dim=(0, 2)) > 0 for gradient in (of_clean, of_noisy)]
    near = network.attention_window == 0
    assert bool(reached[0][:4].all() if near else reached[0][:4].any())
    assert not reached[0][4:].any()
    assert not reached[1][:4].any()
    assert reached[1][4:8].all()
    assert not reached[1][8:].any()


def test_padding_changes_nothing_to_its_left(network):
    clean, noisy, settings = inputs(network, 4)
    reader = BlockDiT(network)
    whole = reader.block_states(clean, noisy, block_length=4, **settings)
    present = torch.arange(16).expand(ROWS, -1) < 10
    settings |= {"present": present}
    padded = reader.block_states(
        clean.where(present, 4), noisy.where(present, 4), block_length=4, **settings
    )
    torch.testing.assert_close(padded[:, :8], whole[:, :8], rtol=0, atol=1e-12)
    assert padded.isfinite().all()


def test_the_reference_implementation_of_attention_reads_the_same_mask(network):
    clean, noisy, settings = inputs(network, 4)
    reader = BlockDiT(network)
    found = reader.block_states(clean, noisy, block_length=4, **settings)
    with forced("reference"):
        expected = reader.block_states(clean, noisy, block_length=4, **settings)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_network_that_mixes_both_directions_is_refused():
    network = CaduceusPS(12, NUCLEOTIDE_VOCABULARY.complement, 16, 1, state_size=4)
    with pytest.raises(ConfigError, match="CaduceusPS cannot; use backbone=dit"):
        block_reader_of(network)
