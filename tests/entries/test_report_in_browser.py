"""The report of a run on a genome with genes, as a browser without a network shows it."""

import base64
import hashlib
import json
import re
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

from dnamdlm.evaluation.likelihood.browser_record import VIEW_BASES
from tests.helpers import entries
from tests.helpers.browser import chromium
from tests.reporting.test_browser import COLORS, FLAGS

OFFLINE = f"{FLAGS} --host-resolver-rules=MAP\t*\t~NOTFOUND".replace("1200,900", "1200,3000")
GENE_BASES, GENE_EVERY = 40, 50
# of each text that is drawn, and where the track of the letters is, when all tracks are there.
WATCH = """
const drawn = new Set(), write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  drawn.add(String(text));
  return write.call(this, text, ...rest);
};
setInterval(() => {
  const place = document.getElementById("browser");
  if (!place || place.dataset.ready !== "yes") return;
  const canvases = [...place.shadowRoot.querySelectorAll(".igv-viewport canvas")];
  place.dataset.seen = JSON.stringify({
    texts: [...drawn],
    boxes: canvases.map((item) => item.getBoundingClientRect()),
  });
}, 500);
"""


@pytest.fixture(scope="module")
def browser():
    return chromium()


@pytest.fixture(scope="module")
def run_dir(browser, tmp_path_factory):
    """A run on three records of one repeat, with a GFF3 file and a GTF file that name the genes."""
    folder = tmp_path_factory.mktemp("genes")
    text = "TATAAAGGCTCGAGCCGTTACCATGGCA" * 30
    records = {name: text[turn : turn + 800] for turn, name in enumerate(("a", "b", "c"))}
    (folder / "g.fa").write_text("".join(f">{name}\n{x}\n" for name, x in records.items()))
    for kind, names in (("gff3", "ID=g{0};Name=ALPHA{0}"), ("gtf", 'gene_name "BETA{0}";')):
        rows = [
            f"{name}\tx\t{what}\t{start + 1 + inset}\t{start + GENE_BASES - inset}\t.\t+\t"
            f"{phase}\t{names.format(f'{name}{start}')}\n"
            for name in records
            for start in range(0, 800, GENE_EVERY)
            for what, inset, phase in (("gene", 0, "."), ("CDS", 6, "0"))
        ]
        if kind == "gff3":
            rows = [row.replace("ID=g", "ID=c") if "\tCDS\t" in row else row for row in rows]
        (folder / f"g.{kind}").write_text("".join(rows))
    entries.train(
        entries.composed(
            "train", "config=tiny", f"data.fasta={folder}/g.fa",
            f"data.annotation={folder}/g.gff3", "data.length=64", "data.valid=[b]",
            "data.test=[c]", "trainer.max_steps=200", "trainer.valid_windows=2",
            "trainer.global_batch_size=16", "trainer.accelerator=cpu",
            "optimizer.learning_rate=0.005", f"data.cache_dir={folder}/cache",
            f"run_dir={folder}/run", "backbone.hidden_size=32", "backbone.num_blocks=1",
        )
    )  # fmt: skip
    return folder / "run"


def watched(page):
    """The page with a first script, allowed by its policy, that notes what is drawn."""
    digest = base64.b64encode(hashlib.sha256(WATCH.encode()).digest()).decode()
    page, changed = re.subn("script-src ", f"script-src 'sha256-{digest}' ", page, count=1)
    page, added = re.subn("</head>", lambda _: f"<script>{WATCH}</script></head>", page, count=1)
    assert (changed, added) == (1, 1)
    return page


def opened(browser, folder, page, *options):
    flags = [flag.replace("\t", " ") for flag in OFFLINE.split(" ")]
    return subprocess.run(
        [browser, *flags, f"--user-data-dir={folder / 'browser'}", *options, page.as_uri()],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip


def colored_bases(picture, box):
    """Whether a pixel of the track of letters has the colour of a base: place, base, row, column.

    The canvas is three times as wide as what is seen of it.
    """
    first, width = box["left"] + box["width"] / 3, box["width"] / 3 / VIEW_BASES
    rows = picture[round(box["top"]) : round(box["bottom"])]
    lefts = [round(first + place * width) for place in range(VIEW_BASES)]
    bases = np.stack([rows[:, left : left + int(width)] for left in lefts])
    return np.stack([(np.abs(bases - x) <= 2).all(axis=3) for x in COLORS.values()], axis=1)


def sequence_of(run_dir, view):
    records = dict(
        text.split("\n")[:2] for text in (run_dir.parent / "g.fa").read_text().split(">")[1:]
    )
    return records[view["chrom"]][view["start"] : view["end"]]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("gff3", "ALPHA"), ("gtf", "BETA")])
def test_a_browser_shows_letters_and_named_genes_in_the_report_of_a_run(
    browser, run_dir, tmp_path, kind, name
):
    entries.tracks(
        entries.composed(
            "tracks", f"model={run_dir}", f"out={tmp_path}/tracks", "device=cpu", "threads=1",
            "weights=raw", f"data.annotation={run_dir.parent}/g.{kind}",
        )
    )  # fmt: skip
    entries.report(entries.composed("report", f"run_dir={run_dir}"))
    report, copy, shot = run_dir / "report.html", tmp_path / "copy.html", tmp_path / "shot.png"
    copy.write_text(watched(report.read_text(encoding="utf-8")), encoding="utf-8")
    found = opened(browser, tmp_path, copy, "--dump-dom")
    noted = re.search(r'data-seen="([^"]*)"', found)
    assert noted is not None, "the page was not ready"
    seen = json.loads(noted[1].replace("&quot;", '"'))

    view = json.loads((run_dir / "evaluation" / "browser.json").read_text())["view"]
    names = {
        f"{name}{view['chrom']}{start}"
        for start in range(0, 800, GENE_EVERY)
        if view["start"] <= start and start + GENE_BASES <= view["end"]
    }
    assert names
    assert names <= set(seen["texts"])

    opened(browser, tmp_path, report, f"--screenshot={shot}")
    (logo,) = [box for box in seen["boxes"] if box["height"] == 110 and box["width"] > 0]
    colored = colored_bases(np.round(imread(shot)[..., :3] * 255).astype(int), logo)
    # the letters are those of the genome, on all bases that are not too low to be seen.
    is_seen = np.any(colored, axis=(1, 2, 3))
    shown = "".join("ACGT"[number] for number in colored.sum(axis=(2, 3)).argmax(axis=1))
    text = sequence_of(run_dir, view)
    assert is_seen.mean() > 0.8
    assert [a for a, b in zip(shown, is_seen, strict=True) if b] == [
        a for a, b in zip(text, is_seen, strict=True) if b
    ]
    assert set(shown) == set("ACGT")
    # a bar would fill its rows from side to side.
    rows = np.any(colored[is_seen], axis=1)
    assert rows.sum() < 0.8 * np.any(rows, axis=2).sum() * rows.shape[2]
