"""`finetune` and `predict` on text: GLUE, tables, and models that do not suit."""

import json

import numpy as np
import pandas as pd
import pytest

from data_prep.text import main
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.finetune import finetuning, prediction
from dnamdlm.assembly.head_model import Head
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.tasks.delimited import read_delimited
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.reporting.other_reports import write_finetune_report
from tests.assembly.test_configs import compose as compose_training
from tests.helpers import entries
from tests.helpers.entries import build_language_model, composed
from tests.helpers.rounding import additions, rounding

QUICK = ["seeds=2", "training.epochs=1", "bootstrap=5", "model=x", "training.learning_rate=0.01"]
SMALL = ["backbone.hidden_size=16", "backbone.num_heads=2", "backbone.num_blocks=1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "lines.txt").write_text("a line of text\n" * 50)
    assert main([f"files={folder / 'lines.txt'}", f"out={folder / 'bytes'}"]) == 0
    return folder / "bytes"


@pytest.fixture(autouse=True)
def loaded(monkeypatch, corpus, tmp_path):
    tree = compose_training("config=text", f"data.corpus={corpus}", "data.length=40", *SMALL)
    model = LoadedModel(
        build_language_model(tree, 3).eval(), ModelConfig(tree), 1, "0" * 16, tmp_path, None
    )
    monkeypatch.setattr(finetuning, "load_model", lambda *_args, **_settings: model)
    for module in (finetuning, prediction):
        monkeypatch.setattr(module, "start_ops", lambda *_args: None)
    return model


@pytest.fixture
def glue(tmp_path):
    """RTE that a word of the second sentence decides, and CoLA."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "blue", "green"])
    for name, header in (("RTE", "index\tsentence1\tsentence2\tlabel\n"), ("CoLA", "")):
        (tmp_path / name).mkdir()
        for stem, count in (("train", 60), ("dev", 20)):
            lines = []
            for row in range(count):
                first, second = rng.choice(words, size=(2, 4))
                said = "red" in second
                label = ("not_entailment", "entailment")[int(said)]
                pair = f"{row}\t{' '.join(first)}\t{' '.join(second)}\t{label}"
                one = f"x\t{int(said)}\t\t{' '.join(second)}"
                lines.append(pair if name == "RTE" else one)
            (tmp_path / name / f"{stem}.tsv").write_text(header + "\n".join(lines) + "\n")
    return tmp_path


def finetune(glue, *overrides):
    tree = composed("finetune", "config=glue", f"data.folder={glue}", *QUICK, *overrides)
    path, headline = entries.finetune(tree)
    return json.loads(path.read_text()), headline


def test_glue_is_fine_tuned_beside_its_baselines(glue, tmp_path):
    results, headline = finetune(glue, "task=rte", f"run_dir={tmp_path / 'run'}")
    assert list(results["summary"]) == ["model", "random_weights", "bag_of_words", "majority"]
    assert results["rows"] == {"train": 60, "valid": None, "test": 20}
    assert results["label_names"] == ["entailment", "not_entailment"]
    assert results["summary"]["bag_of_words"]["test"]["accuracy"]["mean"] > 0.8
    majority = results["summary"]["majority"]["test"]
    assert majority["mcc"]["mean"] == 0.0
    assert results["strand"] == "one"
    assert headline.startswith("rte, test accuracy")
    page = write_finetune_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "60 train rows, 20 test rows" in page


@pytest.mark.parametrize("task", ["rte", "cola"])
def test_predictions_of_a_table_are_those_of_the_run(glue, tmp_path, task, loaded):
    run_dir = tmp_path / "run"
    finetune(glue, f"task={task}", f"run_dir={run_dir}", "baselines=[]", "pooling=first")
    source = glue / "RTE" / "dev.tsv"
    if task == "cola":
        rows = [line.split("\t")[3] for line in (glue / "CoLA/dev.tsv").read_text().splitlines()]
        source = tmp_path / "mine.csv"
        source.write_text("\n".join(["sentence", *rows]) + "\n")
    out = tmp_path / "p.tsv"
    tree = composed("predict", f"model={run_dir}", f"input={source}", f"out={out}", "seed=2")
    entries.predict(tree)
    found = [line.split("\t") for line in out.read_text().splitlines()[1:]]
    stored = (run_dir / "splits/model_seed_2/predictions.tsv").read_text().splitlines()[1:]
    expected = [line.split("\t") for line in stored]
    head = Head(run_dir, seed=2, device="cpu")
    table = pd.DataFrame(read_delimited(source).columns)
    names = [f"probability_{name}" for name in head.label_names]
    in_python = head.predict(table)[names].to_numpy()
    # the table has six digits.
    np.testing.assert_allclose(
        in_python, np.array([row[-2:] for row in found], float), rtol=0, atol=1e-6
    )
    # the columns of the input stand first, the probabilities last.
    shown, wanted = (np.array([row[-2:] for row in rows], float) for rows in (found, expected))
    # six digits of probabilities from float32 batches of other shapes.
    allowed = 1e-6 + rounding(additions(loaded.lm))
    np.testing.assert_allclose(shown, wanted, rtol=0, atol=allowed)
    assert [row[0] for row in found][:2] == ["row_1", "row_2"]
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.tsv for a model of text"):
        entries.predict(tree | {"input": "x.fa"})
    (tmp_path / "bad.tsv").write_text("words\tname\na\tb\n")
    with pytest.raises(DataError, match="there is no column 'sentence"):
        entries.predict(tree | {"input": str(tmp_path / "bad.tsv")})


def test_a_row_without_text_has_a_reason_and_the_others_a_prediction(glue, tmp_path):
    run_dir, source, out = tmp_path / "run", tmp_path / "mine.csv", tmp_path / "p.tsv"
    finetune(glue, "task=cola", f"run_dir={run_dir}", "baselines=[]", "pooling=first")
    source.write_text('sentence,name\ngood,a\n"",b\nbad,c\n')
    tree = composed("predict", f"model={run_dir}", f"input={source}", f"out={out}", "seed=2")
    entries.predict(tree)
    header, *rows = (line.split("\t") for line in out.read_text().splitlines())
    assert [bool(row[header.index("prediction")]) for row in rows] == [True, False, True]
    assert [row[header.index("reason")] for row in rows] == [
        "", "is empty; give it text or remove it", ""
    ]  # fmt: skip
    source.write_text('sentence,name\n"",b\n')
    with pytest.raises(DataError, match=r"mine\.csv: b is empty"):
        entries.predict(tree)
    tree["data"] = dict(tree["data"]) | {"rna": True}
    with pytest.raises(ConfigError, match=r"data\.rna is for models of DNA"):
        entries.predict(tree)


def test_a_table_of_ones_own_is_read_as_text(tmp_path):
    rows = [f'"{"good" if i % 2 else "bad"}, {i} times",{i % 2}' for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    tree = composed("finetune", "config=table", f"data.train={tmp_path / 't.csv'}", *QUICK,
                   "baselines=[bag_of_words]", f"run_dir={tmp_path / 'run'}")  # fmt: skip
    path, _ = entries.finetune(tree)
    assert json.loads(path.read_text())["summary"]["bag_of_words"]["test"]["accuracy"]["mean"] == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=colla"], "task=colla is unknown"),
        (["task=rte", "strand=conjoined"], "strand=conjoined is for models of DNA"),
        (["task=rte", "pooling=mean_padded"], "pooling=mean_padded is for models of DNA"),
        (["task=rte", "baselines=[kmer]"], "baselines=kmer is for DNA, and the model is"),
        (["task=rte", "max_length=3"], "max_length=3 leaves no space"),
        (["task=wnli"], r"WNLI/train\.tsv: no such file"),
    ],
)
def test_a_mistake_is_one_sentence(glue, tmp_path, overrides, message):
    with pytest.raises((ConfigError, DataError), match=message):
        finetune(glue, f"run_dir={tmp_path / 'run'}", *overrides)
    assert not (tmp_path / "run" / "splits").exists()


def test_models_and_tasks_of_two_kinds_do_not_meet(glue, tmp_path, monkeypatch):
    gue = composed("finetune", "config=gue", *QUICK, "task=x", f"run_dir={tmp_path / 'run'}")
    with pytest.raises(ConfigError, match="is a model of text, and these tasks are of DNA"):
        entries.finetune(gue)
    tree = compose_training("config=tiny", *SMALL)
    dna = LoadedModel(build_language_model(tree, 3), ModelConfig(tree), 1, "0" * 16, tmp_path, None)
    monkeypatch.setattr(finetuning, "load_model", lambda *_args, **_settings: dna)
    with pytest.raises(ConfigError, match="is a model of DNA, and these tasks are of text"):
        finetune(glue, "task=rte", f"run_dir={tmp_path / 'run'}")
    with pytest.raises(ConfigError, match="baselines=bag_of_words is for text"):
        entries.finetune(
            composed("finetune", "config=gue", *QUICK, "task=x", "baselines=[bag_of_words]",
                    f"run_dir={tmp_path / 'run'}")
        )  # fmt: skip
