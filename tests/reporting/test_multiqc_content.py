"""Files of a report that MultiQC finds and reads."""

import importlib.util
import json
import subprocess
import sys

import pytest

from dnamdlm.reporting.multiqc_content import multiqc_files


def likelihood(bits):
    def row(name, label, value):
        cell = {"bits_per_base": value, "standard_error": 0.001}
        return {"name": name, "label": label, "classes": {"all": cell}}

    rows = [row("uniform", "Uniform", 2.0), row("markov_3", "Markov order 3", 1.95),
            row("model", "Model", bits)]  # fmt: skip
    return {"rows": rows, "best_markov": "markov_3"}


def test_the_table_has_the_model_and_its_difference_to_the_best_markov_model():
    files = multiqc_files("demo", "test", likelihood(1.92))
    assert all(name.endswith("_mqc.json") for name in files)
    table = json.loads(files["dnamdlm_general_mqc.json"])
    assert table["plot_type"] == "generalstats"
    found = table["data"]["demo"]
    assert found["bits_per_base"] == 1.92
    assert found["minus_markov"] == pytest.approx(-0.03)
    assert [next(iter(column)) for column in table["pconfig"]] == list(found)


def test_the_plot_has_a_bar_for_the_model_and_the_best_markov_model():
    files = multiqc_files("demo", "test", likelihood(1.92))
    plot = json.loads(files["dnamdlm_bits_mqc.json"])
    assert plot["data"] == {"demo": {"Model": 1.92, "Markov order 3": 1.95}}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("multiqc") is None, reason="multiqc is not installed")
def test_multiqc_puts_two_runs_into_one_table(tmp_path):
    for name, bits in (("a", 1.92), ("b", 1.94)):
        (tmp_path / name).mkdir()
        for file, text in multiqc_files(name, "test", likelihood(bits)).items():
            (tmp_path / name / file).write_text(text)
    command = [sys.executable, "-m", "multiqc", "--strict", "-o", str(tmp_path / "out"), "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/multiqc_data/multiqc_general_stats.txt").read_text()
    assert "1.92" in table
    assert "1.94" in table
