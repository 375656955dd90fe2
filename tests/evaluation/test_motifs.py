"""Motif files, thresholds against enumeration, and matches planted by hand."""

import itertools

import numpy as np
import pytest

from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.samples.motif_content import motif_section, rate_correlation
from dnamdlm.evaluation.samples.motifs import (
    Motif,
    match_counts,
    read_motifs,
    score_table,
    threshold,
)

UNIFORM = np.full(4, 0.25)
JASPAR_TEXT = """>MA0001.1 GATA
A  [ 0 9 0 9 ]
C  [ 0 1 0 1 ]
G  [ 10 0 0 0 ]
T  [ 0 0 10 0 ]
"""
MEME_TEXT = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF GATA
letter-probability matrix: alength= 4 w= 4 nsites= 10 E= 0
 0 0 1 0
 0.9 0.1 0 0
 0 0 0 1
 0.9 0.1 0 0
"""


@pytest.mark.parametrize("text", [JASPAR_TEXT, MEME_TEXT], ids=["jaspar", "meme"])
def test_both_formats_give_the_same_matrix(tmp_path, text):
    path = tmp_path / "motifs.txt"
    path.write_text(text)
    (motif,) = read_motifs(str(path))
    shares = motif.counts / motif.counts.sum(axis=1, keepdims=True)
    assert shares == pytest.approx(
        np.array([[0, 0, 1, 0], [0.9, 0.1, 0, 0], [0, 0, 0, 1], [0.9, 0.1, 0, 0]])
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "neither JASPAR format"),
        (">MA1 x\nA [ 0 ]\n", "motif"),
        ("", "the file is empty"),
        (JASPAR_TEXT.replace("9", "9" * 400), "needs a row of counts"),
        (MEME_TEXT.replace("0.25", "0"), "MEME format needs"),
        (MEME_TEXT.replace("MOTIF", "TOMIF"), "no motif|MEME format needs"),
    ],
)
def test_a_file_without_motifs_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "motifs.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_motifs(str(path))


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_motifs(str(tmp_path / "none.txt"))


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyjaspar", None)
    with pytest.raises(ConfigError, match="needs pyjaspar, which is not installed"):
        read_motifs("jaspar:fungi")


def test_jaspar_has_motifs_of_fungi():
    pytest.importorskip("pyjaspar", reason="pyjaspar is not installed")
    assert len(read_motifs("jaspar:fungi")) > 100
    with pytest.raises(DataError, match="no such group"):
        read_motifs("jaspar:unicorns")


@pytest.mark.parametrize("probability", [0.2, 0.03, 0.004])
def test_the_threshold_is_that_of_all_words(probability):
    counts = np.random.default_rng(0).integers(0, 20, (5, 4)).astype(float) + 0.5
    background = np.array([0.3, 0.2, 0.2, 0.3])
    table = score_table(Motif("x", counts), background)
    least = threshold(table, background, probability)
    share = {0: 0.0, 1: 0.0}
    for word in itertools.product(range(4), repeat=5):
        score = sum(table[place, base] for place, base in enumerate(word))
        weight = float(np.prod(background[list(word)]))
        share[0] += weight * (score >= least)
        share[1] += weight * (score >= least - 1)
    assert share[0] <= probability + 1e-12
    assert share[1] > probability


def test_matches_on_both_strands_are_counted_and_none_across_sequences():
    motif = Motif("GATTACA", np.eye(4)[[2, 0, 3, 3, 0, 1, 0]] * 20)
    codes = np.array([2, 0, 3, 3, 0, 1, 0], np.uint8)
    filler = np.full(9, 1, np.uint8)
    sequences = [
        np.concatenate([filler, codes, filler]),
        np.concatenate([filler, 3 - codes[::-1]]),
        codes[:4],
        codes[4:],
    ]
    assert match_counts(sequences, [motif], UNIFORM)[:, 0].tolist() == [1, 1, 0, 0]


def test_equal_rates_correlate_fully():
    counts = np.array([[4, 0, 9, 1], [6, 2, 11, 0]])
    found = rate_correlation(counts, counts.sum(axis=0), np.random.default_rng(0))
    assert found.value == pytest.approx(1.0)


def test_a_planted_motif_is_the_most_different():
    rng = np.random.default_rng(0)
    motif = Motif("GATTACA", np.eye(4)[[2, 0, 3, 3, 0, 1, 0]] * 20)
    other = Motif("CCGGCC", np.eye(4)[[1, 1, 2, 2, 1, 1]] * 20)
    reference = [rng.integers(0, 4, 300).astype(np.uint8) for _ in range(20)]
    planted = [item.copy() for item in reference[:10]]
    for item in planted:
        item[50:57] = [2, 0, 3, 3, 0, 1, 0]
    _, section = motif_section({"generated": planted}, reference, [other, motif], rng)
    first = section["most_different"][0]
    assert first["name"] == "GATTACA"
    assert first["matches"] >= 10
    assert first["log2_fold"]["generated"]["value"] > 2
