"""The transformer: options, padding, precision and refusals."""

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError
from dnamdlm.ops.selection import forced


def _tokens(batch=2, length=10):
    return torch.randint(12, (batch, length), generator=torch.Generator().manual_seed(0))


def test_an_untrained_network_is_uniform():
    assert (DiT(12, 16, 2, 2)(_tokens()) == 0).all()


@pytest.mark.parametrize("time_conditioning", [False, True], ids=["plain", "time"])
def test_residual_branches_add_nothing_at_first(time_conditioning):
    network = DiT(12, 16, 2, 2, time_conditioning=time_conditioning, cond_size=8).double()
    states = network.hidden(_tokens(), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(states, network.final_norm(network.embedding(_tokens())))


@pytest.mark.parametrize("time_conditioning", [False, True], ids=["plain", "time"])
def test_two_steps_of_descent_reach_every_parameter(time_conditioning):
    torch.manual_seed(0)
    network = DiT(12, 16, 2, 2, time_conditioning=time_conditioning, cond_size=8)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        logits = network(_tokens(), torch.ones(2))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), _tokens().flatten()).backward()
        optimizer.step()
    assert [n for n, p in network.named_parameters() if torch.equal(p, before[n])] == []


def test_without_time_conditioning_there_are_no_parameters_for_it():
    assert not [n for n, _ in DiT(12, 16, 2, 2).named_parameters() if "modulation" in n]


def test_time_conditioning_demands_a_time():
    with pytest.raises(ValueError, match="needs `time`"):
        DiT(12, 16, 2, 2, time_conditioning=True)(_tokens())


def test_gradient_checkpointing_changes_no_gradient():
    torch.manual_seed(0)
    plain = DiT(12, 16, 2, 2, conv_width=3).double()
    with torch.no_grad():
        plain.head.weight.normal_()
    saving = DiT(12, 16, 2, 2, conv_width=3, gradient_checkpointing=True).double()
    saving.load_state_dict(plain.state_dict())
    gradients = [
        torch.autograd.grad(network(_tokens()).square().sum(), list(network.parameters()))
        for network in (plain, saving)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_dropout_acts_in_training_alone():
    network = DiT(12, 16, 2, 2, dropout=0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    assert not torch.equal(network(_tokens()), network(_tokens()))
    network.eval()
    assert torch.equal(network(_tokens()), network(_tokens()))


def test_branches_are_zero_at_first_unless_told_otherwise():
    for zero_init in (True, False):
        network = DiT(12, 16, 2, 2, zero_init=zero_init)
        states = network.final_norm(network.embedding(_tokens()))
        assert torch.equal(network.hidden(_tokens()), states) == zero_init


def test_tied_embeddings_are_one_tensor():
    network = DiT(12, 16, 2, 2, tie_embeddings=True)
    assert network.head.weight is network.embedding.weight


def test_reference_and_portable_primitives_give_the_same_logits():
    network = DiT(12, 16, 2, 2, conv_width=3, attention_window=3).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    present = torch.ones(2, 10, dtype=torch.bool)
    present[0, 7:] = False
    with forced("reference"):
        expected = network(_tokens(), None, present)[present]
    torch.testing.assert_close(network(_tokens(), None, present)[present], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, r"backbone\.hidden_size must be positive, got 0"),
        ({"num_blocks": -1}, r"backbone\.num_blocks must be positive, got -1"),
        ({"num_heads": 3}, r"backbone\.num_heads=3 .* use one of \[1, 2, 4, 8\]"),
        ({"num_heads": 16}, r"backbone\.num_heads=16 .* heads of even width"),
        ({"conv_width": 4}, r"backbone\.conv_width must be 0 \(off\) or odd, got 4"),
        ({"stem_width": -3}, r"backbone\.stem_width must be 0 \(off\) or odd, got -3"),
        ({"attention_window": -1}, r"backbone\.attention_window must be 0"),
        ({"local_radius": -1}, r"backbone\.local_radius must be 0"),
        ({"local_size": 0}, r"backbone\.local_size must be positive"),
        ({"activation": "tanh"}, r"backbone\.activation='tanh'.* gelu_tanh, gelu, silu, relu"),
        ({"dropout": 1.0}, r"backbone\.dropout must lie in \[0, 1\), got 1\.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_out_of_range_is_refused_by_its_name(options, message):
    settings = {"vocab_size": 12, "hidden_size": 16, "num_blocks": 2, "num_heads": 2} | options
    with pytest.raises(ConfigError, match=message):
        DiT(**settings)
