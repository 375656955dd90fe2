"""The report: complete, partial and hostile run folders, and a look in a real browser."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from dnamdlm.errors import DataError
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.reporting.run_report import write_report
from tests.helpers.browser import chromium
from tests.reporting.quality_case import quality_section

HOSTILE = "><script>alert(1)</script>"


def cell(bits: float, error: float | None = 0.001) -> dict[str, Any]:
    return {
        "bases": 9000,
        "bits_per_base": bits,
        "standard_error": error,
        "nats_per_base": bits * 0.6931,
        "perplexity": 2.0**bits,
    }


def markov_row(smoothing: str, order: int, bits: float, *, chosen: bool) -> dict[str, Any]:
    return {
        "name": f"markov_{smoothing}_{order}",
        "label": f"Markov order {order}, {smoothing}",
        "family": "markov",
        "kind": "exact",
        "order": order,
        "smoothing": smoothing,
        "pseudo_count": 1.0,
        "valid_bits_per_base": bits + 0.002,
        "chosen_on_validation": chosen,
        "classes": {"all": cell(bits), "coding": cell(bits + 0.01)},
    }


def likelihood(model_bits: float = 1.93) -> dict[str, Any]:
    uniform = {name: cell(2.0, 0.0) for name in ("all", "coding")}
    return {
        "num_windows": 90,
        "window_length": 100,
        "draws": 4,
        "seconds": 1.0,
        "classes": ["all", "coding"],
        "rows": [
            {"name": "uniform", "label": "Uniform", "family": "uniform", "kind": "exact"}
            | {"classes": uniform},
            markov_row("additive", 0, 1.96, chosen=False),
            markov_row("additive", 5, 1.95, chosen=True),
            markov_row("interpolated", 9, 1.94, chosen=True),
            {"name": "model", "label": "This model", "family": "model", "kind": "upper bound"}
            | {"classes": {"all": cell(model_bits), "coding": cell(model_bits + 0.01)}},
        ],
        "best_markov": "markov_interpolated_9",
        "best_additive_markov": "markov_additive_5",
        "differences": [
            {
                "baseline": name,
                "classes": {
                    key: {"bits_per_base": model_bits - bits, "standard_error": 0.0005}
                    for key in ("all", "coding")
                },
            }
            for name, bits in (("markov_additive_5", 1.95), ("markov_interpolated_9", 1.94))
        ],
    }


def make_run(folder: Path, *, metrics: bool = True, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config or {"seed": 1}))
    run = {"command": ["python", "-m", "dnamdlm.train"], "data": {"sha256": "feedc0de"}}
    (folder / "run.json").write_text(json.dumps(run))
    if metrics:
        rows = [f"{10 * i},{2 - 0.001 * i},{'' if i % 5 else 1.97}" for i in range(1, 41)]
        header = "step,train_bits_per_base,valid_bits_per_base"
        (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def complete_run(folder: Path) -> Path:
    make_run(folder)
    (folder / "samples.fa").write_text(">sample_1 length=90\n" + "ACGTTGCAAC" * 9 + "\n")
    write_evaluation(
        folder / "evaluation/test.json",
        "test",
        {"likelihood": likelihood(), "quality": quality_section("sample_1")},
    )
    return folder


class Page(HTMLParser):
    """Tags with attributes and the visible text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def test_a_complete_run_shows_every_part(tmp_path):
    page = Page(write_report(complete_run(tmp_path / "run")))
    # training curve and the nine figures of the quality of generated sequences.
    assert page.count("svg") == 10
    for heading in ("Training", "Likelihood of held-out", "Words of k bases", "Examples"):
        assert heading in page.text
    assert "1.9300" in page.text
    assert "feedc0de" in page.text
    assert "Not in this report yet" not in page.text


