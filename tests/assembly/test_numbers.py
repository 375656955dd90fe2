"""Numbers from a table to samples: stored with the model, trained on and asked for."""

import json
import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest

import dnamdlm
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.gathering import GatherSettings, gather
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.number_conditions import (
    asked_numbers,
    check_same_scales,
    condition_texts,
    scales_of,
)
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.score.score_settings import ScoreSettings
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.samplers import AncestralSampler
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, export, sample, score, train

SHORT = (
    "config=measured", "optimizer=adamw", "backbone.hidden_size=16", "backbone.num_blocks=1",
    "backbone.num_numbers=2", "backbone.local_radius=0", "data.length=12", "trainer.max_steps=2",
    "trainer.global_batch_size=8", "trainer.log_every=1", "trainer.valid_every=2",
    "trainer.checkpoint_every=2", "trainer.valid_windows=2", "learning_rate.warmup_steps=1",
)  # fmt: skip
SCALES = (
    NumberScale.of("activity", np.arange(11.0), None),
    NumberScale.of("gc share", np.array([0.0, 1.0, 3.0]), "log1p"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A model that is given two numbers."""
    folder = tmp_path_factory.mktemp("numbers")
    rng = np.random.default_rng(0)
    lines = ["sequence,activity,gc share"]
    for row in range(60):
        text = "".join(rng.choice(list("ACGT"), 12))
        share = sum(letter in "GC" for letter in text) / 12
        lines.append(f"{text},{row},{share if row % 2 else ''}")
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    data = (f"data.table={table}", "data.numbers=[activity,gc share]",
            f"data.cache_dir={folder / 'cache'}")  # fmt: skip
    train(compose(*SHORT, *data, f"run_dir={folder / 'run'}"))
    return SimpleNamespace(folder=folder, data=data, run=folder / "run")


def test_scales_are_stored_with_the_model_and_travel_with_an_export(runs):
    loaded = load_model(str(runs.run))
    assert [scale.name for scale in loaded.scales] == ["activity", "gc share"]
    assert loaded.scales == loaded.config.data.open().scales
    assert loaded.labels == ()
    out = runs.folder / "exported"
    export(compose(f"model={runs.run}", f"out={out}", name="export"))
    assert load_model(str(out)).scales == loaded.scales
    assert "condition={'activity': VALUE}" in (out / "README.md").read_text()
    assert "activity (" in repr(dnamdlm.load(str(runs.run)))


def test_the_command_and_python_sample_alike_and_the_header_says_what_was_asked(runs):
    def made(*overrides):
        out = runs.folder / "out.fa"
        tree = compose(
            f"model={runs.run}", f"out={out}", "num_sequences=2", "length=8",
            "sampler.num_steps=4", *overrides, name="sample",
        )  # fmt: skip
        sample(tree)
        return out.read_text().splitlines()

    model = dnamdlm.load(str(runs.run))
    told = made("condition=activity:q0.5", "guidance=2")
    middle = model.loaded.scales[0].at_quantile(0.5)
    assert f" condition=activity:{middle:.6g} guidance=2" in told[0]
    again = made(f"condition=[activity:{middle!r}]", "guidance=2", "batch_size=1")
    assert again[1::2] == told[1::2]
    asked = {"sampler": AncestralSampler(4), "guidance": 2.0}
    assert model.sample(2, 8, condition={"activity": "q0.5"}, **asked) == told[1::2]
    assert model.sample(2, 8, condition={"activity": middle}, **asked) == told[1::2]
    exact = made("condition=[activity:30,gc share:0.5]", "guidance=2", "corrected=true",
                 "population=4")  # fmt: skip
    assert " condition=activity:30,gc%20share:0.5 guidance=2 corrected=true" in exact[0]
    assert " log_z=" in exact[0]


def test_likelihoods_are_given_what_is_asked(runs):
    model = dnamdlm.load(str(runs.run))
    # two steps leave the vectors of numbers small; a large one is seen in the digits.
    free = model.log_likelihood(["ACGTACGTACGT"], draws=4)
    told = model.log_likelihood(["ACGTACGTACGT"], draws=4, condition={"activity": 59})
    assert told.shape == (1,)
    assert told != free
    nan = model.log_likelihood(["ACGTACGTACGT"], draws=4, condition="activity:59")
    assert nan == told


def test_the_table_of_the_training_is_evaluated_with_its_numbers(runs):
    out = runs.folder / "evaluation.json"
    evaluate(
        compose(f"model={runs.run}", f"out={out}", "split=test", "draws=1", "max_order=1",
                name="evaluate")
    )  # fmt: skip
    assert out.is_file()


def test_variants_and_windows_are_scored_given_what_is_asked(runs):
    (runs.folder / "g.fa").write_text(">a\nACGTACGTACGTACGT\n")
    model, fasta = dnamdlm.load(str(runs.run)), runs.folder / "g.fa"

    def scored(*overrides):
        out = runs.folder / "scores.tsv"
        tree = compose(
            f"model={runs.run}", "variants=a:8:T:C", f"data.fasta={fasta}", f"out={out}",
            "draws=2", *overrides, name="score",
        )  # fmt: skip
        score(tree)
        lines = out.read_text().splitlines()
        names = next(line for line in lines if not line.startswith("##")).split("\t")
        return lines, dict(zip(names, lines[-1].split("\t"), strict=True))

    _, free = scored()
    lines, given = scored("condition=activity:q1")
    assert free["llr"] != given["llr"]
    assert free["delta_elbo"] != given["delta_elbo"]
    assert "given condition=activity:q1" in lines[0], lines[:4]
    asked = {"draws": 2, "condition": {"activity": "q1"}}
    found = model.score("a:8 T>C", fasta, **asked)
    # six digits are written.
    assert float(given["llr"]) == pytest.approx(found["llr"], rel=1e-5)
    table = model.score_variants(["a:8:T:C"], fasta, **asked)
    assert table["delta_elbo"][0][0] == pytest.approx(found["delta_elbo"], rel=1e-12)
    with pytest.raises(ConfigError, match="no number 'x'"):
        model.score("a:8 T>C", fasta, condition="x:1")
    with pytest.raises(ConfigError, match="label=x is given, but this model was trained without"):
        scored("label=x")


def test_an_evaluation_given_other_numbers_is_a_file_of_its_own(runs, tmp_path):
    def bits(*overrides):
        tree = compose(
            f"model={runs.run}", "split=valid", "draws=1", "max_order=1", *overrides,
            name="evaluate",
        )  # fmt: skip
        path, _ = evaluate(tree)
        content = json.loads(path.read_text())
        return path, content["likelihood"]["rows"][-1]["classes"]["all"], content["provenance"]

    own, free, provenance = bits()
    assert "condition" not in provenance
    held_out = (runs.run / "held_out.json").read_bytes()
    path, given, provenance = bits("condition=activity:q0")
    assert (own.name, path.name) == ("valid.json", "valid.given_activity_q0.json")
    assert provenance["condition"] == ["activity:q0"]
    assert given != free
    assert (runs.run / "held_out.json").read_bytes() == held_out
    out = tmp_path / "parts.json"
    for shard in ("1/2", "2/2"):
        bits_of_shard = ("condition=activity:q0", f"out={out}", f"shard={shard}", "part_rows=2")
        evaluate(
            compose(f"model={runs.run}", "split=valid", "draws=1", "max_order=1", *bits_of_shard,
                    name="evaluate")
        )  # fmt: skip
    gather(GatherSettings(str(out)))
    assert json.loads(out.read_text())["likelihood"]["rows"][-1]["classes"]["all"] == given


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("backbone.num_numbers=3",),
            r"names 2 \(activity, gc share\); use backbone.num_numbers=2",
        ),
        (("config=tiny", "data.annotation=null"), "needs data with measured numbers"),
        (("backbone.num_classes=2",), "conditioned on classes or on numbers"),
    ],
)
def test_numbers_that_do_not_fit_the_data_are_refused(runs, overrides, message):
    settings = [item for item in (*SHORT, *runs.data) if "config=tiny" not in overrides
                or not item.startswith(("config", "data", "optimizer"))]  # fmt: skip
    if "config=tiny" in overrides:
        settings = ["backbone.num_numbers=1", "run_dir=never"]
    with pytest.raises(ConfigError, match=message):
        train(compose(*settings, "run_dir=never", *overrides))


def test_a_table_of_other_numbers_is_not_taken_for_that_of_the_training(runs):
    opened = load_model(str(runs.run)).config.data.open()
    check_same_scales(opened.scales, opened)
    check_same_scales((), opened)
    with pytest.raises(ConfigError, match=r"this model knows activity .* scaled otherwise"):
        check_same_scales(SCALES, opened)


def test_numbers_that_a_network_does_not_take_are_warned_of(runs, caplog):
    opened = load_model(str(runs.run)).config.data.open()
    with caplog.at_level(logging.WARNING):
        assert scales_of(SimpleNamespace(num_numbers=0), opened) == ()
    assert "data.numbers=[activity,gc share] is not used" in caplog.text


def test_a_condition_is_standardised_as_in_training():
    asked = asked_numbers(SCALES, ["activity:7", "gc share:q1"])
    assert asked.values[0] == pytest.approx((7 - 5) / math.sqrt(10), rel=1e-12)
    logs = np.log1p([0.0, 1.0, 3.0])
    assert asked.values[1] == pytest.approx((math.log(4) - logs.mean()) / logs.std(), rel=1e-12)
    assert asked.note == " condition=activity:7,gc%20share:3"
    left_open = asked_numbers(SCALES, condition_texts({"gc share": 1}))
    assert math.isnan(left_open.values[0])
    assert not math.isnan(left_open.values[1])


def test_a_value_outside_the_range_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        asked_numbers(SCALES, ["activity:10"])
        assert not caplog.records
        asked_numbers(SCALES, ["activity:10.5"])
    assert "condition=activity:10.5 lies outside what the model saw in training, 0 to 10" in (
        caplog.text
    )


@pytest.mark.parametrize(
    ("scales", "condition", "message"),
    [
        ((), ["activity:2"], "condition=activity:2 is given, but this model was trained without"),
        (SCALES, ["activitx:2"], r"no number 'activitx' \(did you mean activity\?\); it knows act"),
        (SCALES, ["activity"], "cannot be read; write NAME:VALUE"),
        (SCALES, ["activity:"], "cannot be read"),
        (SCALES, [], r"condition=\[\] asks for no number"),
        (SCALES, [":2"], "cannot be read"),
        (SCALES, ["activity:high"], "'high' is neither a number nor a quantile"),
        (SCALES, ["activity:q1.5"], "a quantile lies between q0 and q1"),
        (SCALES, ["activity:nan"], "must be finite"),
        (SCALES, ["activity:qnan"], "a quantile lies between"),
        (SCALES, ["activity:1", "activity:2"], "asks for 'activity' twice"),
        (SCALES, ["gc share:-3"], "has no logarithm"),
    ],
)
def test_a_condition_that_cannot_be_met_is_one_sentence(scales, condition, message):
    with pytest.raises(ConfigError, match=message) as found:
        asked_numbers(scales, condition)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition": ("a:1",), "label": "x"}, "condition is given with label or guide"),
        ({"condition": ("a:1",), "guide": "x", "guide_label": "y"}, "condition is given with"),
        ({"condition": ("a:1",), "corrected": True, "population": 4}, "corrected was given but"),
        ({"guidance": 2.0}, "needs a class or a number to guide towards"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SampleSettings(model="x", out="y", **settings)


def test_a_class_and_numbers_together_are_refused():
    both = {"label": "x", "condition": ("a:1",)}
    with pytest.raises(ConfigError, match="label and condition are both given"):
        ScoreSettings(**both)
    with pytest.raises(ConfigError, match="label and condition are both given"):
        EvaluateSettings("x", **both)
