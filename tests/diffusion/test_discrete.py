"""The bound with T steps: against matrices, against trajectories, against the original code."""

import itertools

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.discrete import reconstruction, step_divergence
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.parameterization import restricted, substitution
from dnamdlm.diffusion.schedules import Cosine, LogLinear
from tests.diffusion.cases import EXACT, SCHEDULES
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw()
MASK = LAW.mask_id
WITH_MASK = torch.arange(LAW.vocab_size) <= MASK
PATTERNS = torch.tensor(list(itertools.product([False, True], repeat=LAW.length)))


def _random_denoiser(seed=1):
    """A table of logits for every state of the chain; the mask has a probability of its own."""
    states = LAW.partial_sequences()
    place = 3 ** torch.arange(LAW.length - 1, -1, -1)
    table = torch.randn(
        len(states), LAW.length, LAW.vocab_size,
        generator=torch.Generator().manual_seed(seed), dtype=torch.float64,
    )  # fmt: skip
    return lambda xt: table[(xt * place).sum(dim=-1)]


def _grid(schedule, num_steps):
    """alpha after 0, 1, ... steps from clean."""
    return schedule.alpha(torch.arange(num_steps + 1, dtype=torch.float64) / num_steps)


def _bound(denoise, alphas):
    """The sum of the terms over all steps and masks, through the functions under test."""
    total = torch.zeros(len(LAW.sequences), dtype=torch.float64)
    for row, x0 in enumerate(LAW.sequences):
        rows = x0.expand(len(PATTERNS), -1)
        xt = torch.where(PATTERNS, MASK, rows)
        hidden = PATTERNS.sum(dim=1)
        for step in range(1, len(alphas)):
            alpha_t, alpha_s = (alphas[i].expand(len(rows)) for i in (step, step - 1))
            nats = step_divergence(denoise(xt), rows, xt, alpha_t, alpha_s, mask_id=MASK)
            weight = (1 - alphas[step]) ** hidden * alphas[step] ** (LAW.length - hidden)
            total[row] += weight @ nats.sum(dim=1)
        total[row] += reconstruction(denoise(x0[None]), x0[None]).sum()
    return total


def _bound_by_matrices(denoise, alphas):
    """The same bound from transition matrices and Bayes' rule, one pair of states at a time."""
    size = LAW.num_symbols + 1
    total = torch.zeros(len(LAW.sequences), dtype=torch.float64)

    def matrix(keep):
        transition = keep * torch.eye(size, dtype=torch.float64)
        transition[:, MASK] += 1 - keep
        return transition

    for row, x0 in enumerate(LAW.sequences):
        for xt in LAW.partial_sequences():
            predicted = denoise(xt[None])[0, :, :size].exp()
            for step in range(1, len(alphas)):
                last, first = matrix(alphas[step] / alphas[step - 1]), matrix(alphas[step - 1])
                marginal = matrix(alphas[step])
                chance, nats = torch.ones((), dtype=torch.float64), 0.0
                for i in range(LAW.length):
                    chance = chance * marginal[x0[i], xt[i]]
                    if chance == 0:
                        break
                    exact = last[:, xt[i]] * first[x0[i]]
                    model = last[:, xt[i]] * (predicted[i] @ first)
                    exact, model = exact / exact.sum(), model / model.sum()
                    seen = exact > 0
                    nats += (exact[seen] * (exact[seen] / model[seen]).log()).sum()
                total[row] += chance * nats if chance > 0 else 0.0
        clean = denoise(x0[None])[0].gather(-1, x0[:, None])
        total[row] -= clean.sum()
    return total


@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize("schedule", [LogLinear(), Cosine()], ids=repr)
def test_the_bound_of_any_denoiser_equals_the_one_from_transition_matrices(schedule, num_steps):
    logits = _random_denoiser()
    for allowed in (WITH_MASK, LAW.real_tokens):

        def denoise(xt, allowed=allowed):
            return restricted(logits(xt), allowed)

        alphas = _grid(schedule, num_steps)
        # absorbed in one step: the matrix of the last step must not divide by zero.
        alphas = alphas.clamp(min=1e-300)
        torch.testing.assert_close(
            _bound(denoise, alphas), _bound_by_matrices(denoise, alphas), rtol=1e-10, atol=1e-10
        )


def _sampler_law(num_steps, schedule):
    """Probability of each sequence under T ancestral steps of the oracle, by enumeration."""
    alphas = _grid(schedule, num_steps)
    states = LAW.partial_sequences()
    current = torch.zeros(len(states), dtype=torch.float64)
    current[-1] = 1.0
    for step in range(num_steps, 0, -1):
        reveal = (alphas[step - 1] - alphas[step]) / (1 - alphas[step])
        law = LAW.log_probs(states).exp() * reveal
        law[..., MASK] = 1 - reveal
        for i in range(LAW.length):
            visible = states[:, i] != MASK
            law[visible, i] = torch.nn.functional.one_hot(
                states[visible, i], LAW.vocab_size
            ).double()
        moved = torch.ones(len(states), len(states), dtype=torch.float64)
        for i in range(LAW.length):
            moved = moved * law[:, i][:, states[:, i]]
        current = current @ moved
    complete = (states != MASK).all(dim=1)
    return current[complete]


