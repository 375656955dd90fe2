"""The overlap of splits as the entries ask for it, and the refusal to test on training bases."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dnamdlm.assembly.overlap import refuse_trained_bases, report_overlap, store_overlap
from dnamdlm.assembly.shared_with_train import windows_sentences
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.mixture import GenomeMixture
from dnamdlm.errors import ConfigError, DataError


@pytest.fixture
def fasta(tmp_path):
    rng = np.random.default_rng(0)
    first, second = ("".join(rng.choice(list("ACGT"), 2000)) for _ in range(2))
    path = tmp_path / "genome.fa"
    path.write_text(f">a\n{first}\n>b\n{first[300:900]}{second}\n>c\n{second[::-1]}\n")
    return path


@pytest.fixture
def data(fasta, tmp_path):
    def settings(**changes):
        folder = str(tmp_path / "cache")
        return GenomeData(fasta=str(fasta), cache_dir=folder, length=100, **changes)

    return settings


def test_the_report_of_a_genome_is_logged_and_stored(data, tmp_path, caplog):
    caplog.set_level("INFO")
    report = report_overlap(data(train=["a"], test=["b"]).open())
    assert report["pairs"][0]["copies"] == 6
    assert "overlap of the splits: test in train: 0 shared bases; of 26 windows 6 copies" in (
        caplog.text
    )
    store_overlap(report, tmp_path)
    assert json.loads((tmp_path / "overlap.json").read_text()) == report


def test_expanded_rows_share_bases_by_position(data, tmp_path):
    bed = tmp_path / "s.bed"
    bed.write_text("a\t0\t400\ttrain\na\t400\t900\ttest\n")
    rows = data(bed=str(bed))
    assert report_overlap(rows.open())["pairs"][0]["shared_bases"] == 0
    # a length that divides 2^20.
    expanded = GenomeData(
        fasta=rows.fasta, cache_dir=rows.cache_dir, length=128, bed=str(bed), expand=True
    )
    assert report_overlap(expanded.open())["pairs"][0]["shared_bases"] == 1600


def test_each_genome_of_a_mixture_has_its_report(fasta, tmp_path):
    other = tmp_path / "other.fa"
    other.write_text(fasta.read_text().replace(">c", "A\n>c"))
    genome = {"fasta": str(fasta), "train": ["a"], "test": ["b"]}
    mixture = GenomeMixture(
        genomes={"one": genome, "two": genome | {"fasta": str(other), "test": ["c"]}},
        length=100,
        cache_dir=str(tmp_path / "cache"),
    )
    reports = report_overlap(mixture.open())["genomes"]
    assert [reports[name]["pairs"][0]["copies"] for name in ("one", "two")] == [6, 0]


def test_data_without_a_genome_have_no_report():
    text = SimpleNamespace(parts={})
    with pytest.raises(ConfigError, match="overlap_report=true compares the splits of a genome"):
        report_overlap(text)


@pytest.mark.parametrize("route", ["records", "bed", "fractions"])
def test_a_test_on_training_bases_is_refused_by_any_route(data, tmp_path, route):
    record = data(train=["a"], valid=["c"], test=["b"]).open().describe()
    bed = tmp_path / "s.bed"
    bed.write_text("b\t0\t400\ttrain\na\t1900\t2000\ttest\n")
    changes, split, found = {
        "records": ({"train": ["b"], "test": ["a"]}, "test", "2,000 bases .* of a:0-2000"),
        "bed": ({"bed": str(bed)}, "test", "100 bases .* of a:1900-2000"),
        # the fractions take c for testing and a for validation.
        "fractions": (
            {"test_fraction": 0.3, "valid_fraction": 0.3},
            "valid",
            "2,000 bases .* of a:0-2000",
        ),
    }[route]
    genomes = {"": data(**changes).open()}
    with pytest.raises(DataError, match=f"{found}; test it on intervals that it has not seen"):
        refuse_trained_bases(record, genomes, split)
    refuse_trained_bases(record, genomes, "train")
    refuse_trained_bases({}, genomes, split)
    refuse_trained_bases({"genomes": {"x": record | {"sha256": "other"}}}, genomes, split)


def test_the_splits_of_the_run_itself_are_not_refused(data):
    genome = data(train=["a"], valid=["c"], test=["b"]).open()
    for split in ("train", "valid", "test"):
        refuse_trained_bases(genome.describe(), {"": genome}, split)


def test_the_card_says_what_the_splits_of_a_run_share(data, tmp_path):
    store_overlap(report_overlap(data(train=["a"], test=["b"], valid=["c"]).open()), tmp_path)
    (sentence,) = windows_sentences(tmp_path)
    assert sentence == (
        "The test split shares 0 bases with the training split; of its 26 windows 6 are exact "
        "copies, 0 reverse-complement copies and 6 near copies"
    )
    assert list(windows_sentences(None)) == list(windows_sentences(tmp_path / "none")) == []
    (tmp_path / "overlap.json").write_text('{"pairs": [{"split": "train"}]}')
    assert list(windows_sentences(tmp_path)) == []
