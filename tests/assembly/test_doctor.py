"""What the doctor says about this machine."""

import pytest
import torch

from dnamdlm.assembly.diagnosis import DoctorSettings, examine
from dnamdlm.errors import ConfigError, KernelUnavailable
from dnamdlm.ops.kernels import compiled_scan
from dnamdlm.ops.selection import forced

DEFAULTS = {"device": "cpu", "ops": "auto", "build": False}


@pytest.fixture(autouse=True)
def _mode_restored():
    with forced("auto"):
        yield


def test_it_names_versions_devices_and_implementations():
    text = examine(DoctorSettings(**DEFAULTS))
    assert torch.__version__ in text
    for word in ("attention", "selective scan", "causal convolution", "norm"):
        assert word in text
    assert "flash-attn runs on CUDA devices, not on cpu" in text


def test_it_says_how_to_get_the_compiled_scan(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path))
    text = examine(DoctorSettings(**DEFAULTS))
    assert "not built yet; python -m dnamdlm.doctor build=true builds it" in text


def test_what_was_forced_is_what_runs():
    lines = examine(DoctorSettings(**DEFAULTS | {"ops": "reference"})).splitlines()
    (scan,) = [line for line in lines if line.startswith("selective scan") and "float32" in line]
    assert scan.split()[3] == "reference"


def test_building_without_a_compiler_is_refused_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled_scan.shutil, "which", lambda name: None)
    with pytest.raises(KernelUnavailable, match=r"build=true, but g\+\+ is not installed"):
        examine(DoctorSettings(**DEFAULTS | {"build": True}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"ops": "fast"}, "ops='fast' is unknown"), ({"device": "moon"}, "device=moon")],
    ids=["ops", "device"],
)
def test_an_unknown_setting_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        examine(DoctorSettings(**DEFAULTS | settings))
