"""The models that come with the package: by name, without a network, as their cards say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import dnamdlm
from dnamdlm.assembly.finetune.prediction import head_folders
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.pretrained import place_of, pretrained_names
from dnamdlm.assembly.slimming import SlimSettings, slim
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.checkpoint import file_hash
from dnamdlm.lm.packed_counts import pack_counts
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, sample

NAME = "yeast-demo"
LARGEST = 1_000_000


@pytest.fixture(scope="module")
def model():
    return dnamdlm.load(NAME, device="cpu")


@pytest.fixture(scope="module")
def card():
    return (place_of(NAME) / "README.md").read_text(encoding="utf-8")


def test_the_package_has_the_model_of_yeast_in_less_than_a_megabyte():
    assert pretrained_names() == (NAME,)
    assert sum(path.stat().st_size for path in place_of(NAME).iterdir()) < LARGEST


def test_it_fills_samples_and_scores(model):
    filled = model.fill("ACGTNNNNACGT")
    assert re.fullmatch("ACGT[ACGT]{4}ACGT", filled)
    assert len(model.sample(1, length=20, seed=1)[0]) == 20
    # coding sequence of yeast is likelier than a run of one dinucleotide of C and G.
    likely, unlikely = model.log_likelihood(["ATGAAAGAATTATTGAAAGAT", "CGCGCGCGCGCGCGCGCGCGC"])
    assert likely > unlikely
    assert model.window_length == 256


def test_its_representation_says_what_it_is(model):
    assert "1,300 steps on embedded:yeast" in repr(model)
    assert "test split  1.9298 bits per base" in repr(model)


def test_the_card_has_the_hash_of_the_weights_and_the_figures_of_the_record(model, card):
    assert file_hash(place_of(NAME) / "model.safetensors") in card
    record = json.loads((place_of(NAME) / "config.json").read_text())["dnamdlm"]
    held_out = record["held_out"]["test"]
    (row,) = re.findall(r"\| \*\*this model\*\* \|.*", card)
    assert f"{held_out['bits']:.4f} +- {held_out['standard_error']:.4f}" in row
    assert f"| {held_out['baseline']} |" in card
    assert f"{held_out['baseline_bits']:.4f}" in card
    assert "license: apache-2.0" in card
    assert "config=demo" in card


def test_it_was_trained_on_the_genome_of_the_package(card, model):
    provenance = (place_of(NAME).parents[1] / "data/genome/embedded/PROVENANCE.md").read_text()
    assert model.loaded.data_record["sha256"] in provenance
    assert model.loaded.data_record["sha256"] in card
    assert "INSDC" in card


def test_a_path_of_the_same_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(CheckpointError, match="yeast-demo is a folder without a model"):
        load_model(NAME)


@pytest.mark.parametrize("name", ["yeast_demo", "yaest-demo"])
def test_a_misspelt_name_is_answered_with_the_right_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=rf"model={name} does not exist \(did you mean yeast"):
        load_model(name)


def test_nothing_is_written_into_the_package(tmp_path):
    with pytest.raises(ConfigError, match=r"lies in the package.*give out=FILE\.json"):
        evaluate(compose(f"model={NAME}", name="evaluate"))


def test_commands_that_need_something_else_say_so():
    with pytest.raises(CheckpointError, match="is a language model or an exported head; give the"):
        head_folders(Path(NAME), None)
    with pytest.raises(ConfigError, match="is an exported model, of which nothing can be left out"):
        slim(SlimSettings(NAME, "slim"))


def test_commands_take_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample(compose(f"model={NAME}", "num_sequences=2", "length=30", "out=x.fa", name="sample"))
    assert (tmp_path / "x.fa").read_text().count(">") == 2


@pytest.mark.slow
def test_the_figures_of_the_card_come_out_again(tmp_path, monkeypatch, card):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "test.json"
    evaluate(compose(f"model={NAME}", "split=test", f"out={out}", "device=cpu", name="evaluate"))
    likelihood = json.loads(out.read_text())["likelihood"]
    (row,) = [row for row in likelihood["rows"] if row["name"] == "model"]
    shown = re.search(r"\*\*this model\*\* \| ([0-9.]+) ", card)[1]
    # the card has four decimals; other processors differ in the sixth.
    assert row["classes"]["all"]["bits_per_base"] == pytest.approx(float(shown), abs=1e-4)


@pytest.mark.slow
def test_its_counts_are_those_of_the_training_chromosomes(tmp_path, model):
    genome = open_genome("embedded:yeast", cache_dir=str(tmp_path))
    counts = np.zeros(4**9, dtype=np.int64)
    for text in model.loaded.data_record["splits"]["train"]["intervals"]:
        name, _, span = text.rpartition(":")
        start, _, end = span.partition("-")
        codes = genome.fetch(Interval(name, int(start), int(end))).astype(np.int64) & 7
        for strand in (codes, 3 - codes[::-1]):
            words = sum(strand[i : len(strand) - 8 + i] * 4 ** (8 - i) for i in range(9))
            counts += np.bincount(words, minlength=4**9)
    own = model.loaded.lm.expert_gates.members[0].counts
    assert np.array_equal(own.numpy(), counts)
    assert len(pack_counts(own)) == 4**9 // 2
