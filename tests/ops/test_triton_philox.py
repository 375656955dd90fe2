"""Addressed uniform numbers by the Triton kernel in the interpreter: the bits of plain torch."""

import pytest
import torch

from tests.helpers.interpreted import require_interpreter, skip_with_shape_checks

require_interpreter()

from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys  # noqa: E402
from dnamdlm.ops.kernels import triton_philox_ops  # noqa: E402
from dnamdlm.ops.kernels.triton_slots import TRITON_UNIFORMS  # noqa: E402
from dnamdlm.ops.selection import only  # noqa: E402
from dnamdlm.ops.uniforms import fused_uniforms  # noqa: E402


def made(keys, *address):
    with only(TRITON_UNIFORMS):
        return fused_uniforms(keys, *address, mode="fused")


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 63, 1000])
def test_the_bits_are_those_of_torch_for_any_number(count, monkeypatch):
    monkeypatch.setattr(triton_philox_ops, "BLOCK", 4)
    keys = row_keys(-3, torch.arange(5))
    expected = RowNoise(keys).uniform(Stream.REVEALS, 2, count)
    assert torch.equal(made(keys, int(Stream.REVEALS), 2, count), expected)


@pytest.mark.parametrize("draw", [0, 1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
@pytest.mark.parametrize("stream", [0, 1, (1 << 32) - 1])
def test_every_word_of_an_address_counts(stream, draw):
    keys = torch.tensor([0, 1, -1, 1 << 62, -(1 << 63)])
    expected = RowNoise(keys).uniform(stream, draw, 5)
    assert torch.equal(made(keys, stream, draw, 5), expected)


def test_keys_that_are_not_adjacent_in_memory_are_read_right():
    keys = row_keys(0, torch.arange(6))[::2]
    assert torch.equal(made(keys, 1, 0, 3), RowNoise(keys).uniform(1, 0, 3))


def test_nothing_is_made_of_nothing():
    keys = torch.arange(2)
    assert made(keys, 1, 0, 0) is None
    assert made(keys[:0], 1, 0, 4) is None


def test_the_operator_satisfies_the_rules_of_torch():
    skip_with_shape_checks(fused_uniforms)
    torch.library.opcheck(torch.ops.dnamdlm.philox_uniforms.default, (torch.arange(2), 1, 2, 3, 5))
