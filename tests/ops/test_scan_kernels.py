"""Which implementation of the selective scan runs, why, and what happens when one fails."""

import shutil
import sys
import types

import pytest
import torch

from dnamdlm.errors import KernelUnavailable
from dnamdlm.ops import scan, selection
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.kernels import mamba_kernels as mamba
from dnamdlm.ops.scan import selective_scan
from dnamdlm.ops.scan_inputs import ScanInputs
from dnamdlm.ops.selection import FusedKernel
from tests.helpers.scan_cases import (
    assert_outputs_close,
    scan_case,
    scan_is_built,
    with_gradients,
)


@pytest.fixture(autouse=True)
def _kernels(tmp_path_factory, monkeypatch):
    """The kernel is built once for these tests, in seconds."""
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "kernels"))


def test_the_compiled_gradients_do_not_depend_on_the_number_of_threads():
    if not scan_is_built():
        pytest.skip("the compiled scan cannot be built")
    inputs = scan_case(3, 130, channels=150, dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(with_gradients(inputs, mode="fused"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_auto_does_not_build_and_says_how_to(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path))
    with pytest.raises(ImportError, match=r"dnamdlm\.doctor build=true"):
        compiled_scan.load()
    inputs = scan_case(1, 3, dtype=torch.float32)
    selective_scan(**inputs, mode="auto")
    assert list(tmp_path.iterdir()) == []


def test_fused_on_demand_fails_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(KernelUnavailable, match=r"g\+\+ is not installed"):
        selective_scan(**scan_case(1, 3, dtype=torch.float32), mode="fused")


def test_what_a_failing_compiler_says_is_passed_on_and_nothing_is_left(monkeypatch, tmp_path):
    compiler = tmp_path / "bin" / "g++"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho 'scan.cpp:1: error: no such thing' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ImportError, match=r"g\+\+ fails: scan\.cpp:1: error: no such thing"):
        compiled_scan.build()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_state_too_large_for_the_compiled_scan_falls_back():
    inputs = scan_case(1, 3, state=17, dtype=torch.float32)
    out = selective_scan(**inputs, mode="auto")
    assert_outputs_close(out, selective_scan(**inputs, mode="reference"), inputs)
    with pytest.raises(KernelUnavailable, match="at most 16 numbers per channel"):
        selective_scan(**inputs, mode="fused")


def _stub_of_mamba_ssm(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,  # noqa: N803
    return_last_state=False, cu_seqlens=None,
):  # fmt: skip
    """The signature of mamba-ssm 2.3, channels first, computed by our reference."""
    assert u.is_contiguous()
    assert delta.dtype == B.dtype == C.dtype == u.dtype
    assert A.dtype == torch.float32
    assert not return_last_state
    assert cu_seqlens is None
    moved = [None if x is None else x.transpose(1, 2) for x in (u, delta, B, C, z)]
    out = selective_scan(
        moved[0], moved[1], A, moved[2], moved[3], D, moved[4], delta_bias,
        softplus=delta_softplus, mode="reference",
    )  # fmt: skip
    return out.transpose(1, 2)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_mamba_ssm_is_called_with_its_signature(monkeypatch, reverse):
    monkeypatch.setattr(mamba, "load_scan", lambda: _stub_of_mamba_ssm)
    inputs = scan_case(2, 7, dtype=torch.float32)
    out = mamba.mamba_scan(ScanInputs(**inputs), softplus=True, reverse=reverse)
    expected = selective_scan(**inputs, reverse=reverse, mode="reference")
    assert_outputs_close(out, expected, inputs)


def test_kernels_refuse_what_they_cannot_do():
    assert "CUDA" in mamba.MAMBA_SCAN.refusal(torch.device("cpu"), torch.float32)
    assert "float64" in mamba.MAMBA_SCAN.refusal(torch.device("cuda"), torch.float64)
    assert mamba.MAMBA_SCAN.refusal(torch.device("cuda"), torch.bfloat16) is None
    assert "CPU" in compiled_scan.COMPILED_SCAN.refusal(torch.device("cuda"), torch.float32)
    assert "float32" in compiled_scan.COMPILED_SCAN.refusal(torch.device("cpu"), torch.float64)


@pytest.mark.gpu
@pytest.mark.kernels
@pytest.mark.parametrize("length", [1, 63, 1000])
def test_mamba_ssm_equals_the_reference(length):
    pytest.importorskip("mamba_ssm")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    inputs = scan_case(2, length)
    expected = with_gradients(inputs, mode="reference")
    moved = {name: x.float().cuda() for name, x in inputs.items()}
    for name, x in moved.items():
        moved[name] = x.requires_grad_()
    out = selective_scan(**moved, mode="fused")
    assert_outputs_close(out.cpu(), expected["out"], inputs)


@pytest.fixture
def broken_triton_scan(monkeypatch):
    """A Triton scan that imports, and raises when it runs."""

    def fails(*_, **__):
        raise RuntimeError("no kernel image is available")

    stub = types.ModuleType("triton_scan_ops")
    stub.triton_scan = fails
    monkeypatch.setitem(sys.modules, "dnamdlm.ops.kernels.triton_scan_ops", stub)
    kernel = FusedKernel("selective scan", "Triton scan", lambda: fails, lambda *_: None)
    monkeypatch.setattr(scan, "TRITON_SCAN", kernel)
    monkeypatch.setattr(scan, "scan_kernels", lambda _: [kernel, compiled_scan.COMPILED_SCAN])
    monkeypatch.setattr(selection, "_distrusted", {})


def test_a_scan_that_fails_when_it_runs_is_done_by_another(broken_triton_scan, caplog):
    inputs = scan_case(2, 9, dtype=torch.float32)
    expected = selective_scan(**inputs, mode="reference")
    for _ in range(2):
        assert_outputs_close(selective_scan(**inputs), expected, inputs)
    said = [message for message in caplog.messages if "Triton scan" in message]
    assert said == ["Triton scan is not used: it fails when it runs (no kernel image is available)"]


def test_a_failing_scan_ends_a_command_that_demands_it(broken_triton_scan):
    with pytest.raises(KernelUnavailable, match="no kernel image is available"):
        selective_scan(**scan_case(1, 3, dtype=torch.float32), mode="fused")
