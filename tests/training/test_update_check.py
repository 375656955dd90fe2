"""The check before an update, where losses are scaled."""

from types import SimpleNamespace

import pytest
import torch

from dnamdlm.backbones.dit import DiT
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.guard import UpdateGuard
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant
from dnamdlm.training.update_check import UpdateCheck


@pytest.fixture
def module():
    """A module with the loss of one micro-batch, whose gradient is infinite."""
    lm = MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY)
    made = TrainingModule(
        lm, AdamWSettings(), WarmupConstant(1), max_steps=1, averaging_decay=0.9
    )  # fmt: skip
    made.begin_step()
    made._micro_losses = [torch.tensor(1.4)]
    for weight in made.parameters():
        weight.grad = torch.full_like(weight, torch.inf)
    return made


def _trainer(scale, module):
    scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
    if scaler is not None:
        # the scale comes into being with the first loss.
        scaler.scale(torch.ones(()))
    return SimpleNamespace(
        strategy=SimpleNamespace(
            reduce=lambda value, reduce_op: value, reduce_boolean_decision=lambda value: value
        ),
        precision_plugin=SimpleNamespace(scaler=scaler),
        global_rank=0,
        optimizers=[module.settings.build(module)],
        is_global_zero=True,
    )


@pytest.mark.parametrize(
    ("scale", "num_faults"), [(2.0**16, 0), (1.0, 1), (None, 1)],
    ids=["scaled too high", "not scaled", "no scaler"],
)  # fmt: skip
def test_an_overflow_makes_no_update_and_is_a_fault_only_without_scale(
    module, tmp_path, scale, num_faults
):
    guard = UpdateGuard(sigmas=6.0, max_skips=10)
    check = UpdateCheck(tmp_path, 1, guard)
    check.judge(_trainer(scale, module), module, 0)
    assert check.fault is not None
    assert all(weight.grad is None for weight in module.parameters())
    assert guard.in_a_row == num_faults
    assert len(list(tmp_path.rglob("step_*.json"))) == num_faults


def test_gradients_are_clipped_by_the_norm_that_was_judged(module, tmp_path):
    generator = torch.Generator().manual_seed(0)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    given = [torch.randn(parameter.shape, generator=generator) for parameter in trained]
    optimizer = module.settings.build(module)
    clipped = {}
    for name in ("by torch", "ours"):
        for parameter, gradient in zip(trained, given, strict=True):
            parameter.grad = gradient.clone()
        if name == "ours":
            UpdateCheck(tmp_path, 1, UpdateGuard(sigmas=6.0, max_skips=10)).judge(
                _trainer(None, module), module, 0
            )
            module.configure_gradient_clipping(optimizer, 0.5, "norm")
        else:
            of_groups = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(of_groups, 0.5)
        clipped[name] = [parameter.grad.clone() for parameter in trained]
    assert all(map(torch.equal, clipped["ours"], clipped["by torch"]))
    assert float(torch.nn.utils.get_total_norm(clipped["ours"])) == pytest.approx(0.5, rel=1e-4)
    module.begin_step()
    module.configure_gradient_clipping(optimizer, 0.01, "norm")
    assert all(torch.equal(p.grad, x) for p, x in zip(trained, clipped["ours"], strict=True))
