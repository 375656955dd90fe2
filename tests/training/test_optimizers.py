"""Parameter groups and learning-rate schedules against values computed by hand."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError
from dnamdlm.training.optimizers import (
    AdamWSettings,
    WarmupConstant,
    WarmupCosine,
    parameter_groups,
)
from tests.helpers.rounding import rounding


class _Table(nn.Embedding):
    undecayed = ("weight",)


def test_only_matrices_that_are_not_exempt_are_decayed():
    module = nn.Sequential(_Table(5, 4), nn.Linear(4, 3), nn.LayerNorm(3))
    module[2].bias.requires_grad_(False)
    decayed, plain = parameter_groups(module, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 4)]
    assert sorted(tuple(p.shape) for p in plain["params"]) == [(3,), (3,), (5, 4)]


@pytest.mark.parametrize(
    ("build", "exempt"),
    [
        (
            lambda: DiT(12, 8, 1, 2, local_radius=1, local_size=4),
            {"embedding.weight", "local.codes"},
        ),
        (lambda: Mamba(12, 8, 1), {"embedding.weight", "log_rates"}),
    ],
    ids=["dit", "mamba"],
)
def test_embeddings_and_rates_of_our_networks_are_not_decayed(build, exempt):
    network = build()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    _, plain = parameter_groups(network, 0.1)
    matrices = {names[id(p)] for p in plain["params"] if p.ndim >= 2}
    assert matrices
    assert all(any(name.endswith(end) for end in exempt) for name in matrices)
    assert all(any(name.endswith(end) for name in matrices) for end in exempt)


def test_one_step_of_adamw_is_the_step_of_the_formula():
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    optimizer = AdamWSettings(learning_rate=0.1, weight_decay=0.5).build(module)
    module.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    # after one step the bias-corrected moments are g and g^2: the update is lr * sign(g).
    expected = 2.0 * (1 - 0.1 * 0.5) - 0.1
    # two moments, their corrections, a root, a quotient and the decay, in float32.
    assert math.isclose(module.weight.item(), expected, rel_tol=0, abs_tol=rounding(10, scale=2))


def test_the_cosine_rises_holds_and_falls():
    schedule = WarmupCosine(warmup_steps=4, hold_fraction=0.5, final_factor=0.1)
    factors = [schedule.factor(step, 20) for step in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:11] == [1.0] * 7
    assert math.isclose(factors[15], 0.1 + 0.9 * 0.5)
    assert math.isclose(factors[20], 0.1)
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))


def test_the_constant_rises_and_stays():
    schedule = WarmupConstant(warmup_steps=2)
    assert [schedule.factor(step, 5) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert WarmupConstant(warmup_steps=0).factor(0, 5) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamWSettings(learning_rate=0.0), "learning_rate"),
        (lambda: AdamWSettings(learning_rate=1.0, beta2=1.0), "beta2"),
        (lambda: AdamWSettings(learning_rate=float("nan")), "learning_rate"),
        (lambda: WarmupCosine(hold_fraction=2.0), "hold_fraction"),
        (lambda: WarmupCosine(warmup_steps=-1), "warmup_steps"),
    ],
    ids=["zero rate", "beta of one", "nan", "hold above one", "negative warm-up"],
)
def test_impossible_settings_are_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_optimizer_takes_moments_of_a_checkpoint_and_settings_of_the_config():
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, 2.0)
    before = AdamWSettings(learning_rate=0.1, beta1=0.9, beta2=0.95)
    earlier = before.build(module)
    module.weight.grad = torch.tensor([[3.0]]).double()
    earlier.step()
    weight = module.weight.item()
    now = AdamWSettings(learning_rate=0.2, beta1=0.5, beta2=0.6, eps=0.1, weight_decay=0.25)
    resumed = now.build(module)
    resumed.load_state_dict(earlier.state_dict())
    now.apply_to(resumed, module)
    module.weight.grad = torch.tensor([[1.0]]).double()
    resumed.step()
    # the moments after the gradient 3 with the earlier decays, then after 1 with the present ones
    first = 0.5 * (0.1 * 3) + 0.5 * 1
    second = 0.6 * (0.05 * 9) + 0.4 * 1
    update = (first / (1 - 0.5**2)) / (math.sqrt(second / (1 - 0.6**2)) + 0.1)
    expected = weight * (1 - 0.2 * 0.25) - 0.2 * update
    # the same few operations in float64, in another order
    assert math.isclose(module.weight.item(), expected, rel_tol=1e-14)
