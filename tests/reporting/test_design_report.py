"""The page of designs: its figures, its numbers, hostile names, and a look in a real browser."""

import re
import subprocess

import numpy as np
import pytest

from dnamdlm.reporting.design_report import PAGE_BEGINS, design_page
from tests.helpers.browser import chromium

HOSTILE = "<script>x</script>"
SETS = ["designs", "draws that pass, no reward", "most active natural", "mutation with selection"]


def report_of(*, natural=True, audit=True, motifs=False):
    rng = np.random.default_rng(2)
    oracles = ["reward", "audit"][: 1 + audit]
    names = SETS if natural else SETS[:2]
    values = {key: {name: rng.normal(size=12).tolist() for name in names} for key in oracles}
    figures = {"values": values}
    if natural:
        shares = rng.dirichlet(np.ones(256), 2).tolist()
        figures["words"] = {"generated": shares[0], "reference": shares[1]}
    if motifs:
        fold = {"value": 1.0, "low": 0.5, "high": 1.5}
        figures["motifs"] = {
            "num_motifs": 1,
            "names": [HOSTILE],
            "per_kilobase": {"generated": [2.0], "reference": [1.0]},
            "correlations": {"generated": {"value": None, "low": None, "high": None}},
            "most_different": [
                {"name": "TATA", "counts": np.eye(4).tolist(), "log2_fold": {"generated": fold}}
            ],
        }
    compared = [
        {"name": name, "sequences": 12, "network_calls": 7, "reward_sequences": 34, "gc": 0.5}
        | {f"{key}_mean": float(np.mean(values[key][name])) for key in oracles}
        | ({f"{key}_above_99.9": 0.25 for key in oracles} if natural else {})
        | ({"audit_shuffled": 0.8125} if audit else {})
        for name in names
    ]
    return {
        "command": ["dnamdlm.design", HOSTILE],
        "versions": {"torch": "2"},
        "model_sha256": "0" * 8,
        "length": 20,
        "seed": 1,
        "cost": {
            "designs": 12, "distinct": 12, "distribution": "draws", "pool": 12, "draws": 1234,
            "acceptance": 0.5, "refused": {"gc=[0.4,0.6]": 3, "avoid=EcoRI": 0},
            "effective_size": None, "population": None, "network_calls": 98_765,
            "reward_sequences": 12, "reward_calls": 1, "value_sequences": 0,
            "seconds": 3.0, "warning": "few draws",
        },
        "natural": {
            "source": HOSTILE, "sequences": 60, "percentiles": [99, 99.9],
            **{f"predicted_{key}": [2.0, 3.0] for key in oracles},
        } if natural else None,
        "compared": compared,
        "figures": figures,
        **dict.fromkeys(oracles, HOSTILE),
    }  # fmt: skip


def designs(count):
    row = {"sequence": "ACGTACGTACGTACGTACGT", "reward": 1.25, "nearest": HOSTILE}
    return [{"name": f"design_{number:06d}", **row} for number in range(1, count + 1)]


def test_the_page_has_every_figure_and_no_text_becomes_code():
    page = design_page(report_of(motifs=True), designs(60), HOSTILE)
    assert page.startswith(PAGE_BEGINS)
    # two oracles, both of them against each other, words, motifs and a logo.
    assert page.count("<svg") == 6
    assert HOSTILE not in page
    assert "98,765" in page
    assert "25%" in page
    assert "0.812" in page
    assert "gc=[0.4,0.6]" in page
    assert "avoid=EcoRI" not in page
    assert "The first 50 of 60" in page
    assert "Few draws." in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)


def test_a_page_without_natural_sequences_and_audit_leaves_them_out():
    page = design_page(report_of(natural=False, audit=False), designs(2), "d.fa")
    assert page.count("<svg") == 1
    assert "percentile" not in page
    assert "random order" not in page
    assert "give audit= an oracle" in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_the_page_without_sideways_scrolling(tmp_path, width):
    browser = chromium()
    page = tmp_path / "d.html"
    page.write_text(design_page(report_of(motifs=True), designs(60), "d.fa"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" src="{page.as_uri()}" width="{width}" height="900"></iframe><p id="w"></p>'
        "<script>f.onload = () => { const d = f.contentDocument.documentElement;"
        ' w.textContent = "wide " + (d.scrollWidth - d.clientWidth) + " high " + d.scrollHeight }'
        "</script>"
    )
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    flags += " --disable-background-networking --disable-component-update --disable-sync"
    flags += " --allow-file-access-from-files --virtual-time-budget=5000 --dump-dom"
    finished = subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={tmp_path / 'browser'}", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    wide, high = re.search(r"wide (-?\d+) high (\d+)", finished.stdout).groups()
    assert int(wide) == 0
    assert int(high) > 2000
