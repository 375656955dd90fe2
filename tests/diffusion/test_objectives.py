"""The masked cross-entropy: by hand, at the edges and against the original code."""

import math

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.schedules import LogLinear, nelbo_weight
from tests.helpers.rounding import rounding

MASK = 3


def test_masked_tokens_cost_their_weighted_surprise_and_visible_ones_nothing():
    probs = torch.tensor([[[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.7, 0.0]]])
    x0, xt = torch.tensor([[1, 2]]), torch.tensor([[MASK, 2]])
    loss = masked_nll(probs.log(), x0, xt, torch.tensor([2.0], dtype=torch.float64), mask_id=MASK)
    assert loss.dtype == torch.float32
    # a logarithm and a product.
    allowed = rounding(2, scale=2 * math.log(4))
    torch.testing.assert_close(loss, torch.tensor([[2 * math.log(4), 0.0]]), rtol=0, atol=allowed)


def test_an_infinite_surprise_at_a_visible_position_does_not_count():
    log_probs = torch.full((1, 2, 4), -torch.inf)
    log_probs[0, 0, 0] = 0.0
    x0, xt = torch.tensor([[0, 2]]), torch.tensor([[MASK, 2]])
    assert masked_nll(log_probs, x0, xt, torch.ones(1), mask_id=MASK).tolist() == [[0.0, 0.0]]


def test_gradient_is_zero_at_visible_tokens():
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x0 = torch.tensor([[0, 1, 2, 0, 1]] * 2)
    xt = torch.where(torch.tensor([[True, False, True, False, False]] * 2), MASK, x0)
    log_probs = substitution(logits, xt, real_tokens=torch.arange(4) < 3, mask_id=MASK)
    masked_nll(log_probs, x0, xt, torch.ones(2), mask_id=MASK).sum().backward()
    assert bool((logits.grad[xt != MASK] == 0).all())
    assert bool((logits.grad[xt == MASK][:, :3] != 0).all())


@pytest.mark.parity
@pytest.mark.parametrize(("case", "mask_id"), [("dit", 12), ("last", 12), ("inner", 3)])
def test_continuous_time_loss_equals_the_original_code(shared, case, mask_id):
    golden = load_file(shared / "parity" / "objectives.safetensors")
    x0, xt, logits = (golden[f"{case}.{name}"] for name in ("x0", "xt", "logits"))
    real = torch.arange(logits.shape[-1]) != mask_id
    log_probs = substitution(logits.double(), xt, real_tokens=real, mask_id=mask_id)
    weight = nelbo_weight(LogLinear(floor=1e-3), golden[f"{case}.t"].double())
    loss = masked_nll(log_probs, x0, xt, weight, mask_id=mask_id)
    # ours in float64; the original forms log-probabilities and weights in float32.
    torch.testing.assert_close(loss.float(), golden[f"{case}.subs_loss"], rtol=1e-5, atol=1e-6)
    attended = golden[f"{case}.attention_mask"]
    torch.testing.assert_close(
        ((loss * attended).sum() / attended.sum()).float(),
        golden[f"{case}.subs_token_nll"].squeeze(),
        rtol=1e-5,
        atol=0,
    )
