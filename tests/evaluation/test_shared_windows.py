"""Windows with and without words of the training split, against a search of strings."""

from __future__ import annotations

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import DataError
from dnamdlm.evaluation import shared_windows as module
from dnamdlm.evaluation.likelihood.likelihood_report import likelihood_report
from dnamdlm.evaluation.shared_windows import shared_windows
from dnamdlm.evaluation.window_scores import BaseClasses, score_windows
from dnamdlm.lm.chain_fit import fit_markov_chain
from dnamdlm.lm.markov import MarkovLM
from tests.lm.test_markov import COMPLEMENT, random_dna, store_of, whole

LENGTH = 12


@pytest.fixture(scope="module")
def texts():
    train = random_dna(2000, 1)
    parts = [random_dna(300, 2), train[100:150], random_dna(200, 3), "N" * 5]
    parts += [train[500:540].translate(COMPLEMENT)[::-1], random_dna(155, 4), train[700:711]]
    return {"train": train + "N" + random_dna(90, 5).lower(), "test": "".join(parts)}


@pytest.fixture(scope="module")
def store(texts, tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("g"), **texts, valid=random_dna(500, 6))


def windows_of(store, length=32):
    return Sweep.over(SplitWindows(store, whole(store, "test"), length))


def expected(texts, length):
    train = texts["train"].upper()
    strands = [train, train.translate(COMPLEMENT)[::-1]]
    words = {s[i : i + LENGTH] for s in strands for i in range(len(s) - LENGTH + 1)}
    words = {word for word in words if "N" not in word}
    test = texts["test"]
    found = []
    for start in range(0, len(test), length):
        window = test[start : start + length]
        found.append(any(window[i : i + LENGTH] in words for i in range(len(window) - LENGTH + 1)))
    return found


@pytest.mark.parametrize("at_once", [1, 300, 1 << 25])
@pytest.mark.parametrize("length", [10, 32, 100])
def test_repeats_are_the_windows_in_which_a_search_finds_a_word(
    store, texts, length, at_once, monkeypatch
):
    monkeypatch.setattr(module, "_WORDS_AT_ONCE", at_once)
    monkeypatch.setattr(module, "_WINDOWS_AT_ONCE", 3)
    found = shared_windows(windows_of(store, length), whole(store, "train"), LENGTH)
    assert found.is_shared.tolist() == expected(texts, length)
    assert found.is_shared.any() == (length >= LENGTH)
    assert not found.is_shared.all()


def test_windows_that_were_not_compared_are_refused(store):
    found = shared_windows(windows_of(store), whole(store, "train"), LENGTH)
    with pytest.raises(DataError, match="not compared with training"):
        found.at(np.array([store.offsets["test"] + 1]))


def test_every_row_is_given_for_both_groups_and_their_bases_add_up(store, texts):
    windows = windows_of(store)
    groups = shared_windows(windows, whole(store, "train"), LENGTH)
    chain = fit_markov_chain(store, whole(store, "train"), [Interval("valid", 0, 500)])
    classes = BaseClasses(store, None, groups)
    scores = score_windows(MarkovLM(chain.best), windows, draws=1, classes=classes)
    report = likelihood_report(
        scores, windows, classes, draws=1, seconds=1.0, markov={"interpolated": chain},
        word_length=LENGTH,
    )  # fmt: skip
    assert classes.names[:3] == ("all", "unique windows", "repeats")
    content = report.to_json()
    rows = [row["classes"] for row in content["rows"]]
    for row in rows:
        whole_rate, *parts = (row[name] for name in ("all", "unique windows", "repeats"))
        assert sum(part["bases"] for part in parts) == whole_rate["bases"] == len(texts["test"]) - 5
        total = sum(part["bases"] * part["bits_per_base"] for part in parts)
        assert total == pytest.approx(whole_rate["bits_per_base"] * whole_rate["bases"])
    flags = np.repeat(expected(texts, 32), 32)[: len(texts["test"])]
    bases = np.array([letter != "N" for letter in texts["test"]])
    assert rows[0]["repeats"]["bases"] == int((flags & bases).sum())
    # one paired difference for each Markov row and group.
    assert len(content["differences"]) == len(chain.model.orders)
    for entry in content["differences"]:
        (row,) = (row for row in content["rows"] if row["name"] == entry["baseline"])
        for name, gap in entry["classes"].items():
            value = rows[-1][name]["bits_per_base"] - row["classes"][name]["bits_per_base"]
            assert gap["bits_per_base"] == pytest.approx(value)
    named = content["repeats"]["best_markov_by_class"]
    assert int(named["repeats"].split("_")[-1]) >= 12
    assert int(named["unique windows"].split("_")[-1]) < 12
