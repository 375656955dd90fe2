"""A head in Python predicts what `predict` writes: labels, several numbers, tables of any kind."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dnamdlm
from dnamdlm.errors import ConfigError, DataError
from tests.entries.commands import run

QUICK = ("config=table", "baselines=[]", "seeds=1", "bootstrap=0", "training.epochs=1")
LABELS = ["coding;long", "coding", "", "long"]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    sequences = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(48)]
    return pd.DataFrame(
        {
            "name": [f"r{i}" for i in range(48)], "sequence": sequences,
            "label": [LABELS[i % 4] for i in range(48)], "score": rng.normal(size=48),
            "rate": rng.normal(size=48),
        }
    )  # fmt: skip


@pytest.fixture(scope="module", params=["labels", "numbers"])
def fitted(request, rows, trained, tmp_path_factory):
    """A folder with a run of this kind and a table of the first rows."""
    folder = tmp_path_factory.mktemp("python_heads")
    rows.to_parquet(folder / "train.parquet")
    rows.head(5)[["name", "sequence"]].to_parquet(folder / "new.parquet")
    kind = ["data.kind=labels"] if request.param == "labels" else ["data.label_column=[score,rate]"]
    run("finetune", *QUICK, *kind, f"model={trained}", f"data.train={folder}/train.parquet",
        f"run_dir={folder}/ft")  # fmt: skip
    run("predict", f"model={folder}/ft", f"input={folder}/new.parquet", f"out={folder}/p.tsv")
    return request.param, folder


def test_it_predicts_what_the_command_writes(fitted, rows):
    kind, folder = fitted
    head = dnamdlm.load(folder / "ft", device="cpu")
    written = pd.read_csv(folder / "p.tsv", sep="\t", keep_default_na=False)
    names = {"labels": ("coding", "long"), "numbers": ("score", "rate")}[kind]
    assert (head.kind, head.label_names) == ({"numbers": "regression"}.get(kind, kind), names)
    stem = "probability" if kind == "labels" else "value"
    columns = [f"{stem}_{name}" for name in names]
    sequences = rows.sequence.head(5)
    for found in (
        head.predict(Path(folder / "new.parquet")),
        head.predict(rows.head(5)[["name", "sequence"]]),
        head.predict(list(sequences)),
    ):
        assert found.length.tolist() == written.length.tolist() == [30] * 5
        # the table has six digits.
        np.testing.assert_allclose(found[columns], written[columns], rtol=1e-5)
        if kind == "labels":
            assert found.prediction.tolist() == written.prediction.tolist()
    assert ("prediction" in written) == (kind == "labels")


def exchanges(sequence):
    return [(place, alt) for place, ref in enumerate(sequence) for alt in "ACGT" if alt != ref]


def test_interpret_says_what_its_prediction_changes_by(trained, rows, tmp_path):
    rows[["sequence", "score"]].to_csv(tmp_path / "train.csv", index=False)
    run("finetune", *QUICK, "data.label_column=score", f"model={trained}",
        f"data.train={tmp_path}/train.csv", f"run_dir={tmp_path}/ft")  # fmt: skip
    sequence = rows.sequence[3]
    (tmp_path / "g.fa").write_text(f">a\nCATTG{sequence}ACCAG\n>b\nACGT\n")
    run("interpret", f"model={tmp_path}/ft", f"data.fasta={tmp_path}/g.fa", "locus=a:5-35",
        "parts=[mutagenesis]", f"out={tmp_path}/made")  # fmt: skip
    head = dnamdlm.load(tmp_path / "ft", device="cpu")
    changed = [sequence[:i] + alt + sequence[i + 1 :] for i, alt in exchanges(sequence)]
    values = head.predict([sequence, *changed]).value_score
    expected = (values[1:] - values[0]).to_numpy()
    (found,) = head.interpret("a:5-35", tmp_path / "g.fa", cache_dir=str(tmp_path / "cache"))
    table = found.table()
    assert [*zip(table.pos - 6, table.alt, strict=True)] == exchanges(sequence)
    np.testing.assert_array_equal(table.value_score, expected)
    written = pd.read_csv(tmp_path / "made" / "a_5_35.mutagenesis.tsv", sep="\t")
    assert written.columns.tolist() == table.columns.tolist()
    # six digits are written.
    np.testing.assert_allclose(written.value_score, expected, rtol=1e-5)
    assert written.value_score.abs().min() > 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "a_5_35.mutagenesis.tsv", "a_5_35.mutagenesis.png", "a_5_35.mutagenesis.svg",
        "a_5_35.interpret.json",
    }  # fmt: skip
    with pytest.raises(DataError, match="which genome a locus is from"):
        head.interpret("a:5-35")


def test_what_it_cannot_read_is_one_sentence(fitted):
    head = dnamdlm.load(fitted[1] / "ft", device="cpu")
    with pytest.raises(DataError, match="one string was given"):
        head.predict("ACGT")
    with pytest.raises(DataError, match=r"sequence 2 .* is empty"):
        head.predict(["ACGT", ""])
    with pytest.raises(DataError, match="at least one sequence"):
        head.predict([])


def test_it_is_a_reward(fitted, rows):
    kind, folder = fitted
    name, other = {"labels": ("coding", "long"), "numbers": ("score", "rate")}[kind]
    sequences = list(rows.sequence.head(5))
    found = dnamdlm.reward(str(folder / "ft"), reward_class=name, device="cpu").batch(sequences)
    predicted = dnamdlm.load(folder / "ft", device="cpu").predict(sequences)
    if kind == "labels":
        expected = np.log(predicted[f"probability_{name}"])
    else:
        expected = predicted[f"value_{name}"]
    np.testing.assert_array_equal(found, expected)
    terms = [{"head": str(folder / "ft"), "class": other, "weight": 2.0}]
    twice = dnamdlm.reward(terms, device="cpu").batch(sequences)
    stem = "probability" if kind == "labels" else "value"
    values = predicted[f"{stem}_{other}"]
    np.testing.assert_allclose(
        twice, 2 * (np.log(values) if kind == "labels" else values), rtol=1e-12
    )
    with pytest.raises(ConfigError, match=f"predicts {name}, {other}; say which one is wanted"):
        dnamdlm.reward(str(folder / "ft"))
    with pytest.raises(ConfigError, match=rf"reward_class={name}s is not predicted by .*mean"):
        dnamdlm.reward(str(folder / "ft"), reward_class=f"{name}s")
