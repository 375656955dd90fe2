"""Whether a run is any good: said by `evaluate`, kept with the run, repeated by what uses it."""

import json
import logging
import math

import numpy as np
import pytest

import dnamdlm
from dnamdlm.assembly.held_out import HELD_OUT, HeldOut, held_out_of, of_genome, of_text, verdict
from dnamdlm.assembly.models import load_model
from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport, LikelihoodRow
from dnamdlm.evaluation.rates import Rate
from dnamdlm.evaluation.text.perplexity import TextReport
from tests.assembly.test_configs import compose
from tests.helpers.entries import embed, evaluate, sample, score, tracks, train

WEAK = [
    "config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2",
    "trainer.max_steps=2", "trainer.accelerator=cpu", "trainer.valid_windows=4", "threads=1",
]  # fmt: skip
CHEAP = ["max_order=3", "draws=1", "limit=200", "device=cpu", "workers=1"]
SENTENCE = "is worse than Markov order 3"


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """Three records in which three bases say what the next one is likely to be."""
    folder = tmp_path_factory.mktemp("genome")
    rng = np.random.default_rng(0)
    likely = rng.integers(0, 4, 64)
    lines = []
    for name in ("r1", "r2", "r3"):
        codes = [0, 1, 2]
        for _ in range(9_000):
            context = codes[-3] * 16 + codes[-2] * 4 + codes[-1]
            codes.append(int(likely[context]) if rng.random() < 0.7 else int(rng.integers(0, 4)))
        lines.append(f">{name}\n{''.join('ACGT'[code] for code in codes)}\n")
    (folder / "g.fa").write_text("".join(lines))
    return folder / "g.fa"


@pytest.fixture(scope="module")
def weak(genome, tmp_path_factory):
    """A run of two steps, which has learnt nothing."""
    folder = tmp_path_factory.mktemp("runs") / "weak"
    data = [f"data.fasta={genome}", "data.annotation=null", "data.valid=[r2]", "data.test=[r3]"]
    train(compose(*WEAK, *data, f"run_dir={folder}"))
    return folder


def evaluated(run, *overrides):
    return evaluate(compose(f"model={run}", *CHEAP, *overrides, name="evaluate"))[1]


@pytest.fixture
def run(weak):
    """The run, evaluated."""
    evaluated(weak)
    return weak


def test_evaluate_says_at_its_end_that_a_run_is_worse_than_a_markov_model(weak):
    headline = evaluated(weak)
    assert "This model is worse than Markov order 3" in headline.splitlines()[-2]
    assert "Train it for more steps" in headline.splitlines()[-1]


def test_the_figure_is_kept_with_the_run_wherever_the_evaluation_is_written(weak, tmp_path):
    (weak / HELD_OUT).unlink(missing_ok=True)
    evaluated(weak, f"out={tmp_path}/e.json")
    entry = json.loads((weak / HELD_OUT).read_text())["splits"]["test"]
    section = json.loads((tmp_path / "e.json").read_text())["likelihood"]
    by_name = {row["name"]: row["classes"]["unique windows"] for row in section["rows"]}
    best = section["repeats"]["best_markov_by_class"]["unique windows"]
    assert entry["windows"] == "windows without a 20-mer of the training split"
    assert entry["bits"] == by_name["model"]["bits_per_base"]
    assert entry["baseline_bits"] == by_name[best]["bits_per_base"]
    assert entry["difference"] == pytest.approx(entry["bits"] - entry["baseline_bits"], abs=1e-12)


USES = {
    "score": (score, ["data.fasta={genome}", "variants={folder}/v.vcf", "out={folder}/o.tsv"]),
    "embed": (embed, ["data.fasta={genome}", "out={folder}/o.npz"]),
    "sample": (sample, ["num_sequences=1", "length=8", "out={folder}/o.fa"]),
    "tracks": (tracks, ["locus=r3:0-60", "max_order=1", "out={folder}/o.bedgraph"]),
}


@pytest.mark.parametrize("name", USES)
def test_a_command_that_uses_a_weak_run_warns_once_with_the_figure(
    name, run, genome, tmp_path, caplog
):
    first = genome.read_text().splitlines()[1][0]
    other = "ACGT"["ACGT".index(first) - 1]
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "v.vcf").write_text(f"{header}r1\t1\t.\t{first}\t{other}\t.\t.\t.\n")
    entry, settings = USES[name]
    given = [text.format(genome=genome, folder=tmp_path) for text in settings]
    entry(compose(f"model={run}", "device=cpu", *given, name=name))
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    figures = held_out_of(load_model(str(run)))[1]
    assert SENTENCE in warning.getMessage()
    assert f"{figures.bits:.4f} compared with {figures.baseline_bits:.4f}" in warning.getMessage()


def test_python_warns_when_it_loads_a_weak_run_and_shows_the_figure(run, caplog):
    model = dnamdlm.load(run, device="cpu")
    assert [SENTENCE in record.getMessage() for record in caplog.records] == [True]
    (line,) = [line for line in repr(model).splitlines() if line.startswith("test split")]
    assert "bits per base, worse than Markov order 3" in line
    assert "test split" in model._repr_html_()


def test_an_evaluation_without_the_file_of_figures_is_shown_too(run):
    (run / HELD_OUT).unlink()
    text = repr(dnamdlm.load(run, device="cpu"))
    bits = json.loads((run / "evaluation/test.json").read_text())["likelihood"]["rows"][-1]
    assert f"{bits['classes']['all']['bits_per_base']:.4f} bits per base" in text


