"""Tracks of bases: their numbers by the formulas, and what a page keeps of them."""

import json
from math import exp, log2

import numpy as np
import pytest

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.base_tracks import TRACKS, base_tracks
from dnamdlm.evaluation.likelihood.browser_record import (
    MAX_BASES,
    BrowserRecord,
    read_browser_record,
)


def probabilities(size):
    values = np.random.default_rng(1).dirichlet(np.ones(4), size)
    return np.log(values).astype(np.float32)


def test_tracks_are_those_of_the_formulas():
    log_probs, codes = probabilities(5), np.array([0, 3, 4, 1, 2], np.uint8)
    found = base_tracks(log_probs, codes)
    assert list(found) == list(TRACKS)
    for place, code in enumerate(codes.tolist()):
        if code == 4:
            assert all(np.isnan(row[place]) for row in found.values())
            continue
        p = [exp(x) for x in log_probs[place].tolist()]
        entropy = -sum(x * log2(x) for x in p)
        expected = [*log_probs[place].tolist(), *(x * (2 - entropy) for x in p), entropy]
        expected.append(-log2(p[code]))
        # float32 is written.
        np.testing.assert_allclose([row[place] for row in found.values()], expected, rtol=2e-6)


def test_an_impossible_letter_has_no_height():
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[1.0, 0.0, 0.0, 0.0]], np.float32))
    found = base_tracks(log_probs, np.zeros(1, np.uint8))
    assert [float(found[f"logo_{x}"][0]) for x in "ACGT"] == [2.0, 0.0, 0.0, 0.0]
    assert (float(found["entropy"][0]), float(found["bits"][0])) == (0.0, 0.0)


def collected(*places, size=300):
    record = BrowserRecord({"a": 50_000, "b": 900}, "demo")
    for chrom, start in places:
        codes = (np.arange(size) % 5).astype(np.uint8)
        record.add(chrom, start, codes, base_tracks(probabilities(size), codes))
    return record


def test_a_page_has_the_letters_and_the_genes_that_are_seen():
    features = [
        Feature("gene", Interval("a", 290, 800, "-"), "ABC1"),
        Feature("CDS", Interval("a", 300, 340, "-")),
        Feature("CDS", Interval("a", 300, 340, "+")),
        Feature("gene", Interval("a", 900, 990, "+"), "FAR2"),
    ]
    found = collected(("a", 10), ("a", 310), ("b", 0)).content(features)
    json.dumps(found, allow_nan=False)
    first, second = found["stretches"]
    assert (first["chrom"], first["start"], first["length"]) == ("a", 10, 50_000)
    assert first["sequence"] == "ACGTN" * 120
    assert (second["chrom"], len(second["sequence"])) == ("b", 300)
    assert first["letters"][4] is None
    tracks = base_tracks(probabilities(300), np.zeros(300, np.uint8))
    assert first["letters"][300] == round(float(tracks["logo_A"][0]), 3)
    assert found["genes"] == [
        {"chrom": "a", "start": 290, "end": 800, "strand": "-", "name": "ABC1",
         "exons": [[300, 340]]}
    ]  # fmt: skip


def test_a_page_begins_where_letters_are_highest():
    codes = np.zeros(500, np.uint8)
    sure = np.full((500, 4), np.log(0.25), np.float32)
    sure[200:320] = np.log([0.97, 0.01, 0.01, 0.01])
    record = BrowserRecord({"a": 900}, "demo")
    record.add("a", 100, codes, base_tracks(sure, codes))
    assert record.content([])["view"] == {"chrom": "a", "start": 300, "end": 420}


def test_a_page_keeps_the_first_bases_alone():
    record = collected(*(("a", 300 * i) for i in range(100)))
    (only,) = record.content([])["stretches"]
    assert len(only["sequence"]) == len(only["bits"]) == MAX_BASES == record.num_bases


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "dnamdlm.browser", "format_version": 9}'])
def test_a_damaged_record_is_one_sentence(tmp_path, text):
    (tmp_path / "browser.json").write_text(text)
    with pytest.raises(DataError, match="run tracks again"):
        read_browser_record(tmp_path / "browser.json")
