"""Labelled variants: tables as found, reference scores, and figures of known scores."""

import gzip

import numpy as np
import pytest

from benchmarks.labelled_variants import read_labelled
from benchmarks.quality.saturation import correlations
from benchmarks.quality.variant_suites import (
    compared,
    other_rows_share,
    reference_scores,
    signed,
)
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.words.markov_chain import MarkovChain

CLINVAR = """chrom\tpos_GRCh38\tref\talt\tlabel_P_or_B\tconsequence
13\t3\tC\tT\tP\tmissense
13\t4\tG\tA\tB\tmissense
13\t5\tT\tG\tP\tintron
13\t5\tT\tTA\tP\tintron
13\t6\tA\tC\tUncertain\tintron
"""
TRAITGYM = """chrom,pos,ref,alt,label,match_group
1,3,C,T,True,a
1,4,G,A,False,a
2,5,T,G,True,b
2,6,A,C,False,b
"""


@pytest.fixture
def clinvar(tmp_path):
    path = tmp_path / "clinvar.tsv.gz"
    with gzip.open(path, "wt") as file:
        file.write(CLINVAR)
    return read_labelled(path)


@pytest.fixture
def matched(tmp_path):
    path = tmp_path / "traits.csv"
    path.write_text(TRAITGYM)
    return read_labelled(path)


def test_a_table_of_clinvar_is_read_with_its_own_names(clinvar):
    assert clinvar.pos.tolist() == [3, 4, 5]
    assert clinvar.is_positive.tolist() == [True, False, True]
    assert clinvar.consequence.tolist() == ["missense", "missense", "intron"]
    assert clinvar.match_group is None
    assert clinvar.left_out == {"another label": 1, "no exchange of one base": 1}


def test_the_chromosome_of_a_table_without_one_keeps_its_whole_name(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("pos\tref\talt\tlabel\n2\tA\tC\t1\n7\tG\tT\t0\n")
    assert read_labelled(path, chrom="MT_human").chrom.tolist() == ["MT_human"] * 2


def test_the_words_of_clinvar_are_labels_with_spaces_and_with_underscores(tmp_path):
    words = {
        "Pathogenic": True, "Likely pathogenic": True, "Pathogenic/Likely_pathogenic": True,
        "Likely_benign": False, "Benign/Likely benign": False, "Uncertain significance": None,
    }  # fmt: skip
    path = tmp_path / "rows.tsv"
    lines = [f"1\t{pos}\tA\tC\t{word}" for pos, word in enumerate(words, 1)]
    path.write_text("\n".join(["chrom\tpos\tref\talt\tclinical_significance", *lines]) + "\n")
    found = read_labelled(path)
    assert found.is_positive.tolist() == [flag for flag in words.values() if flag is not None]
    assert found.left_out["another label"] == 1


def test_parquet_and_csv_are_the_same_rows(matched, tmp_path):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    import pandas as pd

    path = tmp_path / "traits.parquet"
    table = pd.read_csv(tmp_path / "traits.csv")
    table.to_parquet(path)
    again = read_labelled(path)
    for name in ("chrom", "pos", "ref", "alt", "is_positive", "match_group"):
        assert getattr(again, name).tolist() == getattr(matched, name).tolist()


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("chrom\tpos\tref\talt\n1\t2\tA\tC\n", DataError, "no column label"),
        ("pos\tref\talt\tlabel\n2\tA\tC\t1\n", ConfigError, "--chrom"),
        ("chrom\tpos\tref\talt\tlabel\n1\t2\tA\tC\tmaybe\n", DataError, "no exchange of one base"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, text, error, sentence):
    path = tmp_path / "rows.tsv"
    path.write_text(text)
    with pytest.raises(error, match=sentence):
        read_labelled(path)


def test_neighbours_are_clusters_where_nothing_else_says_so(clinvar, matched):
    assert clinvar.clusters(4)[1].tolist() == ["13:0", "13:1", "13:1"]
    assert matched.clusters(4)[0] == "match groups"


def test_the_vcf_file_holds_the_rows_in_order(matched, tmp_path):
    matched.write_vcf(tmp_path / "x.vcf")
    rows = [line.split("\t") for line in (tmp_path / "x.vcf").read_text().splitlines()[2:]]
    assert [(row[0], row[1], row[3], row[4]) for row in rows] == [
        ("1", "3", "C", "T"), ("1", "4", "G", "A"), ("2", "5", "T", "G"), ("2", "6", "A", "C")
    ]  # fmt: skip


def test_reference_scores_know_cpg_transitions_and_words(clinvar, tmp_path):
    #      the rows:      C3 G4 T5, of the sequence GACGTAC
    fasta = tmp_path / "g.fa"
    fasta.write_text(">chr13\nGACGTAC\n")
    genome = prepare_genome(fasta, cache_dir=tmp_path / "cache")
    codes = np.array([0, 1, 2, 3] * 50, np.uint8)
    chain = MarkovChain.of_codes(codes, (0, 1), (1.0, 1.0))
    found = reference_scores(clinvar, Places(genome, True), chain)
    assert found["transversion"].tolist() == [0, 0, 1]
    assert found["no CpG transition"].tolist() == [0, 0, 1]  # C>T before G, G>A after C
    # the chain was counted on ACGTACGT: C after A, G after C and T after G are the likely ones.
    assert (found["Markov order 1"] > 0).all()
    assert found["constant"].tolist() == [0, 0, 0]


def test_the_share_of_other_rows_leaves_the_row_itself_out():
    shares = other_rows_share(np.array([True, True, False]), np.array(["a", "a", "b"]))
    # a: one other row, positive: (1 + 1) / (1 + 2); b: no other row: 1 / 2.
    assert shares.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])


def test_a_right_score_is_first_in_every_figure_and_a_constant_is_chance(matched):
    right = np.array([3.0, 1.0, 2.0, 0.0])
    found = compared(
        matched, {"right": right, "constant": np.zeros(4)}, block=10, repeats=20, seed=0
    )
    assert set(found["right"]) == {
        "AUROC", "AUPRC", "AUPRC by chromosome", "pairwise accuracy"
    }  # fmt: skip
    assert all(figure.value == 1 for figure in found["right"].values())
    assert all(figure.value == 0.5 for figure in found["constant"].values())


def test_a_row_that_one_score_lacks_is_left_out_of_all(matched):
    gap = np.array([np.nan, 1.0, 2.0, 0.0])
    found = compared(matched, {"a": gap, "b": np.array([0.0, 1, 2, 0])}, block=9, repeats=5, seed=0)
    assert found["a"]["AUROC"].value == found["b"]["AUROC"].value == 1


def test_signs_are_both_given():
    found = signed({"llr": np.array([-2.0, 1.0])})
    assert found["minus llr"].tolist() == [2, -1]
    assert found["absolute llr"].tolist() == [2, 1]


def test_correlations_are_those_of_each_element_and_their_mean():
    elements = np.array(["x"] * 4 + ["y"] * 4)
    effects = np.array([1.0, 2, 3, 4, 1, 2, 3, 4])
    score = np.array([1.0, 2, 3, 4, 4, 3, 2, 1])
    rows = correlations(elements, effects, {"score": score})
    assert rows[0] == ("x", 4, "1.000")
    assert rows[1] == ("y", 4, "-1.000")
    assert str(rows[2][2]).startswith("0.000")