def test_a_mixture_is_named_with_the_simple_statistics_that_it_beats(tmp_path):
    run = complete_run(tmp_path / "run")
    found = likelihood()
    mixed = {
        "name": "mixture_markov",
        "label": "Mixture",
        "family": "mixture",
        "shares": "rule",
        "kind": "upper bound",
        "classes": {"all": cell(1.81, 0.007), "coding": cell(1.8)},
    }
    write_evaluation(
        run / "evaluation/test.json", "test",
        {"likelihood": found | {"rows": [*found["rows"][:-1], mixed, found["rows"][-1]]}},
    )  # fmt: skip
    text = Page(write_report(run)).text
    card = "Mixed with what copies and counts, all windows1.8100\u00b1 0.0070, an upper bound"
    assert card in text
    assert "at most 1.8100 bits over all windows, where Markov order 9, interpolated needs" in text
    assert "Mixed with" not in Page(write_report(complete_run(tmp_path / "other"))).text


def test_the_cards_compare_generated_with_real_sequence(tmp_path):
    text = Page(write_report(complete_run(tmp_path / "run"))).text
    real = "real sequence compared with itself gives 1.500"
    assert f"Divergence of 6-mers0.500bits, 0.400 to 0.600; {real}" in text
    assert "Longest copy from the training split0 bpmedian 0 bp; real sequence 2 bp" in text


def test_an_older_file_with_a_section_generated_shows_the_rest(tmp_path):
    run = complete_run(tmp_path / "run")
    path = run / "evaluation/test.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"generated": {"divergence": "of another layout"}}))
    assert "Is the generated DNA any good?" in Page(write_report(run)).text
    del content["quality"]
    path.write_text(json.dumps(content | {"generated": {"divergence": "of another layout"}}))
    text = Page(write_report(run)).text
    assert "Likelihood of held-out" in text
    assert "Comparison of generated with real sequence: run" in text


@pytest.mark.parametrize(
    ("bits", "sentence"),
    [
        (1.93, "That is 0.0100 bits better than"),
        (1.95, "That is 0.0100 bits worse than"),
        (1.9401, "That is level with"),
    ],
)
def test_the_meaning_is_said_in_one_plain_sentence(tmp_path, bits, sentence):
    run = make_run(tmp_path / "run")
    write_evaluation(run / "evaluation/test.json", "test", {"likelihood": likelihood(bits)})
    assert sentence in Page(write_report(run)).text


def with_repeats(model_bits: float = 1.93) -> dict[str, Any]:
    """Figures with unique windows and repeats, and with the share of hidden bases."""
    section = likelihood(model_bits)
    section["classes"] += ["unique windows", "repeats"]
    for row in section["rows"]:
        bits = row["classes"]["all"]["bits_per_base"]
        row["classes"]["unique windows"] = cell(bits) | {"bases": 7650}
        row["classes"]["repeats"] = cell(1.2) | {"bases": 1350}
    for entry in section["differences"]:
        entry["classes"]["unique windows"] = {"bits_per_base": -0.02, "standard_error": 0.0005}
        entry["classes"]["repeats"] = {"bits_per_base": 0.7, "standard_error": 0.03}
    unused = dict(section["differences"][0], baseline="markov_additive_0")
    section["differences"].append(unused)
    best = {"all": "markov_interpolated_9", "unique windows": "markov_additive_5"}
    section["repeats"] = {"word_length": 20, "best_markov_by_class": best}
    section["mask_rates"] = [
        {"above": 0.0, "to": 0.1, "hidden_bases": 100, "bits_per_base": 1.9015,
         "standard_error": 0.004},
        {"above": 0.1, "to": 0.2, "hidden_bases": 0, "bits_per_base": None,
         "standard_error": None},
    ]  # fmt: skip
    return section


def test_the_page_leads_with_windows_that_share_nothing_with_training(tmp_path):
    run = make_run(tmp_path / "run")
    write_evaluation(run / "evaluation/test.json", "test", {"likelihood": with_repeats()})
    text = Page(write_report(run)).text
    first = text.index("Bits per base, windows without a 20-mer of training")
    assert first < text.index("Bits per base, test split")
    assert "On the 85.0% of held-out bases in windows that share no 20-mer" in text
    assert "That is 0.0200 bits better than" in text
    assert "This model minus Markov order 5, additive" in text
    assert "This model minus Markov order 0, additive" not in text


def test_the_cross_entropy_is_given_by_the_share_of_hidden_bases(tmp_path):
    run = make_run(tmp_path / "run")
    write_evaluation(run / "evaluation/test.json", "test", {"likelihood": with_repeats()})
    text = Page(write_report(run)).text
    assert "0% to 10%" in text
    assert "1.9015" in text
    assert "10% to 20%" not in text
    lines = (run / "report_data/mask_rates.csv").read_text().splitlines()
    assert lines[1:] == ["test,0.0,0.1,100,1.9015,0.004", "test,0.1,0.2,0,,"]


