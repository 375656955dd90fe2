"""Tests of samples and loci as commands: files that are written, mistakes."""

import json

import numpy as np
import pytest

from dnamdlm.assembly.judge import judging
from dnamdlm.assembly.judge.judging import judge
from dnamdlm.assembly.tracks import locus
from dnamdlm.assembly.tracks.locus import parse_locus, tracks
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.samples.quality_lines import quality_text
from tests.assembly.test_scoring import random_model
from tests.helpers.entries import settings_of

BASES = "".join(np.random.default_rng(3).choice(list("ACGT"), 4000))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Sequences, a genome, and a model with random weights in place of one from disk."""
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.fa").write_text(f">a\n{BASES}\n")
    (tmp_path / "genome.fa").write_text(
        "".join(f">c{i}\n{BASES[1000 * i : 1000 * i + 1000]}\n" for i in range(4))
    )
    rng = np.random.default_rng(4)
    made = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(4)]
    (tmp_path / "s.fa").write_text("".join(f">s{i}\n{text}\n" for i, text in enumerate(made)))
    loaded = random_model("data.length=64")
    for module in (judging, locus):
        monkeypatch.setattr(module, "load_model", lambda *_args, **_options: loaded)
    return tmp_path


def run(*overrides):
    """`tracks` where a locus is given, else `judge`."""
    if any(item.startswith("locus=") for item in overrides):
        return tracks(settings_of("tracks", *overrides))
    return judge(settings_of("judge", *overrides))


LOCUS = (
    "model=x", "data.fasta=genome.fa", "data.train=[c0,c1]", "data.valid=[c2]", "data.test=[c3]",
)  # fmt: skip


def test_samples_are_compared_with_a_file_without_a_model(folder):
    out, text = run("samples=s.fa", "reference=real.fa")
    assert out.resolve() == folder / "s.evaluation.json"
    content = json.loads(out.read_text())
    section = content["quality"]
    assert content["split"] == "reference"
    assert (section["num_sequences"], section["reference"]) == (4, "real.fa")
    # four sequences are too few to be told apart, and there is no model.
    assert {"discriminators", "infilling", "Frechet distance of states"} <= set(section["left_out"])
    assert "4 generated sequences, compared with real.fa" in text
    # one long record is no sequence to compare lengths with.
    assert set(section["lengths"]) == {"generated"}


def test_a_model_adds_its_states_and_refilled_gaps(folder):
    out, _ = run("model=x", "samples=s.fa", "reference=real.fa", "infill_windows=2")
    section = json.loads(out.read_text())["quality"]
    assert "frechet_model" in {row["name"] for row in section["figures"]}
    gaps = {(row["gap"], row["windows"]) for row in section["infilling"]}
    # 62 windows of 64 bases, of which half may be refilled; gaps of 64 fill a window.
    assert gaps == {(1, 31), (4, 16), (16, 4)}
    assert "gaps of 4: model, drawn" in quality_text(section)


def test_lengths_are_compared_where_the_reference_has_such_sequences(folder):
    lines = (f">r{i}\n{BASES[80 * i : 80 * i + 80]}\n" for i in range(40))
    (folder / "many.fa").write_text("".join(lines))
    out, _ = run("samples=s.fa", "reference=many.fa")
    rows = {row["name"]: row for row in json.loads(out.read_text())["quality"]["figures"]}
    cells = rows["length"]["cells"]
    assert (cells["generated"]["value"], cells["real"]["value"]) == (60.0, 80.0)


def test_a_locus_is_a_track_and_two_pictures(folder):
    out, text = run(*LOCUS, "locus=c3:100-180", "out=x.tsv", "max_order=2")
    lines = out.read_text().splitlines()
    assert lines[0] == "chrom\tstart\tend\tmodel\tmarkov"
    assert len(lines) == 81
    bits = np.array([line.split("\t")[3:] for line in lines[1:]], float)
    assert (bits > 0).all()
    assert {path.name for path in folder.glob("x.*")} == {"x.tsv", "x.png", "x.svg"}
    assert "c3:100-180 (test split)" in text


def test_a_locus_is_read_as_half_open():
    assert parse_locus("chr|a:b:0-10") == Interval("chr|a:b", 0, 10)


@pytest.mark.parametrize("text", ["chrI", "chrI:1", "chrI:5-5", "chrI:9-2", "chrI:0-9000000"])
def test_what_is_not_a_locus_is_refused(text):
    with pytest.raises(ConfigError, match=r"not a valid locus|can be drawn"):
        parse_locus(text)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["samples=s.fa"], ConfigError, "neither a model nor a reference"),
        (["samples=s.fa", "reference=none.fa"], DataError, r"none\.fa"),
        (["samples=none.fa", "reference=real.fa"], DataError, r"none\.fa"),
        (["samples=s.fa", "reference=real.fa", "scorer=gpt2"], ConfigError, "it needs a model"),
        (["samples=s.fa", "reference=real.fa", "motifs=none.txt"], DataError, "cannot be read"),
        (["samples=s.fa", "reference=real.fa", "infill_windows=-1"], ConfigError, "at least 0"),
        (["samples=s.fa", "reference=s.fa", "out=no/such/x.json"], DataError, "no/such"),
        ([*LOCUS, "locus=c0:0-70", "out=x.wig"], ConfigError, "must end in"),
        ([*LOCUS, "locus=c0:0-1001", "out=x.tsv"], DataError, "c0"),
        ([*LOCUS, "locus=c9:0-10", "out=x.tsv"], DataError, "c9"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_file(folder, overrides, error, message):
    before = {path.name for path in folder.iterdir()} | {"cache"}
    with pytest.raises(error, match=message) as found:
        run(*overrides)
    assert "\n" not in str(found.value)
    assert {path.name for path in folder.iterdir()} | {"cache"} == before
