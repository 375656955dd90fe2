"""SUBS: zero probability of the mask, carry-over of visible tokens, precision and gradients."""

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.parameterization import substitution

MASK = 4
REAL = torch.tensor([True, True, True, False, False, False])
XT = torch.tensor([[0, MASK, 3, MASK]])


def _logits(dtype=torch.float64):
    return torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_masked_positions_are_normalised_over_the_real_tokens():
    logits = _logits()
    log_probs = substitution(logits, XT, real_tokens=REAL, mask_id=MASK)
    torch.testing.assert_close(log_probs[0, 1, :3], logits[0, 1, :3].log_softmax(-1))
    assert bool(log_probs[0, [1, 3]][:, 3:].isneginf().all())


def test_visible_positions_are_one_hot_even_on_tokens_that_are_not_real():
    probs = substitution(_logits(), XT, real_tokens=REAL, mask_id=MASK).exp()
    assert probs[0, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert probs[0, 2].tolist() == [0, 0, 0, 1, 0, 0]


def test_logits_are_not_altered_and_may_have_low_precision():
    logits = _logits(torch.bfloat16)
    before = logits.clone()
    log_probs = substitution(logits, XT, real_tokens=REAL, mask_id=MASK)
    assert torch.equal(logits, before)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(
        log_probs, substitution(before.float(), XT, real_tokens=REAL, mask_id=MASK)
    )


def test_gradient_is_finite_and_zero_outside_masked_real_entries():
    logits = _logits().requires_grad_()
    log_probs = substitution(logits, XT, real_tokens=REAL, mask_id=MASK)
    log_probs[0, :, 1].nan_to_num(neginf=0.0).sum().backward()
    assert bool(logits.grad.isfinite().all())
    assert bool((logits.grad[0, [0, 2]] == 0).all())
    assert bool((logits.grad[0, :, 3:] == 0).all())
    assert bool((logits.grad[0, [1, 3], :3] != 0).all())


@pytest.mark.parity
@pytest.mark.parametrize(("case", "mask_id"), [("dit", 12), ("last", 12), ("inner", 3)])
def test_log_probs_equal_the_original_code(shared, case, mask_id):
    golden = load_file(shared / "parity" / "objectives.safetensors")
    logits = golden[f"{case}.logits"].double()
    real = torch.arange(logits.shape[-1]) != mask_id
    log_probs = substitution(logits, golden[f"{case}.xt"], real_tokens=real, mask_id=mask_id)
    expected = golden[f"{case}.subs_log_probs"]
    finite = expected > -1e5
    assert torch.equal(log_probs.isfinite(), finite)
    # ours in float64; the reference adds -1e6 in float32 before it normalises.
    torch.testing.assert_close(log_probs[finite].float(), expected[finite], atol=2e-6, rtol=1e-6)
