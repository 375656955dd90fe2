"""The `finetune` and `predict` entries without a shell: every method, resuming, mistakes."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

import dnamdlm
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.exporting import ExportSettings, export
from dnamdlm.assembly.finetune import finetuning, prediction, predictors
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.reporting.other_reports import write_finetune_report
from tests.helpers import entries
from tests.helpers.entries import build_language_model, composed
from tests.helpers.head_runs import SMALL
from tests.helpers.rounding import additions, rounding

QUICK = ["seeds=2", "training.epochs=1", "training.batch_size=32", "bootstrap=5", "kmer=2"]
THOROUGH = "baselines=[kmer,cnn,random_weights]"


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    tree = composed("train", *SMALL)
    lm = build_language_model(tree, seed=3).eval()
    model = LoadedModel(lm, ModelConfig(tree), 1, "0123456789abcdef", Path("x"), None)
    monkeypatch.setattr(finetuning, "load_model", lambda *_args, **_settings: model)
    for module in (finetuning, prediction):
        monkeypatch.setattr(module, "start_ops", lambda *_args: None)
    return model


@pytest.fixture
def table(tmp_path):
    """Sequences of two compositions; some test rows stand in the training table too."""
    rng = np.random.default_rng(0)
    lines = []
    for row in range(80):
        rich = row % 2
        letters = rng.choice(list("ACGT"), size=20 + row % 30,
                             p=[0.1, 0.4, 0.4, 0.1] if rich else [0.4, 0.1, 0.1, 0.4])  # fmt: skip
        lines.append(f"{''.join(letters)},{'gc' if rich else 'at'}")
    (tmp_path / "train.csv").write_text("\n".join(["sequence,label", *lines[:60]]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(["sequence,label", *lines[50:]]) + "\n")
    return [f"data.train={tmp_path / 'train.csv'}", f"data.test={tmp_path / 'test.csv'}"]


def finetune(run_dir, table, *overrides):
    tree = composed("finetune", "config=table", "model=x", f"run_dir={run_dir}", *table, *QUICK,
                    *overrides)  # fmt: skip
    path, headline = entries.finetune(tree)
    return json.loads(path.read_text()), headline


def test_every_predictor_is_tested_on_every_split_beside_the_leaks(tmp_path, table):
    results, headline = finetune(tmp_path / "run", table, THOROUGH)
    assert list(results["summary"]) == ["model", "kmer", "cnn", "random_weights"]
    assert len(results["splits"]) == 8
    assert results["leaks"]["exact"] == 10
    for split in results["splits"]:
        assert (split["test"]["rows"], split["test_without_leaks"]["rows"]) == (30, 20)
        low, high = split["test"]["intervals"]["accuracy"]
        assert low <= split["test"]["figures"]["accuracy"] <= high
    assert results["summary"]["kmer"]["test"]["accuracy"]["mean"] > 0.8
    lines = (tmp_path / "run" / "results.tsv").read_text().splitlines()
    assert len(lines) == 1 + 8 * 2 * 4
    assert headline.splitlines()[0].startswith("train, test accuracy")
    predictions = (tmp_path / "run/splits/model_seed_1/predictions.tsv").read_text().splitlines()
    assert predictions[0].split("\t") == ["name", "target", "in_train", "probability_at",
                                          "probability_gc"]  # fmt: skip
    assert len(predictions) == 31


def test_finished_splits_are_not_repeated_and_the_result_is_the_same(tmp_path, table, monkeypatch):
    quick = ["baselines=[kmer]"]
    first, _ = finetune(tmp_path / "a", table, *quick)
    whole, _ = finetune(tmp_path / "b", table, "seeds=1", *quick)
    assert len(whole["splits"]) == 2
    kept = tmp_path / "b/splits/model_seed_1/result.json"
    before = kept.stat().st_mtime_ns
    fitted = []
    original = finetuning.Predictors.fit
    monkeypatch.setattr(
        finetuning.Predictors,
        "fit",
        lambda self, *key: (fitted.append(key[:2]), original(self, *key))[1],
    )
    second, _ = finetune(tmp_path / "b", table, *quick)
    assert fitted == [("model", 2), ("kmer", 2)]
    assert kept.stat().st_mtime_ns == before
    assert second["summary"] == first["summary"]
    (tmp_path / "b/splits/kmer_seed_1/result.json").write_text("{}")
    fitted.clear()
    assert finetune(tmp_path / "b", table, *quick)[0]["summary"] == first["summary"]
    assert fitted == [("kmer", 1)]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_head_that_begins_as_a_probe_is_that_probe_before_training(tmp_path, table, method):
    quick = ["seeds=1", "baselines=[]"]
    probe, _ = finetune(tmp_path / "probe", table, "method=probe", *quick)
    begun, _ = finetune(tmp_path / "begun", table, f"method={method}", "head=probe", *quick)
    (wanted,), (found,) = probe["splits"], begun["splits"]
    assert found["history"][0]["valid"] == pytest.approx(wanted["valid"], rel=1e-4)
    assert [epoch["epoch"] for epoch in found["history"]] == [0, 1]
    # trained all the same: the loss of the first pass is that of a head that knows something.
    assert found["history"][1]["train_loss"] < np.log(2)


def test_a_regression_begins_as_a_probe_in_the_units_of_its_targets(tmp_path):
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("ACGT"), 24)) for _ in range(90)]
    values = [300 + 20 * (text.count("G") + text.count("C")) for text in texts]
    # noise of 10, next to which the rounding of a head in float32 is nothing.
    values += 10 * rng.standard_normal(len(texts))
    lines = [f"{text},{value}" for text, value in zip(texts, values, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    table = [f"data.train={tmp_path / 't.csv'}", "data.kind=regression"]
    quick = ["seeds=1", "baselines=[]", "probe=ridge"]
    probe, _ = finetune(tmp_path / "probe", table, "method=probe", *quick)
    begun, _ = finetune(tmp_path / "begun", table, "method=full", "head=probe", *quick)
    wanted, found = probe["splits"][0]["valid"], begun["splits"][0]["history"][0]["valid"]
    assert wanted["r2"] > 0.5
    for name in ("mse", "r2", "pearson"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-3)


def test_a_head_cannot_begin_as_a_support_vector_machine(tmp_path, table):
    with pytest.raises(ConfigError, match=r"probe=svm has none; choose probe=logistic or probe=r"):
        finetune(tmp_path / "run", table, "method=full", "head=probe", "probe=svm")


@pytest.mark.parametrize(
    "method",
    [
        ["method=lora"],
        ["method=probe"],
        pytest.param(["method=probe", "probe=ridge"], marks=pytest.mark.slow),
        pytest.param(["method=full"], marks=pytest.mark.slow),
    ],
)
def test_predictions_of_a_stored_head_are_those_of_the_run(tmp_path, table, method, loaded):
    finetune(tmp_path / "run", table, "baselines=[]", "strand=conjoined", *method)
    out = tmp_path / "p.tsv"
    tree = composed("predict", f"model={tmp_path / 'run'}", f"input={tmp_path / 'test.csv'}",
                    f"out={out}", "seed=2")  # fmt: skip
    entries.predict(tree)
    found = [line.split("\t") for line in out.read_text().splitlines()]
    stored = (tmp_path / "run/splits/model_seed_2/predictions.tsv").read_text().splitlines()
    expected = [line.split("\t") for line in stored]
    assert found[0] == ["name", "sequence", "label", "length", "prediction", "probability_at",
                        "probability_gc"]  # fmt: skip
    assert [row[0] for row in found] == [row[0] for row in expected]
    shown = np.array([[float(x) for x in row[5:]] for row in found[1:]])
    # six digits of probabilities from float32 batches of other shapes.
    allowed = 1e-6 + rounding(additions(loaded.lm))
    wanted = [[float(x) for x in row[3:]] for row in expected[1:]]
    np.testing.assert_allclose(shown, wanted, rtol=0, atol=allowed)
    entries.predict(tree | {"seed": None, "out": str(tmp_path / "mean.tsv")})
    assert len((tmp_path / "mean.tsv").read_text().splitlines()) == 31


def test_regression_and_several_labels_run_through(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), size=30)) for _ in range(60)]
    lines = [
        f"{row},{100 + row.count('A')},{int(row[0] == 'A')},{int('CG' in row)}" for row in rows
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["sequence,y,a,b", *lines]) + "\n")
    for kind, columns in (("regression", "[y]"), ("labels", "[a,b]")):
        chosen = [f"data.train={path}", f"data.kind={kind}", f"data.label_column={columns}"]
        results, _ = finetune(tmp_path / kind, chosen, "seeds=1", "baselines=[kmer]")
        assert len(results["splits"]) == 2
        out = tmp_path / f"{kind}.tsv"
        entries.predict(
            composed("predict", f"model={tmp_path / kind}", f"input={path}", f"out={out}")
        )
        values = [float(line.split("\t")[-1]) for line in out.read_text().splitlines()[1:]]
        assert all(90 < v < 120 for v in values) if kind == "regression" else max(values) <= 1


def test_a_bed_file_is_predicted_by_its_genome(tmp_path, table):
    finetune(tmp_path / "run", table, "baselines=[]", "method=probe")
    (tmp_path / "g.fa").write_text(">c\n" + "GC" * 20 + "AT" * 20 + "\n")
    (tmp_path / "g.bed").write_text("c\t0\t30\tx\nc\t45\t80\t.\t0\t-\n")
    tree = composed("predict", f"model={tmp_path / 'run'}", f"input={tmp_path / 'g.bed'}",
                    f"out={tmp_path / 'p.tsv'}", f"data.fasta={tmp_path / 'g.fa'}",
                   f"data.cache_dir={tmp_path / 'cache'}")  # fmt: skip
    entries.predict(tree)
    rows = [line.split("\t")[:6] for line in (tmp_path / "p.tsv").read_text().splitlines()[1:]]
    assert rows == [["c", "0", "30", "x", ".", "30"], ["c", "45", "80", "c:45-80", "-", "35"]]
    (tmp_path / "g.bed").write_text("c\t0\t300\n")
    with pytest.raises(DataError, match=r"has 80 bp, but c:0-300 ends at 300"):
        entries.predict(tree)
    with pytest.raises(ConfigError, match=r"needs its genome; give data\.fasta=FILE"):
        entries.predict(tree | {"data": tree["data"] | {"fasta": None}})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=fine"], "method=fine is unknown; choose full, lora or probe"),
        (["baselines=[gkm]"], "baselines=gkm is unknown"),
        (["probe=forest"], "probe=forest is unknown"),
        (["strand=invariant"], "needs an equivariant network"),
        (["seeds=0"], "seeds=0 must be at least 1"),
        (["valid_fraction=0.0"], "valid_fraction"),
        (["+training.epoch=3"], "training.epoch is not a setting"),
        (["data.metric=r2"], "data.metric=r2 does not exist for classes"),
        (["long=refuse", "max_length=20"], "49 bases and a window holds 20; set max_length=49"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_written(tmp_path, table, overrides, message):
    with pytest.raises((ConfigError, DataError), match=message):
        finetune(tmp_path / "run", table, *overrides)
    assert not list(tmp_path.glob("run/splits/*"))


def test_a_run_folder_serves_one_task_and_one_setting(tmp_path, table):
    quick = ["baselines=[]", "method=probe", "seeds=1"]
    finetune(tmp_path / "run", table, *quick)
    with pytest.raises(ConfigError, match="holds a run of another config"):
        finetune(tmp_path / "run", table, *quick, "strand=one")
    content = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(content + "ACGTACGT,gc\n")
    with pytest.raises(ConfigError, match="other data"):
        finetune(tmp_path / "run", table, *quick)


def test_a_support_vector_machine_is_tested_but_not_stored(tmp_path, table):
    results, _ = finetune(tmp_path / "run", table, "baselines=[]", "method=probe", "probe=svm")
    assert results["method"] == "probe svm"
    tree = composed("predict", f"model={tmp_path / 'run'}", f"input={tmp_path / 'test.csv'}",
                    f"out={tmp_path / 'p.tsv'}")  # fmt: skip
    with pytest.raises(CheckpointError, match="choose probe=logistic or ridge"):
        entries.predict(tree)
    with pytest.raises(
        CheckpointError, match="is a folder that holds a run; give one run, such as model="
    ):
        entries.predict(tree | {"model": str(tmp_path)})


def test_random_weights_are_a_function_of_the_seed(loaded):
    a, b, c = (loaded.config.build(seed=seed) for seed in (1, 1, 2))
    first, second, other = (next(lm.parameters()) for lm in (a, b, c))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.fixture
def numbers(tmp_path):
    """Sequences with names, a number that grows with A, and a column of its own."""
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), size=30)) for _ in range(60)]
    lines = [f"s{i},{row},{row.count('A') + 0.5},-{i}" for i, row in enumerate(rows)]
    path = tmp_path / "n.csv"
    path.write_text("\n".join(["id,sequence,expression,length", *lines]) + "\n")
    return path


def test_a_first_try_is_one_split_with_words_and_says_what_it_took(numbers, tmp_path, caplog):
    caplog.set_level("INFO")
    chosen = [f"data.train={numbers}", "data.label_column=expression"]
    results, headline = finetune(tmp_path / "run", chosen, "seeds=null")
    assert [split["predictor"] for split in results["splits"]] == ["model", "kmer"]
    assert "n: regression on column expression (expression from " in caplog.text
    assert "model, seed 1: test r2" in caplog.text
    assert "(1 of 2 fits); left: the time of kmer" in caplog.text
    first, model, kmer = headline.splitlines()
    assert first == "n, test r2 (one split, with the 95 % interval of the test rows):"
    low, high = results["splits"][1]["test"]["intervals"]["r2"]
    assert kmer.endswith(f"[{low:.4f}, {high:.4f}]")
    assert "without leaked" not in model
    page = write_finetune_report(tmp_path / "run").read_text()
    assert "on one split of the training rows" in page
    assert "Predicted and measured" in page
    assert (tmp_path / "run/report_data/numbers.svg").is_file()


def test_several_splits_are_named_with_their_range(table, tmp_path):
    results, headline = finetune(tmp_path / "run", table, "baselines=[]", "method=probe")
    values = [split["test"]["figures"]["accuracy"] for split in results["splits"]]
    lines = headline.splitlines()
    assert lines[0] == "train, test accuracy (mean of 2 splits, and the smallest and largest):"
    assert f"{np.mean(values):.4f} [{min(values):.4f}, {max(values):.4f}]; without" in lines[1]


@pytest.mark.parametrize("transform", ["log1p", "rank"])
def test_transformed_numbers_carry_their_scale_in_the_name(numbers, tmp_path, transform):
    chosen = [f"data.train={numbers}", "data.label_column=expression", f"transform={transform}"]
    results, _ = finetune(tmp_path / "run", chosen, "baselines=[]", "method=probe", "probe=ridge")
    assert results["label_names"] == [f"{transform}(expression)"]
    stored = (tmp_path / "run/splits/model_seed_1/predictions.tsv").read_text().splitlines()[1:]
    target = {row.split("\t")[0]: float(row.split("\t")[1]) for row in stored}
    rows = [row.split(",") for row in numbers.read_text().splitlines()[1:]]
    known = {row[0]: float(row[2]) for row in rows}
    learned = np.array([value for name, value in known.items() if name not in target])
    for name, value in target.items():
        below, equal = (learned < known[name]).mean(), (learned == known[name]).mean()
        wanted = np.log1p(known[name]) if transform == "log1p" else below + equal / 2
        # the table has six digits.
        assert value == pytest.approx(wanted, rel=1e-5)


def test_a_transform_that_cannot_be_is_one_sentence(numbers, table, tmp_path):
    with pytest.raises(ConfigError, match="transform=rank is for numbers, and train has classes"):
        finetune(tmp_path / "run", table, "transform=rank")
    chosen = [f"data.train={numbers}", "data.label_column=length", "data.kind=regression"]
    with pytest.raises(DataError, match="log1p needs numbers above -1; use transform=rank"):
        finetune(tmp_path / "run", chosen, "transform=log1p")


def test_predictions_keep_the_columns_of_the_input_and_are_the_same_in_python(numbers, tmp_path):
    chosen = [f"data.train={numbers}", "data.label_column=expression", "method=probe"]
    finetune(tmp_path / "run", chosen, "baselines=[]")
    out = tmp_path / "p.tsv"
    tree = composed("predict", f"model={tmp_path / 'run'}", f"input={numbers}", f"out={out}")
    entries.predict(tree)
    table, found = pandas.read_csv(numbers), pandas.read_csv(out, sep="\t")
    assert list(found) == [*table, "length_predicted", "value_expression"]
    pandas.testing.assert_frame_equal(found[list(table)], table)
    head = dnamdlm.load(tmp_path / "run", device="cpu")
    assert isinstance(head, dnamdlm.Head)
    assert (head.kind, head.label_names) == ("regression", ("expression",))
    predicted = head.predict(table.set_index("id"))
    assert list(predicted.index) == list(table["id"])
    # the file has six digits.
    np.testing.assert_allclose(predicted["value_expression"], found["value_expression"], rtol=1e-5)
    strings = head.predict(list(table["sequence"]))
    assert list(strings) == ["sequence", "length", "value_expression"]
    for same in (strings, head.predict(numbers)):
        assert same["value_expression"].tolist() == predicted["value_expression"].tolist()
    with pytest.raises(DataError, match="one string was given"):
        head.predict("ACGT")
    with pytest.raises(ConfigError, match="no effect; leave them out"):
        dnamdlm.load(tmp_path / "run", strands="both")


def test_a_record_is_named_by_its_header_up_to_the_first_blank(table, tmp_path):
    finetune(tmp_path / "run", table, "baselines=[]", "method=probe")
    fasta, out = tmp_path / "g.fa", tmp_path / "p.tsv"
    fasta.write_text(">NC_1.1 strain A, whole\nACGTACGTACGT\n>b|x\tc\nGGGGGGGGGG\n")
    entries.predict(
        composed("predict", f"model={tmp_path / 'run'}", f"input={fasta}", f"out={out}")
    )
    rows = [line.split("\t") for line in out.read_text().splitlines()]
    assert [row[:2] for row in rows] == [["name", "length"], ["NC_1.1", "12"], ["b|x", "10"]]


def test_few_shots_learn_from_few_rows_of_each_class_and_say_so(tmp_path, table, monkeypatch):
    fitted = []
    original = predictors.fit_probe

    def fit(name, kind, train, valid, **settings):
        fitted.append([np.bincount(train[1]).tolist(), len(train[1]), len(valid[1])])
        return original(name, kind, train, valid, **settings)

    monkeypatch.setattr(predictors, "fit_probe", fit)
    found, _ = finetune(tmp_path / "few", table, "shots=3", "baselines=[kmer]", "method=probe")
    whole, _ = finetune(tmp_path / "all", table, "baselines=[kmer]", "method=probe")
    assert found["rows"] == whole["rows"]
    assert (found["shots"], "shots" in whole) == (3, False)
    assert found["leaks"] == whole["leaks"]
    # two seeds of two predictors: six of the 54 training rows, and at most six of the 6 held out.
    assert [rows for rows, _, _ in fitted[:4]] == [[3, 3]] * 4
    assert all(held <= 6 for _, _, held in fitted[:4])
    assert [count for _, count, _ in fitted[4:]] == [54] * 4


def test_as_many_shots_as_there_are_rows_are_the_whole_table(tmp_path, table):
    quick = ["baselines=[kmer]", "method=probe", "seeds=1"]
    found, _ = finetune(tmp_path / "few", table, "shots=100", *quick)
    whole, _ = finetune(tmp_path / "all", table, *quick)
    assert found["summary"] == whole["summary"]


def test_an_audit_by_seqleak_is_recorded_or_refused_before_work(tmp_path, table, monkeypatch):
    quick = ["audit=seqleak", "baselines=[]", "method=probe", "seeds=1"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "seqleak.audit", None)
        with pytest.raises(ConfigError, match=r"pip install 'dnamdlm\[audit\]'"):
            finetune(tmp_path / "run", table, *quick)
        assert not (tmp_path / "run").exists()
    pytest.importorskip("seqleak", reason="seqleak is not installed (the extra audit)")
    found, _ = finetune(tmp_path / "run", table, *quick)
    assert found["audit"]["copies"]["exact_or_reverse"]["both"] == found["leaks"]["exact"]


def test_the_card_of_a_head_names_the_rows_that_train_and_test_share(tmp_path, table):
    finetune(tmp_path / "run", table, "baselines=[]", "method=lora", "seeds=1")
    export(ExportSettings(str(tmp_path / "run"), str(tmp_path / "out")))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "10 of the 30 test rows have an exact, reverse-complement or near copy" in card
