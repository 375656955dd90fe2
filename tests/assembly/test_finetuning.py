"""The `finetune` and `predict` entries without a shell: every method, resuming, mistakes."""

import json
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.finetune import finetuning, prediction
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.setting_files import config_folder
from tests.helpers import entries
from tests.helpers.entries import build_language_model
from tests.helpers.rounding import additions, rounding

RECIPES = sorted(path.stem for path in (config_folder("finetune") / "config").glob("*.yaml"))
QUICK = ["seeds=2", "training.epochs=1", "training.batch_size=32", "bootstrap=5", "kmer=2"]


def compose(name, *overrides):
    folder = str(config_folder(name))
    with hydra.initialize_config_dir(version_base="1.3", config_dir=folder):
        config = hydra.compose(config_name=name, overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=True)


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = hydra.compose(
            config_name="train",
            overrides=["config=tiny", "backbone.hidden_size=16", "backbone.num_heads=2",
                       "backbone.num_blocks=1", "data.length=32"],
        )  # fmt: skip
    tree = OmegaConf.to_container(config, resolve=True)
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
    tree = compose("finetune", "config=table", "model=x", f"run_dir={run_dir}", *table, *QUICK,
                   *overrides)  # fmt: skip
    path, headline = entries.finetune(tree)
    return json.loads(path.read_text()), headline


def test_every_predictor_is_tested_on_every_split_beside_the_leaks(tmp_path, table):
    results, headline = finetune(tmp_path / "run", table)
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
        lambda self, *key: (fitted.append(key), original(self, *key))[1],
    )
    second, _ = finetune(tmp_path / "b", table, *quick)
    assert fitted == [("model", 2), ("kmer", 2)]
    assert kept.stat().st_mtime_ns == before
    assert second["summary"] == first["summary"]
    (tmp_path / "b/splits/kmer_seed_1/result.json").write_text("{}")
    fitted.clear()
    assert finetune(tmp_path / "b", table, *quick)[0]["summary"] == first["summary"]
    assert fitted == [("kmer", 1)]


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
    tree = compose("predict", f"model={tmp_path / 'run'}", f"input={tmp_path / 'test.csv'}",
                   f"out={out}", "seed=2")  # fmt: skip
    entries.predict(tree)
    found = [line.split("\t") for line in out.read_text().splitlines()]
    stored = (tmp_path / "run/splits/model_seed_2/predictions.tsv").read_text().splitlines()
    expected = [line.split("\t") for line in stored]
    assert found[0] == ["name", "length", "prediction", "probability_at", "probability_gc"]
    assert [row[0] for row in found] == [row[0] for row in expected]
    shown = np.array([[float(x) for x in row[3:]] for row in found[1:]])
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
            compose("predict", f"model={tmp_path / kind}", f"input={path}", f"out={out}")
        )
        values = [float(line.split("\t")[-1]) for line in out.read_text().splitlines()[1:]]
        assert all(90 < v < 120 for v in values) if kind == "regression" else max(values) <= 1


def test_a_bed_file_is_predicted_by_its_genome(tmp_path, table):
    finetune(tmp_path / "run", table, "baselines=[]", "method=probe")
    (tmp_path / "g.fa").write_text(">c\n" + "GC" * 20 + "AT" * 20 + "\n")
    (tmp_path / "g.bed").write_text("c\t0\t30\tx\nc\t45\t80\t.\t0\t-\n")
    tree = compose("predict", f"model={tmp_path / 'run'}", f"input={tmp_path / 'g.bed'}",
                   f"out={tmp_path / 'p.tsv'}", f"data.fasta={tmp_path / 'g.fa'}",
                   f"data.cache_dir={tmp_path / 'cache'}")  # fmt: skip
    entries.predict(tree)
    rows = [line.split("\t")[:2] for line in (tmp_path / "p.tsv").read_text().splitlines()[1:]]
    assert rows == [["x", "30"], ["c:45-80", "35"]]
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
    tree = compose("predict", f"model={tmp_path / 'run'}", f"input={tmp_path / 'test.csv'}",
                   f"out={tmp_path / 'p.tsv'}")  # fmt: skip
    with pytest.raises(CheckpointError, match="choose probe=logistic or ridge"):
        entries.predict(tree)
    with pytest.raises(
        CheckpointError, match="is a folder that holds a run; give one run, such as model="
    ):
        entries.predict(tree | {"model": str(tmp_path)})


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_passes_the_closed_schema(recipe):
    tree = compose("finetune", f"config={recipe}", "model=x", "run_dir=y", "task=z",
                   *(["data.train=t.csv"] if recipe == "table" else []))  # fmt: skip
    read_settings(FinetuneEntry, tree)


def test_random_weights_are_a_function_of_the_seed(loaded):
    a, b, c = (loaded.config.build(seed=seed) for seed in (1, 1, 2))
    first, second, other = (next(lm.parameters()) for lm in (a, b, c))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
