"""The page with igv.js: what is in it, and what a browser shows of it."""

import json
import re
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.evaluation.likelihood.base_tracks import base_tracks
from dnamdlm.evaluation.likelihood.browser_record import BrowserRecord
from dnamdlm.reporting.other_reports import tracks_page
from dnamdlm.reporting.run_report import write_report
from tests.helpers.browser import chromium
from tests.reporting.test_report import complete_run

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --window-size=1200,900 "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--virtual-time-budget=20000"
)
# of letters in `show_tracks.js`, as shares of 255.
COLORS = {"A": (42, 138, 93), "C": (31, 111, 178), "G": (179, 105, 11), "T": (184, 64, 58)}


def record(label="demo", chrom="chr:1"):
    """Of 400 bases, ACGT again and again, each of which the model is sure of."""
    codes = (np.arange(400) % 4).astype(np.uint8)
    sure = np.full((400, 4), np.log(0.01), np.float32)
    sure[np.arange(400), codes] = np.log(0.97)
    found = BrowserRecord({chrom: 90_000}, label)
    found.add(chrom, 50_000, codes, base_tracks(sure, codes))
    gene = Feature("gene", Interval(chrom, 50_010, 50_300, "-"), "A<B>1")
    return found.content([gene, Feature("CDS", Interval(chrom, 50_020, 50_200, "-"))])


def test_a_page_loads_nothing_and_escapes_what_comes_from_files():
    page = tracks_page(record(label="<b>demo</b>"))
    assert "<b>demo" not in page
    assert "A<B>1" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert re.fullmatch(r".*script-src 'sha256-[\w+/=]{44}' 'sha256-[\w+/=]{44}'", policy)
    outside = page[: page.index("<script>")] + page[page.rindex("</script>") :]
    assert "http:" not in outside
    assert "https:" not in outside


@pytest.mark.slow
def test_the_report_of_a_run_shows_the_page_too(tmp_path):
    run = complete_run(tmp_path / "run")
    plain = write_report(run).read_text(encoding="utf-8")
    assert "browser-data" not in plain
    assert "script-src" not in plain
    (run / "evaluation" / "browser.json").write_text(json.dumps(record()))
    page = write_report(run).read_text(encoding="utf-8")
    assert 'id="browser-data"' in page
    assert page.count("script-src 'sha256-") == 1


@pytest.mark.slow
def test_a_browser_shows_letters_scores_and_genes(tmp_path):
    browser = chromium()
    page, shot = tmp_path / "page.html", tmp_path / "shot.png"
    page.write_text(tracks_page(record()), encoding="utf-8")
    common = [browser, *FLAGS.split(), f"--user-data-dir={tmp_path / 'browser'}"]
    options = {"capture_output": True, "text": True, "timeout": 120}
    found = subprocess.run([*common, "--dump-dom", page.as_uri()], check=True, **options).stdout
    assert 'data-ready="yes"' in found
    subprocess.run([*common, f"--screenshot={shot}", page.as_uri()], check=True, **options)
    picture = np.round(imread(shot)[..., :3] * 255).astype(int)
    for letter, color in COLORS.items():
        is_letter = (np.abs(picture - color) <= 2).all(axis=2)
        rows = np.flatnonzero(is_letter.sum(axis=1) > 20)
        # the row of coloured squares of the reference is ten pixels high; letters fill the track.
        assert len(rows) > 50, letter