def test_other_weights_of_the_run_are_not_warned_of(run, caplog):
    dnamdlm.load(run, device="cpu", weights="raw")
    assert not caplog.records


@pytest.mark.parametrize(
    "data", [["split=train"], ["data.test=[r2]"]], ids=["training split", "other split"]
)
def test_what_the_run_did_not_hold_out_says_nothing_of_it(weak, data, tmp_path, genome):
    (weak / HELD_OUT).unlink(missing_ok=True)
    others = (
        [f"data.fasta={genome}", "data.valid=[r3]", "data.train=[r1]"] if "r2" in data[0] else []
    )
    headline = evaluated(weak, *data, *others, f"out={tmp_path}/e.json")
    assert "This model is worse" not in headline
    assert not (weak / HELD_OUT).exists()


def test_the_figure_from_more_bases_stays(run):
    before = (run / HELD_OUT).read_bytes()
    evaluated(run, "limit=3")
    assert (run / HELD_OUT).read_bytes() == before


@pytest.mark.parametrize(
    "content",
    ["", "[1]", "{}", '{"format": "dnamdlm.held_out", "format_version": 1, "splits": {"test": 3}}'],
)
def test_a_damaged_file_of_figures_stops_nothing_and_is_written_again(run, content, caplog):
    (run / HELD_OUT).write_text(content)
    dnamdlm.load(run, device="cpu")
    assert not caplog.records
    evaluated(run)
    assert held_out_of(load_model(str(run))) is not None


def report(model, markov=None, difference=None):
    rows = [LikelihoodRow("uniform", "Uniform", "uniform", "exact", {"all": Rate(2.0, 0, 9)}, {})]
    if markov is not None:
        bits = {"all": Rate(markov, 0.1, 9)}
        rows.append(LikelihoodRow("m", "Markov order 3", "markov", "exact", bits, {}))
    bits = {"all": Rate(model, 0.01, 9)}
    rows.append(LikelihoodRow("model", "This model", "model", "upper bound", bits, {}))
    return LikelihoodReport(
        rows=tuple(rows), differences={} if markov is None else {"m": {"all": difference}},
        best_markov=None if markov is None else "m", best_additive_markov=None, num_windows=3,
        length=3, draws=1, seconds=0.1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("case", "is_worse"),
    [
        (report(1.9, 1.8, Rate(0.1, 0.01, 9)), True),
        (report(1.9, 1.8, Rate(0.1, 0.06, 9)), False),
        (report(1.9, 1.8, Rate(0.1, math.nan, 9)), True),
        (report(1.8, 1.9, Rate(-0.1, 0.01, 9)), False),
        (report(2.1), True),
        (report(2.01), False),
        (report(1.9), False),
    ],
    ids=["worse", "chance", "one window", "better", "worse than uniform", "near uniform", "fair"],
)
def test_a_model_is_worse_if_the_difference_is_more_than_chance(case, is_worse):
    found = of_genome(case, "abc")
    assert found.is_worse == is_worse
    assert bool(verdict(found, "test")) == is_worse


def test_the_verdict_is_about_windows_that_no_table_can_copy():
    whole, part = Rate(1.9, 0.01, 90), Rate(1.93, 0.01, 80)
    copier = {"all": Rate(1.5, 0.1, 90), "unique windows": Rate(1.99, 0.1, 80)}
    counts = {"all": Rate(1.91, 0.1, 90), "unique windows": Rate(1.94, 0.1, 80)}
    rows = (
        LikelihoodRow("uniform", "Uniform", "uniform", "exact", {"all": Rate(2.0, 0, 90)}, {}),
        LikelihoodRow("m20", "Markov order 20", "markov", "exact", copier, {}),
        LikelihoodRow("m8", "Markov order 8", "markov", "exact", counts, {}),
        LikelihoodRow("model", "This model", "model", "upper bound",
                      {"all": whole, "unique windows": part}, {}),
    )  # fmt: skip
    gaps = {
        "m20": {"all": Rate(0.4, 0.01, 90), "unique windows": Rate(-0.06, 0.001, 80)},
        "m8": {"all": Rate(-0.01, 0.01, 90), "unique windows": Rate(-0.01, 0.001, 80)},
    }
    found = of_genome(LikelihoodReport(rows, gaps, "m20", None, 9, 10, 1, 0.1, (), 20), "abc")
    assert (found.baseline, found.difference, found.count) == ("Markov order 8", -0.01, 80)
    assert found.comparison.endswith("on windows without a 20-mer of the training split")
    assert verdict(found, "test") == ""


@pytest.mark.parametrize(("bits", "is_worse"), [(4.2, True), (3.9, False)])
def test_a_model_of_text_is_compared_with_the_frequencies_of_tokens(bits, is_worse):
    case = TextReport(Rate(bits, 0.05, 9), Rate(4.0, 0.05, 9), 8.0, "upper bound", None, {})
    found = of_text(case, "abc")
    assert (found.unit, found.baseline_bits) == ("token", 4.0)
    assert found.is_worse == is_worse


def test_the_comparison_gives_both_figures_and_the_error_of_their_difference():
    found = HeldOut("abc", "base", 9, 1.9308, 0.0009, "Markov", 1.9153, 0.0155, 0.0021)
    assert found.comparison == (
        "1.9308 compared with 1.9153 bits per base, a difference of +0.0155 +- 0.0021"
    )
