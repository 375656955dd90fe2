"""Which implementation of a primitive runs, and what is said about it."""

import dataclasses
import logging

import pytest
import torch

from dnamdlm.errors import ConfigError, KernelUnavailable
from dnamdlm.ops import selection
from dnamdlm.ops.selection import (
    FusedKernel,
    choose,
    describe,
    first_usable,
    forced,
    get_mode,
    give_up,
    only,
)

CPU = torch.device("cpu")


def _import_fails():
    raise ImportError("no module named 'fancy'")


def _kernel(*, load=lambda: print, refusal=None):
    return FusedKernel("product", "fancy", load, lambda device, dtype: refusal)


@pytest.fixture(autouse=True)
def _fresh_log(monkeypatch):
    monkeypatch.setattr(selection, "_logged", set())


def test_auto_takes_the_fused_kernel_where_nothing_speaks_against_it():
    assert choose("product", CPU, torch.float32, fused=_kernel()) == "fused"


@pytest.mark.parametrize(
    ("kernel", "obstacle"),
    [
        (None, None),
        (_kernel(load=_import_fails), None),
        (_kernel(refusal="needs CUDA"), None),
        (_kernel(), "too long"),
    ],
    ids=["none written", "import fails", "refused", "obstacle"],
)
def test_auto_falls_back_to_portable(kernel, obstacle):
    assert choose("product", CPU, torch.float32, fused=kernel, obstacle=obstacle) == "portable"


def test_a_scan_in_plain_torch_on_a_gpu_is_warned_of_with_the_reason(caplog):
    kernel = FusedKernel("selective scan", "fancy", _import_fails, lambda device, dtype: None)
    choose("selective scan", CPU, torch.float32, fused=kernel)
    selection._logged.clear()
    for _ in range(2):
        choose("selective scan", torch.device("cuda"), torch.float32, fused=kernel)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "plain torch on this GPU" in record.message
    assert "fancy does not import (no module named 'fancy')" in record.message


def test_auto_logs_the_fallback_once_with_its_reason(caplog):
    with caplog.at_level(logging.DEBUG, logger=selection.__name__):
        for _ in range(3):
            choose("product", CPU, torch.float32, fused=_kernel(refusal="needs CUDA"))
    assert caplog.messages == ["product runs portable; no fused kernel: needs CUDA"]


@pytest.mark.parametrize("error", [RuntimeError("no CUDA"), AttributeError(), OSError("libc")])
def test_an_extension_that_fails_in_its_own_way_is_tried_once_and_not_used(error):
    tries = []

    def load():
        tries.append(1)
        raise error

    kernel = _kernel(load=load)
    rows = [describe([kernel], CPU, torch.float32) for _ in range(3)]
    reason = str(error) or "AttributeError"
    assert [row["fused"] for (row,) in rows] == [f"fancy does not import ({reason})"] * 3
    assert len(tries) == 1


def test_fused_on_demand_leaves_a_primitive_without_a_fused_kernel_as_it_is():
    with forced("fused"):
        assert choose("norm", CPU, torch.float32) == "portable"


def test_fused_on_demand_fails_with_the_import_error_as_cause():
    with pytest.raises(KernelUnavailable, match="no module named 'fancy'") as raised:
        choose("product", CPU, torch.float32, fused=_kernel(load=_import_fails), mode="fused")
    assert isinstance(raised.value.__cause__, ImportError)


def test_the_mode_of_a_call_wins_over_that_of_the_process():
    with forced("reference"):
        assert choose("product", CPU, torch.float32) == "reference"
        assert choose("product", CPU, torch.float32, mode="portable") == "portable"


def test_forced_restores_the_mode_after_an_error():
    with pytest.raises(RuntimeError, match="inside"), forced("reference"):
        raise RuntimeError("inside")
    assert get_mode() == "auto"


