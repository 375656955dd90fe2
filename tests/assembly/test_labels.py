"""Classes from data to samples: checked, stored by name, trained on and guided to."""

import csv
from types import SimpleNamespace

import pytest

from dnamdlm.assembly.api import Model
from dnamdlm.assembly.class_labels import check_same_labels, find_label, labels_of
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.sampling.samplers import AncestralSampler
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, report, sample, train

SHORT = (
    "config=tiny", "data.annotation=null", "data.length=32", "data.valid=null", "data.test=null",
    "trainer.max_steps=2", "trainer.log_every=1", "trainer.valid_every=2",
    "trainer.checkpoint_every=2", "trainer.valid_windows=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A model that is told classes, and a classifier of the same."""
    folder = tmp_path_factory.mktemp("classes")
    records = {
        f"{name}{i}": letters for name, letters in (("at", "AATT"), ("gc", "CGGC")) for i in "123"
    }
    fasta, table = folder / "two.fa", folder / "labels.tsv"
    fasta.write_text("".join(f">{name}\n{letters * 100}\n" for name, letters in records.items()))
    table.write_text("".join(f"{name}\t{name[:2]}\n" for name in records))
    data = (f"data.fasta={fasta}", f"data.labels={table}", f"data.cache_dir={folder / 'cache'}")
    for name, overrides in (
        ("told", ("backbone.num_classes=2",)), ("classifier", ("lm=classifier",))
    ):  # fmt: skip
        train(compose(*SHORT, *data, f"run_dir={folder / name}", *overrides))
    return SimpleNamespace(folder=folder, data=data)


def test_names_of_classes_are_stored_with_the_model(runs):
    for name in ("told", "classifier"):
        assert load_model(str(runs.folder / name)).labels == ("at", "gc")


def test_a_classifier_reports_figures_of_labels(runs):
    with (runs.folder / "classifier" / "metrics.csv").open() as stream:
        last = list(csv.DictReader(stream))[-1]
    assert 0 < float(last["train_bits_per_label"]) < 3
    assert 0 <= float(last["valid_label_accuracy"]) <= 1
    assert "train_bits_per_base" not in last


def test_sampling_records_class_and_strength_and_does_not_depend_on_the_batch(runs):
    def made(*overrides):
        out = runs.folder / "out.fa"
        tree = compose(
            f"model={runs.folder / 'told'}", f"out={out}", "num_sequences=2", "length=8",
            "sampler.num_steps=4", *overrides, name="sample",
        )  # fmt: skip
        sample(tree)
        return out.read_text()

    told = made("label=gc", "guidance=2")
    assert " label=gc guidance=2" in told.splitlines()[0]
    assert made("label=1", "guidance=2", "batch_size=1") == told
    guided = made(f"guide={runs.folder / 'classifier'}", "guide_label=at")
    exact = made("label=gc", "guidance=2", "corrected=true", "population=4")
    header = exact.splitlines()[0]
    assert " label=gc guidance=2 corrected=true population=4" in header
    assert " log_z=" in header
    assert " effective_size=" in header
    together = ("label=gc", "guidance=2", "corrected=true", "population=4", "batch_size=1")
    assert made(*together) == exact
    model = Model(load_model(str(runs.folder / "told")))
    drawn = model.sample(
        2, 8, label="gc", guidance=2, corrected=True, population=4, sampler=AncestralSampler(4)
    )
    assert drawn == exact.splitlines()[1::2]
    assert f" log_z={drawn.log_z[0]:.6g} " in header
    digest = load_model(str(runs.folder / "classifier")).digest[:12]
    header = guided.splitlines()[0]
    assert f" guide={digest} guide_label=at guidance=1 guide_order=exact" in header
    assert "label" not in made().splitlines()[0]


def test_python_samples_scores_and_classifies_by_name(runs):
    model = Model(load_model(str(runs.folder / "told")))
    classifier = Model(load_model(str(runs.folder / "classifier")))
    assert len(model.sample(1, 8, label="at", guidance=2.0)[0]) == 8
    assert len(model.sample(1, 8, label="at", guide=classifier, guide_order="first_order")) == 1
    assert model.log_likelihood(["ACGT"], label=1).shape == (1,)
    assert classifier.classify(["ACGT", "AA"]).shape == (2, 2)
    with pytest.raises(ConfigError, match="does not classify"):
        model.classify(["ACGT"])
    with pytest.raises(ConfigError, match="needs a class or a number to guide towards"):
        model.sample(1, 8, guidance=2.0)
    with pytest.raises(ConfigError, match="needs a class of the classifier"):
        model.sample(1, 8, guide=classifier)
    for use in (lambda: classifier.sample(1, 8), lambda: classifier.log_likelihood(["A"])):
        with pytest.raises(ConfigError, match="is a classifier"):
            use()


def test_a_classifier_is_neither_evaluated_nor_reported(runs):
    folder = runs.folder / "classifier"
    with pytest.raises(ConfigError, match="is a classifier"):
        evaluate(compose(f"model={folder}", name="evaluate"))
    with pytest.raises(DataError, match="holds a classifier"):
        report(compose(f"run_dir={folder}", name="report"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("backbone.num_classes=3",), r"backbone\.num_classes=3, but these data have 2"),
        (("lm=classifier", "lm.num_classes=4"), r"use lm\.num_classes=2"),
        (("backbone.num_classes=2", "data.labels=null"), "needs data with classes"),
    ],
)
def test_classes_that_do_not_fit_the_data_are_refused(runs, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train(compose(*SHORT, *runs.data, "run_dir=never", *overrides))


def test_a_label_is_a_name_or_an_index():
    assert find_label(("b", "a"), "a") == 1
    assert find_label(("b", "a"), 0) == 0
    # a name that looks like a number is a name.
    assert find_label(("1", "0"), 1) == 0
    for label in ("c", 2, -1):
        with pytest.raises(
            ConfigError, match=f"unknown class label={label}; this model knows b, a"
        ):
            find_label(("b", "a"), label)
    with pytest.raises(ConfigError, match="trained without classes"):
        find_label((), "a")


def test_a_model_without_classes_takes_any_data_and_no_other_classes_are_taken_for_its_own():
    assert labels_of(SimpleNamespace(), SimpleNamespace(label_names=("x",))) == ()
    loaded = SimpleNamespace(labels=("a", "b"), scales=())
    check_same_labels(loaded, SimpleNamespace(label_names=()))
    with pytest.raises(ConfigError, match="knows the classes a, b"):
        check_same_labels(loaded, SimpleNamespace(label_names=("b", "c")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance": -1.0, "label": "a"}, "guidance=-1.0 must be at least 0"),
        ({"guidance": 2.0}, "needs a class or a number to guide towards"),
        ({"label": "a", "guide": "run", "guide_label": "a"}, "both given"),
        ({"guide": "run"}, "belong together"),
        ({"guide_label": "a"}, "belong together"),
        ({"label": "a", "guide_order": "second"}, "guide_order=second"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    SampleSettings(model="x", out="y.fa")
    with pytest.raises(ConfigError, match=message):
        SampleSettings(model="x", out="y.fa", **changes)
