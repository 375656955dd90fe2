"""Reverse steps and whole sampling runs of the original code, from golden numbers.

The original draws with argmax(probability / (1e-10 - log(u + 1e-10))); that rule stands here alone,
to show that our probabilities give its very sequences.
"""

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.diffusion.analytic import scores, tweedie_probabilities
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steps import ancestral_probabilities
from dnamdlm.lm.published.import_mdlm import import_dit

pytestmark = pytest.mark.parity
MASK = 12
REAL = torch.arange(13) != MASK
SUBS = ["subs", "subs.time_cond"]


@pytest.fixture(scope="module")
def golden(shared):
    return load_file(shared / "parity" / "updates.safetensors")


@pytest.fixture(scope="module")
def network(shared):
    return import_dit(load_file(shared / "parity" / "dit.weights.safetensors"))


def _alphas(golden, case):
    return tuple(torch.exp(-golden[f"{case}.sigma_{end}"].double()).flatten() for end in "ts")


def _log_probs(golden, case):
    """Log p(x0 | xt) as the reference had it."""
    law = golden[f"{case}.ddpm_cache.p_x0"].double().log()
    return substitution(law, golden["x_t"], real_tokens=REAL, mask_id=MASK)


def _drawn(probs, uniforms):
    return (probs.float() / (1e-10 - (uniforms + 1e-10).log())).argmax(dim=-1)


def _normalised(probs):
    return probs / probs.sum(dim=-1, keepdim=True)


@pytest.mark.parametrize("case", SUBS)
def test_scores_equal_the_original(golden, case):
    alpha_t, _ = _alphas(golden, case)
    ours = scores(_log_probs(golden, case), golden["x_t"], alpha_t, mask_id=MASK)
    # ours in float64; the original in float32: log-probabilities of about -10 to 0, exponentiated.
    torch.testing.assert_close(ours.float(), golden[f"{case}.score"], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("case", [*SUBS, "sedd"])
def test_analytic_and_denoiser_steps_equal_the_original(golden, case):
    xt, score = golden["x_t"], golden[f"{case}.score"].double()
    alpha_t, alpha_s = _alphas(golden, case)
    probs = tweedie_probabilities(score, xt, alpha_t, alpha_s, mask_id=MASK)
    expected = golden[f"{case}.analytic.probs"]
    # ours in float64; in the original sums of large scores cancel in the entry of the mask.
    torch.testing.assert_close(probs.float(), expected, rtol=1e-4, atol=2e-5)
    final = tweedie_probabilities(score, xt, alpha_t, torch.ones_like(alpha_t), mask_id=MASK)
    final[..., MASK] = 0
    torch.testing.assert_close(
        _normalised(final).float(),
        golden[f"{case}.denoiser.probs_normalised"],
        rtol=1e-4,
        atol=2e-6,
    )
    assert torch.equal(
        _drawn(_normalised(final), golden[f"{case}.denoiser.u"]), golden[f"{case}.denoiser.x_0"]
    )


@pytest.mark.parametrize("case", SUBS)
def test_with_subs_the_analytic_step_is_the_ancestral_step(golden, case):
    alpha_t, alpha_s = _alphas(golden, case)
    ancestral = ancestral_probabilities(
        _log_probs(golden, case), alpha_t, alpha_s, xt=golden["x_t"], mask_id=MASK
    )
    # ours in float64; the original forms these from scores in float32.
    torch.testing.assert_close(
        ancestral.float(), golden[f"{case}.analytic.probs_normalised"], rtol=1e-4, atol=2e-6
    )


@pytest.mark.parametrize("case", SUBS)
@pytest.mark.parametrize("kind", ["ddpm", "ddpm_cache"])
def test_one_step_with_the_given_uniforms_gives_the_tokens_of_the_original(golden, case, kind):
    xt, t = golden["x_t"], golden["t"].flatten().double()
    schedule = LogLinear(floor=1e-3) if kind == "ddpm" else LogLinear()
    probs = ancestral_probabilities(
        _log_probs(golden, case),
        schedule.alpha(t),
        schedule.alpha(t - golden["dt"].double()),
        xt=xt,
        mask_id=MASK,
    )
    # all steps of one case share their uniforms.
    drawn = torch.where(xt == MASK, _drawn(probs, golden[f"{case}.ddpm.u"]), xt)
    assert torch.equal(drawn, golden[f"{case}.{kind}.x_s"])


@pytest.mark.parametrize(("run", "end"), [("sample", 1e-5), ("sample_eps0.25", 0.25)])
@pytest.mark.parametrize("kind", ["ddpm", "ddpm_cache", "analytic"])
def test_whole_runs_give_the_tokens_of_the_original(golden, network, run, end, kind):
    uniforms = golden["sample.u"]
    steps = len(uniforms)
    schedule = LogLinear() if kind == "ddpm_cache" else LogLinear(floor=1e-3)
    times = torch.linspace(1, end, steps + 1).double()
    length = (1 - end) / steps

    def law(tokens):
        with torch.no_grad():
            logits = network(tokens, torch.zeros(2), None)
        return substitution(logits, tokens, real_tokens=REAL, mask_id=MASK)

    def probabilities(tokens, before, after):
        alphas = [torch.full((2,), alpha).double() for alpha in (before, after)]
        if kind != "analytic":
            return ancestral_probabilities(law(tokens), *alphas, xt=tokens, mask_id=MASK)
        score = scores(law(tokens).double(), tokens, alphas[0], mask_id=MASK)
        return tweedie_probabilities(score, tokens, *alphas, mask_id=MASK)

    tokens = torch.full((2, 48), MASK)
    # the nearest of these draws is decided by 1.4e-4 of its score, which is a hundred times what
    # the order of the sums of the network moves.
    for step in range(steps):
        before, after = schedule.alpha(times[step]), schedule.alpha(times[step] - length)
        probs = probabilities(tokens, before.item(), after.item())
        tokens = torch.where(tokens == MASK, _drawn(_normalised(probs), uniforms[step]), tokens)
        assert torch.equal(tokens, golden[f"{run}.{kind}.x"][step])
    if kind == "analytic":
        probs = probabilities(tokens, schedule.alpha(times[-1]).item(), 1.0)
        probs[..., MASK] = 0
        final = _drawn(_normalised(probs), golden["sample.analytic_final_u"])
        tokens = torch.where(tokens == MASK, final, tokens)
    else:
        tokens = torch.where(tokens == MASK, law(tokens).argmax(dim=-1), tokens)
    assert torch.equal(tokens, golden[f"{run}.{kind}.final"])
