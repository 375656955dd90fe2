"""A network with divided blocks computes what the whole one does, on one rank of a group."""

import copy
import gc

import pytest
import torch
import torch.distributed as dist
from torch import nn

from dnamdlm.assembly import weight_ranks
from dnamdlm.assembly.devices import plan_for
from dnamdlm.assembly.divided_network import divide, placed
from dnamdlm.assembly.weight_ranks import Lender, has_several_ranks
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.hyena import Hyena
from dnamdlm.errors import ConfigError

CPU = torch.device("cpu")


@pytest.fixture
def alone():
    """What one rank has of others."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Lender(1)
    dist.destroy_process_group()


def randomised(network):
    """Branches that are zero at first would hide which weights are used."""
    draw = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        weight.data = torch.randn(weight.shape, generator=draw) / 4
    return network.eval()


NETWORKS = {
    "dit": lambda: DiT(12, 16, 3, 2, conv_width=3, time_conditioning=True),
    "ar": lambda: CausalTransformer(12, 16, 2, 2),
    "hyena": lambda: Hyena(12, 16, 2, max_length=16),
}
IDS = torch.tensor([[7, 8, 9, 10, 3, 7], [7, 7, 3, 3, 10, 9]])
TIME = torch.tensor([0.5, 2.0])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_divided_network_computes_the_same_bits(alone, name, mode):
    whole = randomised(NETWORKS[name]())
    divided = copy.deepcopy(whole)
    divide(divided, CPU, alone)
    with mode():
        for _ in range(2):
            assert torch.equal(divided(IDS, TIME), whole(IDS, TIME))
            assert torch.equal(divided.hidden(IDS, TIME), whole.hidden(IDS, TIME))
    # what was first used in one mode is used in the other.
    with torch.no_grad():
        assert torch.equal(divided(IDS, TIME), whole(IDS, TIME))


def test_the_modules_of_a_block_may_be_called_one_by_one(alone):
    whole = randomised(CausalTransformer(12, 16, 2, 2))
    divided = copy.deepcopy(whole)
    divide(divided, CPU, alone)
    caches = whole.new_cache(2, 6), divided.new_cache(2, 6)
    with torch.no_grad():
        for ids in IDS.T:
            assert torch.equal(whole.step(ids, caches[0]), divided.step(ids, caches[1]))


def test_one_block_at_a_time_has_weights(alone):
    network = randomised(DiT(12, 16, 3, 2))
    sizes = [weight.shape for weight in network.parameters()]
    number = sum(weight.numel() for weight in network.parameters())
    divide(network, CPU, alone)
    inputs = [block.mlp.input for block in network.blocks]
    assert [bool(layer.weight.isnan().all()) for layer in inputs] == [True, True, True]
    with torch.no_grad():
        network(IDS)
    assert [bool(layer.weight.isnan().all()) for layer in inputs] == [True, True, False]
    # what is counted, such as the size of parts, does not depend on it.
    assert [weight.shape for weight in network.parameters()] == sizes
    assert sum(weight.numel() for weight in network.parameters()) == number


def test_weights_that_blocks_share_stay_whole(alone):
    whole = randomised(DiT(12, 16, 2, 2))
    whole.blocks[1].mlp.output.weight = whole.blocks[0].mlp.output.weight
    divided = copy.deepcopy(whole)
    divide(divided, CPU, alone)
    assert divided.blocks[0].mlp.output.weight.isfinite().all()
    with torch.no_grad():
        assert torch.equal(divided(IDS), whole(IDS))


def test_types_of_weights_are_kept(alone):
    whole = randomised(DiT(12, 16, 2, 2)).double()
    whole.blocks[1].mlp.bfloat16()
    divided = copy.deepcopy(whole)
    divide(divided, CPU, alone)
    with torch.no_grad():
        x = torch.randn(1, 3, 16)
        assert torch.equal(divided.blocks[0].mlp(x.double()), whole.blocks[0].mlp(x.double()))
        assert torch.equal(divided.blocks[1].mlp(x.bfloat16()), whole.blocks[1].mlp(x.bfloat16()))


def test_gradients_are_refused(alone):
    network = randomised(DiT(12, 16, 2, 2))
    divide(network, CPU, alone)
    soft = torch.full((1, 4, 12), 1 / 12, requires_grad=True)
    with pytest.raises(ConfigError, match=r"has no gradients, .* without torchrun"):
        network.hidden(soft)


def test_a_network_without_blocks_is_refused(alone):
    with pytest.raises(ConfigError, match="a Linear has no list of blocks"):
        divide(nn.Linear(2, 2), CPU, alone)


def test_ranks_forget_a_network_that_is_gone(alone):
    network = randomised(DiT(12, 16, 2, 2))
    divide(network, CPU, alone)
    blocks = network.blocks
    del network
    with torch.no_grad():
        # copies of a network share its blocks.
        assert blocks[0].mlp(torch.randn(1, 1, 16)).isfinite().all()
    assert alone._unused == []
    del blocks
    gc.collect()
    assert sorted(alone._unused) == [0, 1]


def test_without_ranks_a_network_moves_as_it_is():
    network = DiT(12, 16, 2, 2)
    assert placed(network, CPU) is network
    assert all(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"workers": 2}, "workers=2 starts processes"), ({"devices": "auto"}, "devices=auto starts")],
)
def test_processes_with_a_whole_model_each_are_refused(alone, monkeypatch, settings, message):
    monkeypatch.setattr(weight_ranks, "_lender", alone)
    network = DiT(12, 16, 2, 2)
    assert plan_for(network, 64, threads=1, workers=None).workers == 1
    assert plan_for(network, 64, threads=1, workers=1).workers == 1
    with pytest.raises(ConfigError, match=message):
        plan_for(network, 64, threads=1, **settings)


@pytest.mark.parametrize(
    ("entry", "size", "wanted"),
    [("score", "2", True), ("score", "1", False), ("train", "2", False), ("doctor", "2", False)],
)
def test_commands_whose_model_is_shared(monkeypatch, entry, size, wanted):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", size)
    assert has_several_ranks(entry) is wanted


def test_a_command_of_one_process_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"2 processes of dnamdlm judge, .* without torchrun"):
        has_several_ranks("judge")
