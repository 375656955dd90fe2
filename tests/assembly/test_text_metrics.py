"""Columns of runs on text: named for tokens, and for bases where an earlier version began them."""

import csv

import pytest

from data_prep.text import main
from dnamdlm.assembly.reports import ReportSettings, report
from dnamdlm.assembly.train.training_run import train
from dnamdlm.training.metrics import OF_BASES, OF_TOKENS
from tests.helpers.entries import settings_of


@pytest.fixture
def run(tmp_path):
    """Trains a run on text for some steps; the same folder resumes."""
    (tmp_path / "lines.txt").write_text("".join(f"line {i} of text\n" for i in range(300)))
    assert main([f"files={tmp_path / 'lines.txt'}", f"out={tmp_path / 'bytes'}"]) == 0

    def train_to(steps):
        return train(settings_of(
            "train", "config=text", f"data.corpus={tmp_path / 'bytes'}",
            f"run_dir={tmp_path / 'run'}",
            "data.length=16", "backbone.hidden_size=8", "backbone.num_blocks=1",
            "backbone.num_heads=2", f"trainer.max_steps={steps}", "trainer.valid_every=2",
            "trainer.log_every=1", "trainer.valid_windows=2", "trainer.accelerator=cpu",
            "resume.allow=[trainer.max_steps]",
        ))  # fmt: skip

    return train_to


def rows_of(run_dir):
    with (run_dir / "metrics.csv").open() as stream:
        reader = csv.DictReader(stream)
        return tuple(reader.fieldnames), list(reader)


def test_a_run_on_text_counts_tokens_in_every_column(run):
    columns, rows = rows_of(run(2))
    assert columns == OF_TOKENS.columns
    assert [row["tokens"] for row in rows] == ["128", "256"]
    # an untrained model needs about 8 bits for one of 256 bytes; two windows estimate it roughly.
    assert 6 < float(rows[-1]["valid_bits_per_token"]) < 12


def test_a_run_with_columns_of_an_earlier_version_resumes_with_them(run):
    folder = run(2)
    path = folder / "metrics.csv"
    _, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(",".join(OF_BASES.columns) + "\n" + "".join(rest))
    before = path.read_text()
    columns, rows = rows_of(run(4))
    assert columns == OF_BASES.columns
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert path.read_text().startswith(before)
    assert rows[-1]["valid_bits_per_base"] != ""


@pytest.mark.parametrize("columns", [OF_BASES.columns, OF_TOKENS.columns], ids=["old", "new"])
def test_the_report_draws_the_curve_of_either_form(run, columns):
    folder = run(2)
    path = folder / "metrics.csv"
    rest = path.read_text().splitlines(keepends=True)[1:]
    path.write_text(",".join(columns) + "\n" + "".join(rest))
    page = report(ReportSettings(str(folder))).read_text()
    assert "Training curve in bits per token" in page
    assert "validation" in page.split("Training curve")[1]
