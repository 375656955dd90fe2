"""The audit by seqleak: agreement with our own search, and what happens without the package."""

import importlib

import numpy as np
import pandas as pd
import pytest

from dnamdlm.data.tasks.labelled import LabelledSet, LabelledTask
from dnamdlm.data.tasks.leaks import Leaks, find_leaks
from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.tasks import seqleak_audit
from dnamdlm.evaluation.tasks.seqleak_audit import SeqleakAudit, audit_task
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY


def letters(count, length, seed):
    rng = np.random.default_rng(seed)
    return ["".join(row) for row in rng.choice(list("ACGT"), (count, length))]


def labelled(texts):
    names = [f"row {number}" for number in range(len(texts))]
    return LabelledSet(encode_dna(names, texts, "x"), np.arange(len(texts)) % 2)


@pytest.fixture(scope="module")
def task():
    train = letters(60, 120, 1)
    own, near, turned = letters(12, 120, 2), train[6:9], train[3:6]
    near = [text[:70] + new[:50] for text, new in zip(near, letters(3, 120, 3), strict=True)]
    turned = [text[::-1].translate(str.maketrans("ACGT", "TGCA")) for text in turned]
    test = [*train[:3], *turned, *near, *own]
    return LabelledTask("made", "classes", ("0", "1"), labelled(train), labelled(test))


def test_both_audits_agree_on_every_kind_of_copy(task):
    pytest.importorskip("seqleak", reason="seqleak is not installed (the extra audit)")
    # the near copies share 50 of 100 words of 21 and 47 of 97 of 24: more than 0.4 of both.
    leaks = find_leaks(task.train.sequences, task.test.sequences, NUCLEOTIDE_VOCABULARY, share=0.4)
    found = audit_task(task, NUCLEOTIDE_VOCABULARY, share=0.4)
    compared = found.compared(leaks)
    nobody_alone = {"ours_alone": 0, "seqleak_alone": 0}
    assert compared["copies"] == {
        "exact_or_reverse": {"both": 6, **nobody_alone},
        "near": {"both": 9, **nobody_alone},
        "any": {"both": 9, **nobody_alone},
    }
    assert (leaks.exact.sum(), leaks.reverse.sum()) == (3, 3)
    assert found.near.tolist() == [True] * 9 + [False] * 12
    assert compared["verdict"] == "FAIL"
    assert compared["checks"]["overlap.exact"]["value"] == pytest.approx(6 / 21)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "column", "copies", "near"),
    [
        ("GUE/prom_core_tata", "sequence", 16, 26),
        ("genomic_benchmarks_chr20/human_enhancers_ensembl", "seq", 343, 342),
    ],
)
def test_both_audits_agree_on_a_published_task(shared, name, column, copies, near):
    pytest.importorskip("seqleak", reason="seqleak is not installed (the extra audit)")
    parts = [
        labelled(pd.read_csv(shared / "data/tasks" / name / f"{part}.csv")[column].tolist())
        for part in ("train", "test")
    ]
    task = LabelledTask("real", "classes", ("0", "1"), *parts)
    leaks = find_leaks(task.train.sequences, task.test.sequences, NUCLEOTIDE_VOCABULARY)
    found = audit_task(task, NUCLEOTIDE_VOCABULARY, share=0.5)
    exact = found.compared(leaks)["copies"]["exact_or_reverse"]
    assert exact == {"both": copies, "ours_alone": 0, "seqleak_alone": 0}
    assert (found.near & leaks.near).sum() == near
    # words of 21 and of 24 can only disagree about a row close to the share that decides.
    alone = found.near != leaks.near
    assert (np.abs(found.containment[alone] - 0.5) < 0.1).all()
    assert alone.sum() <= 1


def test_rows_are_counted_by_who_finds_them():
    flags = np.array([True, True, False, False])
    other = np.array([True, False, True, False])
    nothing = np.zeros(4, bool)
    audit = SeqleakAudit(other, np.array([0.6, 0.4, np.nan, 0.5]), 0.5, "WARN", {}, "1")
    assert audit.near.tolist() == [True, False, False, True]
    copies = audit.compared(Leaks(flags, nothing, nothing))["copies"]
    assert copies["exact_or_reverse"] == {"both": 1, "ours_alone": 1, "seqleak_alone": 1}
    assert copies["near"] == {"both": 0, "ours_alone": 0, "seqleak_alone": 2}
    assert copies["any"] == {"both": 1, "ours_alone": 1, "seqleak_alone": 2}


def test_without_the_package_one_sentence_says_how_to_get_it(task, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(seqleak_audit.importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=r"pip install 'dnamdlm\[audit\]'"):
        audit_task(task, NUCLEOTIDE_VOCABULARY, share=0.5)
    assert importlib is not None