@pytest.mark.parametrize("schedule", EXACT[:3], ids=repr)
def test_the_bound_of_the_oracle_lies_above_the_law_of_its_sampler_and_falls_to_the_likelihood(
    schedule,
):
    before = torch.full((8,), torch.inf, dtype=torch.float64)
    for num_steps in (1, 2, 4, 64):
        bound = _bound(LAW.log_probs, _grid(schedule, num_steps))
        sampled = -_sampler_law(num_steps, schedule).log()
        assert bool((bound >= sampled - 1e-12).all())
        average = LAW.probs @ bound
        assert average <= LAW.probs @ before + 1e-12
        before = bound
    assert (before + LAW.probs.log()).abs().max() < 0.02
    # one step draws all positions independently: bound and likelihood are both their product.
    torch.testing.assert_close(
        _bound(LAW.log_probs, _grid(schedule, 1)), -_sampler_law(1, schedule).log()
    )


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 999, 1000, 4096, 10**6, 10**12])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_loss_and_gradient_are_finite_at_every_step_of_every_schedule(schedule, num_steps):
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x0 = torch.tensor([[0, 1, 0], [1, 1, 0]])
    xt = torch.tensor([[MASK, 1, MASK], [MASK] * 3])
    for step in sorted({1, min(2, num_steps), num_steps}):
        alpha_t, alpha_s = (
            schedule.alpha(torch.full((2,), i / num_steps, dtype=torch.float64))
            for i in (step, step - 1)
        )
        for allowed in (WITH_MASK, LAW.real_tokens):
            nats = step_divergence(
                restricted(logits, allowed), x0, xt, alpha_t, alpha_s, mask_id=MASK
            )
            assert bool(nats.isfinite().all())
            assert bool((nats >= 0).all())
            (gradient,) = torch.autograd.grad(nats.sum(), logits)
            assert bool(gradient.isfinite().all())


def test_many_steps_keep_their_digits():
    # T times the divergence tends to the integrand of continuous time; SUBS has its first part.
    logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x0, xt, t = torch.tensor([[0, 1, 0]]), torch.full((1, 3), MASK), torch.tensor([0.5]).double()
    log_probs = substitution(logits, xt, real_tokens=LAW.real_tokens, mask_id=MASK)
    limit = masked_nll(log_probs, x0, xt, 1 / t, mask_id=MASK)
    with_mask = restricted(logits, WITH_MASK)
    p_mask = with_mask[..., MASK].exp()
    # derivative of the second part: p_m / (1 - alpha + alpha p_m) / (1 - alpha) in alpha.
    stretch = torch.log1p(p_mask)
    clean = with_mask.gather(-1, x0[..., None]).squeeze(-1)
    slope = p_mask / (0.5 + 0.5 * p_mask)
    limit_with_mask = (stretch - clean) / t - slope / t * 1.0
    for steps, tolerance in ((10**4, 1e-3), (10**9, 1e-7)):
        alpha_s = 1 - t + 1 / steps
        nats = steps * step_divergence(log_probs, x0, xt, 1 - t, alpha_s, mask_id=MASK)
        torch.testing.assert_close(nats, limit, rtol=tolerance, atol=0)
        nats = steps * step_divergence(with_mask, x0, xt, 1 - t, alpha_s, mask_id=MASK)
        torch.testing.assert_close(nats, limit_with_mask, rtol=10 * tolerance, atol=0)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["d3pm", "d3pm_subsmask", "subs_T1000"])
@pytest.mark.parametrize(("case", "mask_id"), [("dit", 12), ("last", 12), ("inner", 3)])
def test_the_loss_with_a_thousand_steps_equals_the_original_code(shared, case, mask_id, kind):
    golden = load_file(shared / "parity" / "objectives.safetensors")
    x0, xt = golden[f"{case}.x0"], golden[f"{case}.xt"]
    # ours in float64, so that the tolerances are those of the original in float32.
    logits, logits_x0 = (golden[f"{case}.{name}"].double() for name in ("logits", "logits_x0"))
    everything = torch.ones(logits.shape[-1], dtype=torch.bool)
    real = torch.arange(logits.shape[-1]) != mask_id
    if kind == "subs_T1000":
        log_probs = substitution(logits, xt, real_tokens=real, mask_id=mask_id)
    else:
        allowed = everything if kind == "d3pm" else real
        log_probs = restricted(logits, allowed)
        expected = golden[f"{case}.{kind}_log_probs"]
        seen = expected > -1e5
        torch.testing.assert_close(log_probs[seen].float(), expected[seen], atol=1e-5, rtol=1e-5)
        clean = reconstruction(restricted(logits_x0, allowed), x0)
        torch.testing.assert_close(
            clean.float(), golden[f"{case}.{kind}_reconstruction_loss"], rtol=1e-5, atol=1e-5
        )
    t = golden[f"{case}.t_discrete"].double().clamp(max=1 - 1e-4)
    nats = 1000 * step_divergence(log_probs, x0, xt, 1 - t, 1 - t + 1e-3, mask_id=mask_id)
    name = f"{case}.{kind}_loss" if kind == "subs_T1000" else f"{case}.{kind}_diffusion_loss"
    # float32 differences in the original cancel to about 1e-3.
    torch.testing.assert_close(nats.float(), golden[name], rtol=1e-3, atol=1e-3)
