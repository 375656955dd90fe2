"""Muon with AdamW: which parameter takes which, the step, and its state."""

import copy

import pytest
import torch
from torch import nn

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError
from dnamdlm.training.muon import MuonSettings, MuonWithAdamW
from dnamdlm.training.optimizers import AdamWSettings

# Newton-Schulz in bfloat16, with coefficients that bring singular values near 1, not to it.
NEAR_ONE = (0.6, 1.3)


def network():
    torch.manual_seed(0)
    return DiT(12, 16, 1, 2, local_radius=1, local_size=8, conv_width=3)


def with_gradients(module, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return module


@pytest.mark.parametrize("build", [network, lambda: Mamba(12, 8, 1)], ids=["dit", "mamba"])
def test_every_parameter_is_updated_once_and_only_linear_weights_by_muon(build):
    module = build()
    groups = MuonSettings().build(module).param_groups
    linear = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)}
    assert {id(p) for p in groups[0]["params"]} == linear
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in module.parameters())


def test_the_update_of_a_matrix_is_nearly_orthogonal_and_as_long_as_that_of_adamw():
    module = nn.Linear(24, 8, bias=False)
    before = module.weight.detach().clone()
    optimizer = MuonSettings(learning_rate=0.01, weight_decay=0.0).build(module)
    with_gradients(module)
    optimizer.step()
    update = (before - module.weight.detach()) / 0.01
    # the scale is 0.2 sqrt(larger side) on singular values of 1.
    values = torch.linalg.svdvals(update) / (0.2 * 24**0.5)
    assert NEAR_ONE[0] < values.min() <= values.max() < NEAR_ONE[1]
    # with the singular vectors of the gradient: U^T G V is diagonal and positive.
    assert module.weight.grad is not None
    u, _, vh = torch.linalg.svd(module.weight.grad, full_matrices=False)
    turned = u.T @ update @ vh.T
    assert (turned.diagonal() > 0).all()
    assert (turned - turned.diagonal().diag()).abs().max() < 0.05 * turned.abs().max()


def test_everything_but_matrices_takes_the_step_of_adamw():
    one, other = with_gradients(network()), with_gradients(network())
    MuonSettings(learning_rate=0.01).build(one).step()
    AdamWSettings(learning_rate=0.01).build(other).step()
    linear = {id(part.weight) for part in one.modules() if isinstance(part, nn.Linear)}
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) == (id(a) not in linear)


def test_state_that_was_saved_gives_the_steps_of_a_run_that_never_stopped():
    settings = MuonSettings(learning_rate=0.01)
    one = with_gradients(network())
    optimizer = settings.build(one)
    optimizer.step()
    other = network()
    other.load_state_dict(one.state_dict())
    resumed = settings.build(with_gradients(other))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for chosen, module in ((optimizer, one), (resumed, other)):
        with_gradients(module, seed=2)
        # a schedule writes the rate into the groups of the one optimizer.
        for group in chosen.param_groups:
            group["lr"] = 0.002
        chosen.step()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_rate_of_zero_in_the_groups_stops_both():
    module = with_gradients(network())
    before = copy.deepcopy(module.state_dict())
    optimizer = MuonSettings().build(module)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_settings_replace_those_of_a_checkpoint():
    module = network()
    optimizer = MuonSettings().build(module)
    MuonSettings(0.5, 0.3, 0.2, 0.1, 0.05, momentum=0.4).apply_to(optimizer, module)
    wanted = MuonSettings(0.5, 0.3, 0.2, 0.1, 0.05, momentum=0.4).build(module)
    for group, own in zip(optimizer.param_groups, wanted.param_groups, strict=True):
        rest = {key: value for key, value in group.items() if key not in {"params", "initial_lr"}}
        assert rest == {key: own[key] for key in rest}
    assert isinstance(optimizer, MuonWithAdamW)


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "beta1", "eps", "weight_decay"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ConfigError, match=rf"optimizer\.{name}=-1\.0 must lie in"):
        MuonSettings(**{name: -1.0})


def test_a_network_without_hidden_matrices_is_refused():
    with pytest.raises(ConfigError, match="Embedding trains none; give optimizer=adamw"):
        MuonSettings().build(nn.Embedding(5, 4))
