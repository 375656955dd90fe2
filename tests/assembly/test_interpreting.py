"""Mutagenesis and dependency maps as a command: numbers, files, mistakes."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from dnamdlm.assembly import interpreting
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.interpret import interpreted_places
from dnamdlm.assembly.interpret.interpreted_places import places_of
from dnamdlm.assembly.interpret.mutagenesis import BASES, predicted_changes
from dnamdlm.assembly.interpreting import Interpretable
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import ConfigError, DataError
from tests.assembly.test_configs import compose
from tests.assembly.test_scoring import HEADER, SEQUENCE, random_model
from tests.helpers.entries import interpret

LOCUS = Interval("a", 20, 32)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome with an N and a short record, and a model with random weights in float64."""
    loaded = random_model()
    monkeypatch.setattr(interpreting, "load_model", lambda *_args, **_options: loaded)
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    with_n = SEQUENCE[:25] + "N" + SEQUENCE[26:]
    (tmp_path / "g.fa").write_text(f">a\n{with_n}\n>b|1\nACGTTGCATT\n")
    return tmp_path


@pytest.fixture
def model():
    return Model(random_model())


def run(folder, *overrides):
    given = [f"data.fasta={folder}/g.fa", f"out={folder}/made"]
    return interpret(compose("model=x", *given, *overrides, name="interpret"))


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_exchange_has_the_scores_of_the_command_score(files, model):
    """llr and elbo of `interpret` are those of `score`, whose windows and noise it has."""
    rows = [
        (place, SEQUENCE[place], alt) for place in range(20, 32) if place != 25
        for alt in BASES if alt != SEQUENCE[place]
    ]  # fmt: skip
    lines = [f"a\t{place + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n" for place, ref, alt in rows]
    (files / "v.vcf").write_text(HEADER + "".join(lines))
    scored = model.score_variants(files / "v.vcf", files / "g.fa", draws=2, seed=4)
    (found,) = model.interpret(
        "a:20-32", files / "g.fa", parts="mutagenesis", scores=["llr", "elbo"], draws=2, seed=4
    )
    table = found.table()
    assert list(zip(table["pos"] - 1, table["ref"], table["alt"], strict=True)) == rows
    for name in ("llr", "delta_elbo", "delta_elbo_se"):
        expected = [values[0] for values in scored[name]]
        # float64; the rows share their calls with others.
        assert table[name].tolist() == pytest.approx(expected, abs=1e-10)


def test_the_base_that_is_there_scores_zero_and_n_has_no_score(files, model):
    (found,) = model.interpret("a:20-32", files / "g.fa", parts="mutagenesis")
    assert found.sequence == SEQUENCE[20:25] + "N" + SEQUENCE[26:32]
    scores, log_probs = found.mutagenesis.scores["llr"], found.mutagenesis.log_probs
    own = [BASES.find(letter) for letter in found.sequence]
    known = [place for place in range(12) if place != 5]
    assert [scores[place, own[place]] for place in known] == [0.0] * 11
    assert np.isnan(scores[5]).all()
    # four probabilities of float64.
    assert np.exp(log_probs[known]).sum(axis=1) == pytest.approx(1, abs=1e-14)


def test_the_dependency_map_is_that_of_single_exchanges(files, model):
    """One pair by hand: J[a, b] from log-probabilities of strings with one base exchanged."""
    (found,) = model.interpret(
        "b|1:0-10", files / "g.fa", parts="dependency", stride=10, strands="one"
    )
    sequence = "ACGTTGCATT"
    for i, j in ((2, 7), (7, 2), (0, 1)):
        strings = [sequence[:i] + base + sequence[i + 1 :] for base in BASES]
        table = np.array([row[j] for row in model.log_probs(strings)], np.float64)
        centred = table - table.mean(0, keepdims=True)
        centred -= centred.mean(1, keepdims=True)
        other = [sequence[:j] + base + sequence[j + 1 :] for base in BASES]
        turned = np.array([row[i] for row in model.log_probs(other)], np.float64)
        turned -= turned.mean(0, keepdims=True)
        turned -= turned.mean(1, keepdims=True)
        expected = (np.sqrt((centred**2).sum()) + np.sqrt((turned**2).sum())) / 2
        # log_probs gives float32 of numbers of size 2.
        assert found.dependency.norms[i, j] == pytest.approx(expected, abs=16 * 2.0**-23)


def test_positions_without_a_base_are_left_out_of_the_map(files, model):
    (found,) = model.interpret("a:20-32", files / "g.fa", parts=["dependency"], stride=3)
    norms = found.dependency.norms
    assert np.isnan(norms[5]).all()
    assert np.isnan(norms[:, 5]).all()
    others = np.delete(np.delete(norms, 5, 0), 5, 1)
    assert np.isfinite(others).all()
    assert others == pytest.approx(others.T, abs=0)