def test_an_unknown_mode_is_refused_with_the_allowed_ones():
    with pytest.raises(ConfigError, match="auto, reference, portable, fused"):
        selection.set_mode("fast")


def test_describe_says_what_runs_and_why():
    other = dataclasses.replace(_kernel(refusal="needs CUDA"), primitive="sum")
    kernels = [_kernel(), other]
    rows = describe(kernels, CPU, torch.float32)
    assert [row["runs"] for row in rows] == ["fused", "portable"]
    assert [row["fused"] for row in rows] == ["available", "needs CUDA"]


def test_a_kernel_is_built_where_fused_is_demanded_and_only_there():
    built = []

    def build():
        built.append(1)

    kernel = FusedKernel("product", "fancy", lambda: print, lambda *_: None, build)
    choose("product", CPU, torch.float32, fused=kernel)
    assert built == []
    choose("product", CPU, torch.float32, fused=kernel, mode="fused")
    assert built == [1]


def test_a_distrusted_kernel_runs_no_more(monkeypatch):
    monkeypatch.setattr(selection, "_distrusted", {})
    selection.distrust(_kernel(), "it differs from the reference by 0.3")
    assert choose("product", CPU, torch.float32, fused=_kernel()) == "portable"
    with pytest.raises(KernelUnavailable, match="differs from the reference"):
        choose("product", CPU, torch.float32, fused=_kernel(), mode="fused")


def _named(package, **options):
    return dataclasses.replace(_kernel(**options), package=package)


def test_the_first_kernel_that_can_run_is_taken():
    broken, first, second = (
        _named("broken", load=_import_fails), _named("first"), _named("second"),
    )  # fmt: skip
    assert first_usable("product", [broken, first, second], CPU, torch.float32) is first
    assert first_usable("product", [], CPU, torch.float32) is None


def test_where_no_kernel_can_run_the_preferred_one_says_why():
    kernels = [_named("first", refusal="needs CUDA"), _named("second", load=_import_fails)]
    found = first_usable("product", kernels, CPU, torch.float32)
    with pytest.raises(KernelUnavailable, match="needs CUDA"):
        choose("product", CPU, torch.float32, fused=found, mode="fused")


def test_only_puts_a_kernel_in_the_place_of_those_of_its_primitive():
    first, second = _named("first"), _named("second")
    with only(second):
        assert first_usable("product", [first, second], CPU, torch.float32) is second
        assert first_usable("sum", [first], CPU, torch.float32) is first
    assert first_usable("product", [first, second], CPU, torch.float32) is first


def test_describe_says_that_a_second_kernel_is_in_reserve():
    kernels = [_named("absent", load=_import_fails), _named("first"), _named("second")]
    rows = describe(kernels, CPU, torch.float32)
    assert [row["runs"] for row in rows] == ["portable", "fused", "in reserve"]


def test_a_kernel_that_fails_while_it_runs_is_said_once_and_used_no_more(monkeypatch, caplog):
    monkeypatch.setattr(selection, "_distrusted", {})
    with caplog.at_level(logging.WARNING, logger=selection.__name__):
        give_up(_kernel(), RuntimeError("no kernel image\nfor this card"), mode=None)
    assert caplog.messages == ["fancy is not used: it fails when it runs (no kernel image)"]
    assert choose("product", CPU, torch.float32, fused=_kernel()) == "portable"


def test_a_failure_where_fused_is_demanded_is_said_as_one():
    with pytest.raises(KernelUnavailable, match="no kernel image"):
        give_up(_kernel(), RuntimeError("no kernel image"), mode="fused")


def test_memory_that_runs_out_is_no_failure_of_the_kernel(monkeypatch):
    monkeypatch.setattr(selection, "_distrusted", {})
    with pytest.raises(torch.OutOfMemoryError):
        give_up(_kernel(), torch.OutOfMemoryError("too little memory"), mode=None)
    assert choose("product", CPU, torch.float32, fused=_kernel()) == "fused"
