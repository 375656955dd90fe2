"""Reports of compared samples, of loci and of fine-tuning: pages, files beside them, mistakes."""

import csv
import json

import numpy as np
import pytest

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import DataError
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.likelihood.locus_bits import locus_record, record_name, write_record
from dnamdlm.reporting.locus_figure import locus_figure
from dnamdlm.reporting.motif_figures import draw_logo
from dnamdlm.reporting.other_reports import write_finetune_report, write_samples_report
from dnamdlm.reporting.prediction_figures import confusion_figure
from dnamdlm.reporting.quality_section import quality_files
from dnamdlm.reporting.run_report import write_report
from tests.reporting.quality_case import NAMES, quality_section

HOSTILE = "<script>x</script>"


@pytest.fixture
def quality():
    return quality_section(HOSTILE)


@pytest.fixture
def evaluation(tmp_path, quality):
    sections = {"provenance": {"command": ["dnamdlm.evaluate"]}, "quality": quality}
    return write_evaluation(tmp_path / "s.evaluation.json", "reference", sections)


def test_the_page_of_samples_has_every_figure_and_its_files(evaluation):
    target = write_samples_report(evaluation)
    page = target.read_text()
    assert target.name == "s.evaluation.html"
    names = ("reference_samples", "ranks", "kmer3", "kmer6", "gc", "dinucleotides", "motifs",
             "logos", "infilling")  # fmt: skip
    tables = {"quality.csv", "gc.csv", "kmers_3.csv", "kmers_6.csv", "longest_match.csv"}
    files = {path.name for path in evaluation.with_name("s.evaluation_data").iterdir()}
    assert files == {f"{name}{end}" for name in names for end in (".png", ".svg")} | tables
    assert page.count("<svg") == len(names)
    assert "64 generated sequences of 80 are compared with the test split" in page
    assert "generated 100 to 150 bp, half of them 100 to 120" in page
    # a fold of 2^1 in each sample.
    assert "2.000<small>2.000 to 2.000</small>" in page
    assert HOSTILE not in page


def test_the_longest_copy_is_named_with_its_place(evaluation):
    page = write_samples_report(evaluation).read_text()
    assert "<code>chrI:40-139 (+)</code>, 0-based" in page


def test_an_older_section_without_words_and_longest_matches_is_shown(evaluation, quality):
    quality.pop("words")
    quality["copies"] = {
        name: value
        for name, value in quality["copies"].items()
        if name not in ("longest", "match_lengths")
    }
    quality["figures"] = [row for row in quality["figures"] if "match_" not in row["name"]]
    write_evaluation(evaluation, "reference", {"quality": quality})
    page = write_samples_report(evaluation).read_text()
    assert "Words of k bases" not in page
    assert "Memorised sequence" in page


def test_the_table_of_a_page_holds_every_number(quality):
    rows = list(csv.DictReader(quality_files(quality)["quality.csv"].splitlines()))
    assert len(rows) == len(quality["figures"]) * len(NAMES)
    assert (rows[1]["sample"], rows[1]["value"], rows[1]["low"]) == ("real", "1.5", "1.4")


def test_a_file_without_samples_is_one_sentence(tmp_path):
    path = write_evaluation(tmp_path / "x.json", "test", {})
    with pytest.raises(DataError, match="compares no samples"):
        write_samples_report(path)
    path = write_evaluation(tmp_path / "y.json", "test", {"text": {}})
    with pytest.raises(DataError, match="is an evaluation of a model of text"):
        write_samples_report(path)


def record():
    where = Interval("chrI", 100, 400)
    bits = {"model": np.linspace(1, 2, 300), "markov": np.full(300, 1.9)}
    gene = Feature("CDS", Interval("chrI", 50, 200, "+"))
    return where, locus_record(
        where, bits, [gene], markov_label="Markov order 3", place="test split", made_by={}
    )


def test_a_locus_has_two_curves_and_its_exons_cut_to_it():
    upper, lower = locus_figure(record()[1]).figure.axes
    assert {line.get_label() for line in upper.lines} >= {"This model", "Markov order 3"}
    (box,) = lower.patches
    assert (box.get_x(), box.get_width()) == (100, 100)


def test_a_report_shows_the_loci_of_its_run(tmp_path):
    where, content = record()
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    write_record(tmp_path / "evaluation" / record_name(where), content)
    page = write_report(tmp_path).read_text()
    assert "Bits per base along a locus" in page
    assert (tmp_path / "report_data" / "locus_1.svg").is_file()


def test_a_letter_is_as_high_as_its_information():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_logo(axes, np.array([[10.0, 0, 0, 0], [5, 5, 0, 0], [1, 1, 1, 1]]))
    heights = [patch.get_path().get_extents().height for patch in axes.patches]
    # one base: 2 bits; two alike: 1 bit in two letters; all alike: nothing.
    assert heights == pytest.approx([2.0, 0.5, 0.5])


def test_a_confusion_matrix_has_shares_of_rows():
    axes = confusion_figure({"this model": [[3, 1], [0, 0]]}, ["no", "yes"]).figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["75 %", "25 %", "0 %", "0 %"]


def results():
    summary = {"mean": 0.8, "max_minus_min": 0.1}
    sets = {"test": {"accuracy": summary}, "test_without_leaks": {"accuracy": summary}}
    bins = [{"count": 0}, {"count": 4, "confidence": 0.7, "accuracy": 0.5}]
    tested = {"figures": {"accuracy": 0.8}, "intervals": {"accuracy": [0.6, 0.9]}}
    split = {
        "predictor": "model",
        "seed": 0,
        "test": tested,
        "confusion": [[3, 1], [1, 3]],
        "reliability": bins,
    }
    return {
        "task": HOSTILE,
        "label_names": ["a", "b"],
        "rows": {"train": 10, "test": 8},
        "summary": {"model": sets},
        "splits": [split, split | {"seed": 1}],
        "leaks": {"any": 2},
    }


def test_the_report_of_fine_tuning_has_both_figures(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    page = write_finetune_report(tmp_path).read_text()
    assert page.count("<svg") == 2
    assert HOSTILE not in page
    files = {path.name for path in (tmp_path / "report_data").iterdir()}
    assert files == {f"{n}{end}" for n in ("confusion", "reliability") for end in (".png", ".svg")}


def test_a_regression_has_no_matrix(tmp_path):
    content = results()
    for split in content["splits"]:
        split.pop("confusion")
        split.pop("reliability")
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "<svg" not in write_finetune_report(tmp_path).read_text()


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_damaged_results_are_one_sentence(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match="not readable as results of finetune"):
        write_finetune_report(tmp_path)
