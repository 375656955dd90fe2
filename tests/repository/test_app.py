"""The page of `examples/app.py` runs as a script, with the values that it begins with."""

import importlib.util
import subprocess
import sys

import pytest

import dnamdlm
from tests.repository.sources import ROOT

APP = ROOT / "examples" / "app.py"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="marimo is not installed")
def test_the_page_runs_as_a_script(tmp_path):
    done = subprocess.run(
        [sys.executable, str(APP)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="marimo is not installed")
def test_its_cells_give_what_the_model_gives():
    spec = importlib.util.spec_from_file_location("app", APP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, found = module.app.run()
    model = dnamdlm.load("yeast-demo")
    assert found["sequences"] == model.sample(2, length=60, seed=1)
    assert found["filled"] == model.fill("ACGTACGTNNNNNNNNGATTACA")
    assert found["score"] == model.score("chrXVI:100001 A>G", "embedded:yeast")
    assert "<img" in found["picture"].text
