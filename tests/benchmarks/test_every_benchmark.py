"""Every benchmark can be started."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_imported(name):
    importlib.import_module(name)


def test_none_is_left_out():
    assert len(NAMES) > 20
    assert "benchmarks.quality.variant_suites" in NAMES
