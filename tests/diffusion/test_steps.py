"""The ancestral step: probabilities of the original code, reveals and settings."""

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import Ancestral, ancestral_probabilities, reveal_probability
from tests.diffusion.cases import first_step

MASK = 2


def _rows(values):
    return torch.tensor(values, dtype=torch.float64)


def test_reveal_probability_by_hand_and_at_the_ends():
    alpha_t, alpha_s = _rows([0.0, 0.5, 0.2, 0.9, 1.0]), _rows([0.25, 0.75, 0.2, 1.0, 1.0])
    assert reveal_probability(alpha_t, alpha_s).tolist() == [0.25, 0.5, 0.0, 1.0, 1.0]


def test_transition_probabilities_sum_to_one():
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    xt = torch.tensor([[0, 1, MASK, MASK], [MASK] * 4])
    log_probs = substitution(logits, xt, real_tokens=torch.arange(3) < 2, mask_id=MASK)
    probs = ancestral_probabilities(
        log_probs, _rows([0.3, 0.3]), _rows([0.4, 1.0]), xt=xt, mask_id=MASK
    )
    torch.testing.assert_close(probs.sum(-1), torch.ones(2, 4, dtype=torch.float64))
    assert probs[0, 0].tolist() == [1, 0, 0]
    assert probs[0, 2, MASK].item() == pytest.approx(6 / 7)
    assert bool((probs[1, :, MASK] == 0).all())


def test_a_step_reveals_at_the_right_rate_and_only_masks_change():
    rows, length = 200, 500
    xt = torch.full((rows, length), MASK)
    xt[:, ::2] = 1
    log_probs = LogProbs(torch.tensor([0.3, 0.7, 0.0]).log().expand(rows, length, 3))
    alpha_t, alpha_s = torch.full((rows,), 0.2).double(), torch.full((rows,), 0.4).double()
    xs = Ancestral()(first_step(xt, alpha_t, alpha_s, mask_id=MASK), log_probs)
    assert bool((xs[:, ::2] == 1).all())
    odd = xs[:, 1::2]
    share = (odd != MASK).double().mean().item()
    # 50,000 positions: four standard errors
    assert abs(share - 0.25) < 4 * (0.1875 / 50_000) ** 0.5
    zeros = (odd == 0).sum().item() / (odd != MASK).sum().item()
    assert abs(zeros - 0.3) < 4 * (0.21 / 12_500) ** 0.5


def test_only_rows_that_reveal_something_need_the_network():
    rows, length = 400, 6
    xt = torch.full((rows, length), MASK)
    xt[0] = 1
    alpha_t, alpha_s = torch.full((rows,), 0.0).double(), torch.full((rows,), 0.1).double()
    step = first_step(xt, alpha_t, alpha_s, mask_id=MASK, draw=3)
    need = Ancestral().needs_network(step)
    even = LogProbs(torch.tensor([0.5, 0.5, 0.0]).log().expand(rows, length, 3))
    xs = Ancestral()(step, even)
    assert torch.equal(need, (xs != xt).any(dim=1))
    assert not need[0]
    assert 0 < need.sum() < rows


@pytest.mark.parity
@pytest.mark.parametrize("case", ["subs", "subs.time_cond"])
def test_transition_probabilities_equal_the_original_code(shared, case):
    golden = load_file(shared / "parity" / "updates.safetensors")
    xt, transition = golden["x_t"], golden[f"{case}.ddpm.transition"]
    mask_id = transition.shape[-1] - 1
    # log p(x0 | xt) as the reference had it; its logits differ from it by a constant per position.
    log_probs = substitution(
        golden[f"{case}.ddpm_cache.p_x0"].double().log(),
        xt,
        real_tokens=torch.arange(mask_id + 1) != mask_id,
        mask_id=mask_id,
    )
    schedule = LogLinear(floor=1e-3)
    t = golden["t"].squeeze(1).double()
    probs = ancestral_probabilities(
        log_probs,
        schedule.alpha(t),
        schedule.alpha(t - golden["dt"].double()),
        xt=xt,
        mask_id=mask_id,
    )
    # ours in float64; the original subtracts probabilities near 1 in float32.
    torch.testing.assert_close(probs.float(), transition, atol=2e-6, rtol=1e-5)