def test_a_run_without_results_names_the_commands_that_make_them(tmp_path):
    run = make_run(tmp_path / "my run", metrics=False)
    text = Page(write_report(run)).text
    assert f"python -m dnamdlm.evaluate model='{run}' split=test" in text
    assert f"python -m dnamdlm.sample model='{run}'" in text
    assert f"python -m dnamdlm.report run_dir='{run}'" in text


def test_validation_results_stand_in_for_a_missing_test_split(tmp_path):
    run = make_run(tmp_path / "run")
    write_evaluation(run / "evaluation/valid.json", "valid", {"likelihood": likelihood()})
    assert "Bits per base, valid split" in Page(write_report(run)).text


def test_the_page_requests_nothing(tmp_path):
    page = Page(write_report(complete_run(tmp_path / "run")))
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    targets = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href")
    ]
    assert all(target.startswith(("#", "data:")) for target in targets)


def test_texts_from_files_are_escaped(tmp_path):
    run = make_run(tmp_path / HOSTILE.replace("/", "|"), config={"name": HOSTILE})
    (run / "samples.fa").write_text(f">{HOSTILE}\nACGT\n")
    (run / "run.json").write_text(json.dumps({HOSTILE: [HOSTILE]}))
    hostile = quality_section(HOSTILE)
    hostile["gc"]["rows"][0]["label"] = hostile["columns"][0]["label"] = HOSTILE
    sections = {"likelihood": likelihood(), "quality": hostile}
    sections["likelihood"]["rows"][-2]["label"] = HOSTILE
    write_evaluation(run / "evaluation/test.json", "test", sections)

    page = Page(write_report(run))

    assert page.count("script") == 0
    assert page.text.count(HOSTILE) >= 6


def test_figures_follow_the_theme_and_share_no_ids(tmp_path):
    text = write_report(complete_run(tmp_path / "run")).read_text()
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert all("var(--ink)" in drawing and "#1c2126" not in drawing for drawing in drawings)
    clip_ids = [set(re.findall(r'<clipPath id="([^"]+)"', drawing)) for drawing in drawings]
    assert sum(map(len, clip_ids)) == len(set.union(*clip_ids))


def test_the_numbers_behind_each_figure_are_written(tmp_path):
    run = complete_run(tmp_path / "run")
    write_report(run)
    names = {path.name for path in (run / "report_data").iterdir()}
    drawings = ("training", "reference_samples", "ranks", "kmer3", "kmer6", "gc", "dinucleotides",
                "motifs", "logos", "infilling")  # fmt: skip
    assert names == {
        *(f"{drawing}{suffix}" for drawing in drawings for suffix in (".png", ".svg")),
        "training_curve.csv",
        "likelihood.csv",
        "differences.csv",
        "dnamdlm_bits_mqc.json",
        "dnamdlm_general_mqc.json",
        "kmers_3.csv",
        "kmers_6.csv",
        "quality.csv",
        "gc.csv",
        "longest_match.csv",
    }
    with (run / "report_data/likelihood.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "model"]
    assert [(row["class"], row["bits_per_base"]) for row in rows] == [
        ("all", "1.93"),
        ("coding", "1.94"),
    ]


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = complete_run(tmp_path / "run")
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(DataError, match=r"does not hold a run: it has no config\.yaml"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.csv", "step,train_bits_per_base\n1,two\n"),
        ("metrics.csv", "a,b\n1,2\n"),
        # more than the module csv reads unless it is asked to.
        ("metrics.csv", "step," + 200_000 * "a" + "\n1,two\n"),
        ("run.json", "{"),
        ("samples.fa", "ACGT\n"),
        ("evaluation/test.json", "[]"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, text):
    run = complete_run(tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(DataError, match=re.escape(name)):
        write_report(run)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_the_page_without_sideways_scrolling(tmp_path, width):
    browser = chromium()
    page = write_report(complete_run(tmp_path / "run"))
    # a frame, because a window cannot be made as narrow as a telephone.
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