def test_the_files_hold_what_python_gives(files, model):
    folder, sentence = run(files, "locus=a:20-32", "pairs=5", "min_distance=3")
    (found,) = model.interpret("a:20-32", files / "g.fa", pairs=5, min_distance=3)
    assert "1 stretch, 12 bases" in sentence
    names = {path.name for path in folder.iterdir()}
    stem = "a_20_32"
    assert names == {
        f"{stem}.interpret.json", f"{stem}.mutagenesis.tsv", f"{stem}.dependency.npz",
        f"{stem}.dependency.bedpe",
        *(f"{stem}.{part}.{kind}" for part in ("mutagenesis", "dependency")
          for kind in ("png", "svg")),
    }  # fmt: skip
    rows = read(folder / f"{stem}.mutagenesis.tsv")
    table = found.table()
    assert [int(row["pos"]) for row in rows] == table["pos"].tolist()
    # six digits are written.
    assert [float(row["llr"]) for row in rows] == pytest.approx(table["llr"].tolist(), rel=1e-5)
    influences = [
        found.dependency.influences[int(row["pos"]) - 21, BASES.index(row["alt"])] for row in rows
    ]
    assert table["influence"].tolist() == influences
    assert [float(row["influence"]) for row in rows] == pytest.approx(influences, rel=1e-5)
    with np.load(folder / f"{stem}.dependency.npz") as arrays:
        np.testing.assert_array_equal(arrays["norms"], found.dependency.norms)
        np.testing.assert_array_equal(arrays["influences"], found.dependency.influences)
        assert "".join(arrays["sequence"]) == found.sequence
    pairs = [
        line.split("\t") for line in (folder / f"{stem}.dependency.bedpe").read_text().splitlines()
    ]
    assert len(pairs) == 5
    assert [(int(p[1]) - 20, int(p[4]) - 20) for p in pairs] == [(i, j) for i, j, _ in found.pairs]
    assert all(int(p[4]) - int(p[1]) >= 3 for p in pairs)
    record = json.loads((folder / f"{stem}.interpret.json").read_text())
    assert record["dependency"]["asymmetry"] == found.dependency.asymmetry
    assert (folder / f"{stem}.mutagenesis.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_writes_the_same_bytes(files):
    first = {path.name: path.read_bytes() for path in run(files, "locus=a:20-32")[0].iterdir()}
    again = {path.name: path.read_bytes() for path in run(files, "locus=a:20-32")[0].iterdir()}
    assert first == again


def test_without_a_locus_every_record_is_interpreted(files):
    (files / "g.fa").write_text(">x\nACGTAC\n>y/2\nGGATTA\n")
    folder, sentence = run(files, "parts=[mutagenesis]")
    assert "2 stretches, 12 bases" in sentence
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {"x_0_6", "y_2_0_6"}


def test_a_circle_has_neighbours_across_its_origin(files, model):
    (files / "g.fa").write_text(">c\nACGTTGCATTGACCAT\n>t\nCATTGACCATACGTTG\n")
    options = {"parts": ["mutagenesis", "dependency"], "strands": "one", "stride": 4}
    (circle,) = model.interpret("c:14-20", files / "g.fa", circular=["c"], length=12, **options)
    # the same bases in the middle of a record that is cut elsewhere: places 14, 15, 0 .. 3 of c.
    (linear,) = model.interpret("t:8-14", files / "g.fa", length=12, **options)
    assert circle.sequence == linear.sequence == "ATACGT"
    assert circle.dependency.norms.shape == linear.dependency.norms.shape
    inner = slice(0, 2)
    ours, theirs = (x.mutagenesis.log_probs[inner] for x in (circle, linear))
    assert ours == pytest.approx(theirs, abs=1e-10)


def test_predictions_of_a_head_are_compared_with_that_of_the_sequence(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGN\n")
    store = prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")
    weights = {"A": 1.0, "C": 10.0, "G": 100.0, "T": 1000.0, "N": 0.0}

    def predict(sequences):
        return np.array([sum(weights[x] for x in text) for text in sequences])

    found = predicted_changes(predict, store, Interval("a", 0, 4), "value")
    expected = np.array([[weights[b] - weights[ref] for b in BASES] for ref in "ACG"])
    np.testing.assert_array_equal(found.scores["value"][:3], expected)
    assert np.isnan(found.scores["value"][3]).all()


@pytest.mark.parametrize(
    ("overrides", "error", "sentence"),
    [
        (["locus=a:5"], ConfigError, "locus=a:5 is not a valid locus"),
        (["locus=a:290-310"], DataError, "a:290-310"),
        (["locus=q:0-5"], DataError, "q"),
        (["locus=a:0-300"], ConfigError, "parts=\\[mutagenesis\\]"),
        (["parts=[]", "locus=a:0-5"], ConfigError, "parts"),
        (["locus=a:0-5", "scores=[pca]"], ConfigError, "scores"),
        (["locus=a:0-5", "stride=0"], ConfigError, "stride=0 must be at least 1"),
        (["locus=[a:0-5,a:0-5]"], ConfigError, "would both be written as a_0_5"),
    ],
)
def test_what_cannot_be_interpreted_is_one_sentence(files, overrides, error, sentence):
    with pytest.raises(error, match=sentence):
        run(files, *overrides)
    assert not (files / "made").exists()


def test_a_locus_or_a_file_is_needed(files):
    with pytest.raises(ConfigError, match="locus is not set"):
        interpret(compose("model=x", f"out={files}/made", name="interpret"))


def test_a_genome_is_too_long_for_every_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreted_places, "MAX_MUTATED", 5)
    (tmp_path / "g.fa").write_text(">a\nACGTAC\n")
    store = prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")
    with pytest.raises(ConfigError, match="6 bases are to be interpreted, at most 5"):
        places_of(store, ())


def test_an_autoregressive_model_is_refused(files):
    loaded = random_model("config=tiny", "lm=ar", "backbone=ar")
    causal = Interpretable()
    causal.loaded = loaded
    with pytest.raises(ConfigError, match="does not see both sides"):
        causal.interpret("a:20-32", files / "g.fa")


def test_a_table_without_mutagenesis_is_empty(files, model):
    (found,) = model.interpret("a:20-32", files / "g.fa", parts=["dependency"], stride=12)
    assert isinstance(found.table(), pd.DataFrame)
    assert len(found.table()) == 0
