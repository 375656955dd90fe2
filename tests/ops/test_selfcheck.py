"""Fused kernels are compared with the reference before they are trusted."""

import logging

import pytest
import torch

from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops import scan, selection, selfcheck
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel, forced
from dnamdlm.ops.selfcheck import check_kernels, fused_kernels

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_distrusted(monkeypatch):
    monkeypatch.setattr(selection, "_distrusted", {})


@pytest.fixture
def kernel(monkeypatch):
    """Puts a stand-in in the place of the compiled scan: right, or wrong by a factor."""

    def install(factor, gradient_factor=1.0):
        def stand_in(inputs: ScanInputs, *, softplus, reverse):
            out = scan._portable(inputs, softplus=softplus, reverse=reverse)
            # the value is scaled by one factor and the gradient by another.
            wrong = out * gradient_factor
            return wrong + (factor * out - wrong).detach()

        fake = FusedKernel("selective scan", "stand-in", lambda: stand_in, lambda *_: None)
        monkeypatch.setattr(scan, "COMPILED_SCAN", fake)
        monkeypatch.setattr(scan, "compiled_scan", stand_in)
        return fake

    return install


def test_a_right_kernel_is_kept(kernel):
    fake = kernel(1.0)
    assert check_kernels(CPU) == []
    assert selection.choose("selective scan", CPU, torch.float32, fused=fake) == "fused"


@pytest.mark.parametrize(
    ("factor", "gradient_factor"),
    [(1.02, 1.0), (1.0, 1.1), (float("nan"), 1.0)],
    ids=["value", "gradient", "not finite"],
)
def test_a_wrong_kernel_is_refused_with_a_warning(kernel, caplog, factor, gradient_factor):
    fake = kernel(factor, gradient_factor)
    with caplog.at_level(logging.WARNING, logger=selfcheck.__name__):
        (sentence,) = check_kernels(CPU, [torch.float32])
    assert caplog.messages == [sentence]
    assert "stand-in is not used: it differs from the reference" in sentence
    assert selection.choose("selective scan", CPU, torch.float32, fused=fake) == "portable"
    with pytest.raises(KernelUnavailable, match="differs from the reference"):
        selection.choose("selective scan", CPU, torch.float32, fused=fake, mode="fused")


def _raises(*_inputs, **_settings):
    raise RuntimeError("CUDA error: no kernel image is available\nfor execution on the device")


def test_a_kernel_that_raises_is_refused_with_the_first_line_of_its_reason(kernel, monkeypatch):
    fake = kernel(1.0)
    monkeypatch.setattr(scan, "compiled_scan", _raises)
    (sentence,) = check_kernels(CPU, [torch.float32])
    assert sentence == (
        "stand-in is not used: it raises RuntimeError in torch.float32 "
        "(CUDA error: no kernel image is available)"
    )
    assert selection.choose("selective scan", CPU, torch.float32, fused=fake) == "portable"


def test_nothing_is_checked_where_no_kernel_would_run(kernel):
    kernel(1.02)
    with forced("portable"):
        assert check_kernels(CPU) == []


def test_the_compiled_scan_passes_if_it_is_built():
    try:
        compiled_scan.load()
    except ImportError as error:
        pytest.skip(f"the compiled scan: {error}")
    assert check_kernels(CPU) == []


@pytest.mark.gpu
@pytest.mark.kernels
def test_the_installed_kernels_pass():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert check_kernels(torch.device("cuda")) == []


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", ["flash-attn", "compiled scan", "causal-conv1d"]),
        (
            "cuda",
            [
                *("flash-attn", "Triton scan", "mamba-ssm"),
                *("Triton convolution", "causal-conv1d", "Triton convolution", "Triton norm"),
                "Triton Philox",
            ],
        ),
    ],
)
def test_each_device_has_its_kernels_the_preferred_ones_first(device, expected):
    assert [kernel.package for kernel in fused_kernels(torch.device(device))] == expected
