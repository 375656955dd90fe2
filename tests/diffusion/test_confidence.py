"""Certainties of many distributions, which are read in parts."""

import pytest
import torch

from dnamdlm.diffusion import positions
from dnamdlm.diffusion.confidence import ORDERS, certainty
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.reverse import _parted


@pytest.mark.parametrize("order", ORDERS)
def test_distributions_are_read_in_parts_with_the_same_bits(order, monkeypatch):
    logits = torch.randn(5, 7, 6, generator=torch.Generator().manual_seed(0))
    log_probs = logits.log_softmax(-1)
    whole = certainty(LogProbs(log_probs), order)
    # three positions at a time, and two where not even one fits.
    for numbers in (3 * 6, 1):
        monkeypatch.setattr(positions, "NUMBERS_AT_ONCE", numbers)
        assert torch.equal(certainty(LogProbs(log_probs), order), whole)
        assert certainty(LogProbs(log_probs[:0]), order).shape == (0, 7)


@pytest.mark.parametrize("flags", [[], [True], [False], [False, True, True, False, True]])
def test_rows_are_parted_by_number_in_their_order(flags):
    flags = torch.tensor(flags, dtype=torch.bool)
    called, waiting = _parted(flags)
    assert torch.equal(called, flags.nonzero()[:, 0])
    assert torch.equal(waiting, (~flags).nonzero()[:, 0])
