"""What every backbone promises; the list of them is in cases.py."""

import pytest
import torch

from dnamdlm.backbones.backbone import Backbone
from tests.backbones.cases import CASES, VOCAB_SIZE
from tests.helpers.rounding import additions, rounding

every_backbone = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _tokens(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB_SIZE, (batch, length), generator=generator)


def _time(batch, dtype=torch.float32):
    return torch.linspace(0.1, 2.0, batch, dtype=dtype)


def _numbers(network, rows):
    """Arguments for a network that takes numbers: some, the first of them not known."""
    count = getattr(network, "num_numbers", 0)
    if not count:
        return {}
    values = torch.linspace(-1.0, 1.0, rows * count + 1)[1:].reshape(rows, count)
    values[0, 0] = torch.nan
    return {"label": values}


@every_backbone
def test_it_has_the_shape_of_a_backbone(case):
    network = case.network()
    logits = network(_tokens(3, 7), _time(3))
    assert isinstance(network, Backbone)
    assert logits.shape == (3, 7, VOCAB_SIZE)
    assert logits.dtype == torch.float32
    assert network.hidden(_tokens(3, 7), _time(3)).shape[:2] == (3, 7)


@every_backbone
def test_the_number_of_parameters_is_golden(case):
    assert sum(p.numel() for p in case.build().parameters()) == case.parameters


@every_backbone
def test_every_parameter_takes_part(case):
    network = case.network()
    numbers = _numbers(network, 3)
    network(_tokens(3, 9), _time(3), **numbers).logsumexp(-1).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@every_backbone
def test_a_row_does_not_depend_on_the_others(case):
    network, tokens, time = case.network(torch.float64), _tokens(4, 9), _time(4, torch.float64)
    present = torch.ones(4, 9, dtype=torch.bool)
    present[1, 5:] = False
    together = network(tokens, time, present)
    for row in range(4):
        one = slice(row, row + 1)
        torch.testing.assert_close(together[one], network(tokens[one], time[one], present[one]))


@every_backbone
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_does_not_leak(case, side):
    network, tokens = case.network(torch.float64), _tokens(2, 12)
    time = _time(2, torch.float64)
    real = slice(0, 8) if side == "right" else slice(4, 12)
    present = torch.zeros(2, 12, dtype=torch.bool)
    present[:, real] = True
    padded = network(tokens, time, present)[:, real]
    torch.testing.assert_close(padded, network(tokens[:, real], time))


@every_backbone
def test_what_stands_at_padding_changes_nothing(case):
    network, tokens, time = case.network(), _tokens(2, 12), _time(2)
    present = torch.ones(2, 12, dtype=torch.bool)
    present[0, 3:6] = False
    present[1] = False
    other = torch.where(present, tokens, (tokens + 1) % VOCAB_SIZE)
    # bit for bit: both calls have the same shapes, and padding enters no sum but as a zero.
    logits = network(tokens, time, present)
    assert torch.equal(logits[present], network(other, time, present)[present])
    assert logits.isfinite().all()


@every_backbone
def test_no_gradient_comes_from_padding(case):
    network, tokens, time = case.network(torch.float64), _tokens(1, 8), _time(1, torch.float64)
    present = torch.ones(1, 8, dtype=torch.bool)
    present[0, 5:] = False
    numbers = _numbers(network, 1)
    logits = network(tokens[:, :5], time, **numbers)
    padded = network(tokens, time, present, **numbers)[:, :5]
    parameters = list(network.parameters())
    expected = torch.autograd.grad(logits.square().mean(), parameters)
    gradients = torch.autograd.grad(padded.square().mean(), parameters)
    torch.testing.assert_close(gradients, expected)


@every_backbone
def test_all_positions_present_is_the_same_as_no_mask(case):
    network, tokens, time = case.network(torch.float64), _tokens(2, 9), _time(2, torch.float64)
    present = torch.ones(2, 9, dtype=torch.bool)
    torch.testing.assert_close(network(tokens, time, present), network(tokens, time))


@every_backbone
def test_float64_runs_throughout(case):
    tokens, time = _tokens(2, 9), _time(2)
    wide = case.network(torch.float64)(tokens, time.double())
    assert wide.dtype == torch.float64
    network = case.network()
    allowed = rounding(additions(network), wide.abs().max().item())
    torch.testing.assert_close(network(tokens, time).double(), wide, rtol=0, atol=allowed)


@every_backbone
def test_logits_are_float32_under_autocast(case):
    network, tokens, time = case.network(), _tokens(2, 9), _time(2)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(tokens, time)
        states = network.hidden(tokens, time)
    assert logits.dtype == states.dtype == torch.float32
    # eight bits in the blocks: a few percent of logits of order one.
    assert (logits - network(tokens, time)).abs().mean() < 0.05


@every_backbone
@pytest.mark.parametrize("length", [1, 2])
def test_very_short_sequences_run(case, length):
    assert case.network()(_tokens(2, length), _time(2)).isfinite().all()


@every_backbone
def test_the_reach_is_as_stated(case):
    network, tokens, time = case.network(torch.float64), _tokens(1, 31), _time(1, torch.float64)
    changed = tokens.clone()
    changed[0, 15] = (tokens[0, 15] + 1) % VOCAB_SIZE
    moved = (network(tokens, time) != network(changed, time)).any(-1).squeeze(0).nonzero().squeeze()
    reach = 15 if case.reach is None else case.reach
    first = 15 if case.causal else 15 - reach
    assert moved.tolist() == list(range(first, 15 + reach + 1))


@every_backbone
def test_the_output_depends_on_time_exactly_where_it_says_so(case):
    network, tokens = case.network(), _tokens(2, 9)
    early, late = network(tokens, _time(2)), network(tokens, _time(2) + 1.0)
    assert torch.equal(early, late) != network.time_conditioning


@pytest.mark.parametrize("case", [c for c in CASES if c.has_head], ids=lambda case: case.name)
def test_the_head_of_a_state_gives_the_logits_of_its_position(case):
    network, tokens, time = case.network(torch.float64), _tokens(3, 9), _time(3, torch.float64)
    chosen = torch.rand(3, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    logits = network.head(network.hidden(tokens, time)[chosen])
    torch.testing.assert_close(logits, network(tokens, time)[chosen])
