"""The moving average against its closed form and the original implementation."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dnamdlm.training.averaging import MovingAverage
from tests.helpers.rounding import rounding


def _module(value):
    module = nn.Linear(2, 1)
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def test_the_average_is_the_weighted_sum_of_what_it_saw():
    module = _module(1.0)
    average = MovingAverage(module, decay=0.5)
    expected = 1.0
    for count, value in enumerate([2.0, 4.0, 8.0, 16.0], start=1):
        for parameter in module.parameters():
            nn.init.constant_(parameter, value)
        average.update(module)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * value
    # three roundings a step.
    torch.testing.assert_close(
        average.shadow["weight"], torch.full((1, 2), expected), rtol=0, atol=rounding(12, scale=16)
    )


def test_the_module_gets_its_own_weights_back_even_after_an_error():
    module = _module(1.0)
    average = MovingAverage(module, decay=0.9)
    nn.init.constant_(module.weight, 5.0)
    seen = []

    def fail_inside():
        with average.applied_to(module):
            seen.append(module.weight.tolist())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert seen == [[[1.0, 1.0]]]
    assert module.weight.tolist() == [[5.0, 5.0]]


def test_a_stored_average_is_continued_bitwise():
    module = _module(1.0)
    one, two = MovingAverage(module, 0.99), MovingAverage(module, 0.99)
    nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(1))
    one.update(module)
    two.load({name: tensor.clone() for name, tensor in one.shadow.items()}, one.num_updates)
    one.update(module)
    two.update(module)
    assert all(torch.equal(one.shadow[name], two.shadow[name]) for name in one.shadow)


def test_weights_that_were_replaced_are_followed():
    module = _module(1.0)
    average = MovingAverage(module, decay=0.0)
    module.weight = nn.Parameter(torch.full((1, 2), 3.0))
    module.register_buffer("scale", torch.zeros(1))
    average.update(module)
    assert average.shadow["weight"].tolist() == [[3.0, 3.0]]
    other = _module(7.0)
    average.update(other)
    assert average.shadow["weight"].tolist() == [[7.0, 7.0]]


def test_a_module_with_names_of_its_own_is_averaged_by_them():
    class Renamed(nn.Linear):
        def state_dict(self, **settings):
            return {f"own.{name}": value for name, value in super().state_dict(**settings).items()}

    module = Renamed(2, 1)
    average = MovingAverage(module, decay=0.0)
    nn.init.constant_(module.weight, 5.0)
    average.update(module)
    assert average.shadow["own.weight"].tolist() == [[5.0, 5.0]]


@pytest.mark.parity
@pytest.mark.parametrize("decay", [0.9999, 0.3])
def test_the_average_equals_the_original_implementation(shared, decay):
    golden = load_file(shared / "parity" / "ema.safetensors")

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ParameterList(golden[f"init.{j}"].clone() for j in range(2))

    module = Two()
    average = MovingAverage(module, decay)
    for step in range(5):
        with torch.no_grad():
            for j in range(2):
                module.parts[j].copy_(golden[f"step_{step}.param.{j}"])
        average.update(module)
        for j in range(2):
            expected = golden[f"decay_{decay}.step_{step}.shadow.{j}"]
            allowed = rounding(3 * (step + 1), expected.abs().max().item())
            torch.testing.assert_close(average.shadow[f"parts.{j}"], expected, rtol=0, atol=allowed)
