"""Benchmarks of a trained model find the genome it was trained on."""

import json
import re
import sys
from types import SimpleNamespace

import pytest

from benchmarks.quality import infilling
from benchmarks.trained import genome_of, model_note
from dnamdlm.assembly.models import load_model
from tests.assembly.test_configs import compose
from tests.helpers.entries import train


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))
        train(compose("config=tiny", "trainer.max_steps=2", f"run_dir={folder}"))
        yield folder


def test_the_genome_is_that_of_the_run(run_dir):
    genome = genome_of(load_model(run_dir))
    assert [piece.chrom for piece in genome.splits.valid] == ["chrXV"]


def test_the_note_of_a_model_says_how_it_was_trained_and_on_what(run_dir):
    note = model_note(load_model(run_dir))
    assert re.search(r"trained on \S+, SHA-256 [0-9a-f]{16}, seed 1, by python -m ", note)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ({"name": "t.tsv"}, "trained on t.tsv, seed 1, by "),
        ({"kind": "hub"}, "trained, seed 1, by "),
        (None, "trained, seed 1, by "),
    ],
)
def test_the_note_of_a_model_of_a_table_or_of_text_says_what_is_known(tmp_path, source, wanted):
    run = {"command": ["dnamdlm.train", "a=/x/y.tsv"], "seed": 1, "data": {"source": source}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    loaded = SimpleNamespace(num_parameters=7, step=3, digest="0" * 64, run_dir=tmp_path)
    assert model_note(loaded).endswith(f"{wanted}python -m dnamdlm.train a=y.tsv")
    assert model_note(SimpleNamespace(**{**vars(loaded), "run_dir": None})).endswith("0" * 12)


@pytest.mark.slow
def test_infilling_prints_a_row_for_every_filler(run_dir, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv",
        ["infilling", "--model", str(run_dir), "--windows", "4", "--length", "64", "--smoke"],
    )  # fmt: skip
    infilling.main()
    shown = capsys.readouterr().out
    assert all(f"| {filler} |" in shown for filler in infilling.FILLERS)
