"""Mamba mixers and stacks against the formulas of the paper."""

import pytest
import torch
from torch.nn import functional

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.mamba import MAX_STEP, MIN_STEP, MambaMixer
from dnamdlm.errors import ConfigError
from dnamdlm.ops.selection import forced


def _tokens(batch=2, length=10):
    return torch.randint(12, (batch, length), generator=torch.Generator().manual_seed(0))


def _randomised(network):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def _one_direction(mixer, state, x):
    """A mixer by the book: one position, all channels, at a time; no shared code."""
    inner = mixer.output.weight.shape[1]
    projected = x @ mixer.input.weight.T
    u, gate = projected[..., :inner], projected[..., inner:]
    width = state.conv_weight.shape[1]
    rates = -torch.exp(state.log_rates)
    rank, size = state.step_weight.shape[1], rates.shape[1]
    outputs = []
    hidden = torch.zeros(len(x), inner, size, dtype=x.dtype)
    mixed = []
    for i in range(x.shape[1]):
        total = state.conv_bias.expand(len(x), inner).clone()
        for j in range(width):
            if i - (width - 1) + j >= 0:
                total = total + state.conv_weight[:, j] * u[:, i - (width - 1) + j]
        mixed.append(total / (1 + torch.exp(-total)))
    for i, value in enumerate(mixed):
        chosen = value @ state.select.weight.T
        step = torch.log1p(torch.exp(chosen[:, :rank] @ state.step_weight.T + state.step_bias))
        write, read = chosen[:, rank : rank + size], chosen[:, rank + size :]
        hidden = torch.exp(step[..., None] * rates) * hidden
        hidden = hidden + (step * value)[..., None] * write[:, None, :]
        out = (hidden * read[:, None, :]).sum(-1) + state.direct * value
        outputs.append((out * gate[:, i] / (1 + torch.exp(-gate[:, i]))) @ mixer.output.weight.T)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("directions", ["forward", "add", "multiply"])
def test_a_mixer_equals_the_formulas_of_the_paper(directions):
    mixer = _randomised(MambaMixer(20, directions=directions, state_size=3)).double()
    x = torch.randn(2, 7, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = _one_direction(mixer, mixer.ahead, x)
    if mixer.back is not None:
        back = _one_direction(mixer, mixer.back, x.flip(1)).flip(1)
        expected = expected + back if directions == "add" else expected * back
    torch.testing.assert_close(mixer(x), expected)


def test_the_first_step_sizes_lie_in_their_range():
    steps = functional.softplus(MambaMixer(64).ahead.step_bias)
    assert steps.min() >= 0.999 * MIN_STEP
    assert steps.max() <= 1.001 * MAX_STEP
    assert steps.log().std() > 1


def test_an_untrained_network_is_uniform_unless_tied():
    assert (Mamba(12, 16, 2)(_tokens()) == 0).all()
    assert (Mamba(12, 16, 2, tie_embeddings=True)(_tokens()) != 0).any()


def test_tied_embeddings_are_one_tensor():
    network = Mamba(12, 16, 2, tie_embeddings=True)
    assert network.head.weight is network.embedding.weight


@pytest.mark.parametrize("options", [{}, {"time_conditioning": True, "cond_size": 8}], ids=str)
def test_a_few_steps_of_descent_reach_every_parameter(options):
    torch.manual_seed(0)
    network = Mamba(12, 16, 2, state_size=4, **options)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        logits = network(_tokens(), torch.ones(2))
        functional.cross_entropy(logits.flatten(0, 1), _tokens().flatten()).backward()
        optimizer.step()
    assert [n for n, p in network.named_parameters() if torch.equal(p, before[n])] == []


def test_without_a_residual_stream_a_block_is_its_branch():
    network = _randomised(Mamba(12, 16, 1, residual=False, state_size=4)).double()
    block = network.blocks[0]
    x = network.embedding(_tokens())
    torch.testing.assert_close(block(x), block.mixer(block.norm(x)))


def test_the_residual_stream_is_as_wide_as_chosen():
    for wide, expected in ((True, torch.float32), (False, torch.bfloat16)):
        network = Mamba(12, 16, 1, state_size=4, wide_residual=wide)
        with torch.autocast("cpu", torch.bfloat16):
            assert network.blocks[0](network.embedding(_tokens())).dtype == expected
            assert network(_tokens()).dtype == torch.float32


def test_time_conditioning_demands_a_time():
    with pytest.raises(ValueError, match="needs `time`"):
        Mamba(12, 16, 2, time_conditioning=True)(_tokens())


def test_gradient_checkpointing_changes_no_gradient():
    plain = _randomised(Mamba(12, 16, 2, state_size=4)).double()
    saving = Mamba(12, 16, 2, state_size=4, gradient_checkpointing=True).double()
    saving.load_state_dict(plain.state_dict())
    gradients = [
        torch.autograd.grad(network(_tokens()).square().sum(), list(network.parameters()))
        for network in (plain, saving)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_dropout_acts_in_training_alone():
    network = _randomised(Mamba(12, 16, 2, state_size=4, dropout=0.5))
    torch.manual_seed(1)
    assert not torch.equal(network(_tokens()), network(_tokens()))
    network.eval()
    assert torch.equal(network(_tokens()), network(_tokens()))


def test_the_vocabulary_is_rounded_up_on_demand():
    network = Mamba(12, 16, 1, vocab_multiple=8)
    assert network.vocab_size == network(_tokens()).shape[-1] == 16


def test_reference_and_portable_primitives_give_the_same_logits():
    network = _randomised(Mamba(12, 16, 2, state_size=4)).double()
    present = torch.ones(2, 10, dtype=torch.bool)
    present[0, 7:] = False
    results = []
    for mode in ("reference", "portable"):
        with forced(mode):
            results.append(network(_tokens(), None, present)[present])
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, r"backbone\.hidden_size must be positive, got 0"),
        ({"num_blocks": -1}, r"backbone\.num_blocks must be positive, got -1"),
        ({"state_size": 0}, r"backbone\.state_size must be positive"),
        ({"dropout": 1.0}, r"backbone\.dropout must lie in \[0, 1\), got 1\.0"),
        ({"directions": "both"}, r"backbone\.directions='both' .* forward, add, multiply"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_out_of_range_is_refused_by_its_name(options, message):
    settings = {"vocab_size": 12, "hidden_size": 16, "num_blocks": 2} | options
    with pytest.raises(ConfigError, match=message):
        Mamba(**settings)
